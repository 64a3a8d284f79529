import { stringBytes } from './binary-tensors.ts';
import type { Signature, Tensor } from './datatypes.ts';
import { shorten } from './json-reader.ts';
import { tooLarge } from './json-text.ts';
import type { ModelIdentity } from './open-inference.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import { mergedField, ProtobufReader, ProtobufWriter } from './protobuf.ts';
import { badRequest } from './request-error.ts';
import { describeSignature, quotedNames } from './tensor-shape.ts';
import { entry, modelSpecMessage, readModelSpec, signatureName } from './tensorflow-metadata.ts';
import { readTensorProto, tensorProto } from './tensorflow-tensors.ts';

/** The numbers of the fields in tensorflow_serving/apis/predict.proto. */
const requestField = { inputs: 2, outputFilter: 3 };
const responseField = { outputs: 1, modelSpec: 2 };
const entryField = { key: 1, value: 2 };

/**
 * Reads a PredictRequest of TensorFlow Serving's PredictionService.
 *
 * @throws RequestError 400 that names the input and what was expected, 413
 */
export function decodePredictMessage(message: Buffer, signature: Signature, limits: DecodeLimits): InferenceRequest {
  refuseOtherSignature(message);
  const reader = new ProtobufReader(message);
  const inputs = new Map<string, Tensor>();
  const filter = new Set<string>();
  let room = limits.mostTensorBytes;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    limits.patience?.spend();
    if (field === requestField.inputs) {
      const { name, tensor } = readInput(reader.view(), signature, limits, room);
      if (inputs.has(name)) throw badRequest(`input '${name}': given twice`);
      inputs.set(name, tensor);
      room -= bytesOf(tensor);
    } else if (field === requestField.outputFilter) filter.add(knownOutput(reader.view(), signature));
    else reader.skip();
  }
  const missing = signature.inputs.filter(({ name }) => !inputs.has(name));
  if (missing.length > 0) {
    throw badRequest(`input ${quotedNames(missing)}: missing; expected ${missing.map(describeSignature).join(', ')}`);
  }
  const asked = signature.outputs.filter(({ name }) => filter.size === 0 || filter.has(name));
  const outputs = asked.map(({ name }) => ({ name, isBinary: false, classes: undefined }));
  return { id: undefined, inputs, outputs, nonFinite: 'bare' };
}

/** @throws RequestError 400 for another signature than the one that a model has */
export function refuseOtherSignature(message: Buffer): void {
  const { signatureName: asked } = readModelSpec(message);
  if (asked === '' || asked === signatureName) return;
  throw badRequest(`signature_name is "${shorten(asked)}", and the model has only "${signatureName}"`);
}

function readInput(bytes: Buffer, signature: Signature, { patience }: DecodeLimits, room: number) {
  const reader = new ProtobufReader(bytes);
  let name = '';
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    patience?.spend();
    if (field === entryField.key) name = reader.text();
    else reader.skip();
  }
  const tensor = mergedField(bytes, entryField.value);
  const expected = signature.inputs.find((input) => input.name === name);
  if (expected === undefined || tensor === undefined) {
    throw badRequest(`input '${shorten(name)}': the model has no such input, it has ${quotedNames(signature.inputs)}`);
  }
  return { name, tensor: readTensorProto(tensor, expected, room, patience) };
}

/** What a tensor takes. */
function bytesOf({ data }: Tensor): number {
  if (!Array.isArray(data)) return data.byteLength;
  return data.reduce((sum, text) => sum + stringBytes + Buffer.byteLength(text), 0);
}

function knownOutput(bytes: Buffer, { outputs }: Signature): string {
  const name = bytes.toString();
  if (outputs.some((output) => output.name === name)) return name;
  throw badRequest(`output '${shorten(name)}': the model has no such output, it has ${quotedNames(outputs)}`);
}

/**
 * Writes a PredictResponse.
 *
 * @throws RequestError 400 when it is larger than allowed
 */
export function encodePredictMessage(
  model: ModelIdentity,
  { outputs: asked }: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): readonly Uint8Array[] {
  const writer = new ProtobufWriter();
  for (const { name } of asked) {
    const tensor = outputs.get(name);
    if (tensor === undefined) throw new Error(`the model has not computed '${name}'`);
    writer.message(responseField.outputs, entry(name, tensorProto(tensor, mostBytes)));
    if (writer.length > mostBytes) throw tooLarge(mostBytes);
  }
  return writer.message(responseField.modelSpec, modelSpecMessage(model)).finish();
}
