import type { Signature, Tensor, TensorSignature } from './datatypes.ts';
import { parseJson } from './json.ts';
import { badRequest } from './request-error.ts';
import { decodeTensor, describeValue } from './tensor-decoding.ts';
import { encodeTensorData } from './tensor-encoding.ts';

/** An inference request of the Open Inference Protocol v2, checked against the model's signature. */
export interface InferenceRequest {
  readonly id: string | undefined;
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** The names of the outputs to answer with, in order. */
  readonly outputs: readonly string[];
}

export interface ModelIdentity {
  readonly name: string;
  readonly version: string;
}

/**
 * Reads the JSON body of `POST /v2/models/NAME/infer`.
 *
 * @throws RequestError 400 that names the input and what was expected
 */
export function decodeInferenceRequest(body: Uint8Array, signature: Signature): InferenceRequest {
  const document = asObject(parseJson(body, takesLargeIntegers(signature)), 'the body');
  const { id, inputs, outputs, parameters } = document;
  if (id !== undefined && typeof id !== 'string') throw badRequest(`id must be a string, not ${describeValue(id)}`);
  if (parameters !== undefined) refuseBinary(asObject(parameters, 'parameters'), 'parameters');
  if (!Array.isArray(inputs)) throw badRequest(`inputs must be a list of tensors, not ${describeValue(inputs)}`);
  return { id, inputs: decodeInputs(inputs, signature), outputs: selectOutputs(outputs, signature) };
}

function decodeInputs(inputs: readonly unknown[], signature: Signature): ReadonlyMap<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [index, item] of inputs.entries()) {
    const input = asObject(item, `inputs[${index}]`);
    const { name } = input;
    if (typeof name !== 'string')
      throw badRequest(`inputs[${index}].name must be a string, not ${describeValue(name)}`);
    const expected = signature.inputs.find((candidate) => candidate.name === name);
    if (expected === undefined) {
      throw badRequest(`input '${name}': the model has no such input, it has ${quotedNames(signature.inputs)}`);
    }
    if (tensors.has(name)) throw badRequest(`input '${name}': given twice`);
    tensors.set(name, decodeInput(expected, input));
  }
  const missing = signature.inputs.filter(({ name }) => !tensors.has(name));
  if (missing.length > 0) {
    throw badRequest(`input ${quotedNames(missing)}: missing; expected ${missing.map(describeSignature).join(', ')}`);
  }
  return tensors;
}

function decodeInput(expected: TensorSignature, input: Readonly<Record<string, unknown>>): Tensor {
  const { datatype, shape, data, parameters } = input;
  const where = `input '${expected.name}'`;
  if (datatype !== expected.datatype) {
    throw badRequest(`${where}: datatype is ${describeValue(datatype)}, expected "${expected.datatype}"`);
  }
  if (parameters !== undefined) refuseBinary(asObject(parameters, `${where}: parameters`), `${where}: parameters`);
  if (!isShape(shape)) {
    throw badRequest(
      `${where}: shape must be a list of whole numbers, not ${describeValue(shape)}; expected ${describeShape(expected)}`,
    );
  }
  // onnxruntime tells the same of a scalar and of an input whose rank is unknown: it has to judge those itself.
  if (expected.shape.length === 0) return decodeTensor(expected.name, expected.datatype, shape, data);
  if (shape.length !== expected.shape.length) {
    throw badRequest(
      `${where}: shape [${shape.join(', ')}] has rank ${shape.length}, expected rank ${expected.shape.length}, ${describeShape(expected)}`,
    );
  }
  const wrong = expected.shape.findIndex((dimension, axis) => dimension !== -1 && dimension !== shape[axis]);
  if (wrong !== -1) {
    throw badRequest(
      `${where}: shape [${shape.join(', ')}] has ${shape[wrong]} in dimension ${wrong}, expected ${expected.shape[wrong]}, ${describeShape(expected)}`,
    );
  }
  return decodeTensor(expected.name, expected.datatype, shape, data);
}

function selectOutputs(outputs: unknown, signature: Signature): readonly string[] {
  const all = signature.outputs.map(({ name }) => name);
  if (outputs === undefined) return all;
  if (!Array.isArray(outputs)) throw badRequest(`outputs must be a list, not ${describeValue(outputs)}`);
  const names = outputs.map((item: unknown, index) => {
    const { name, parameters } = asObject(item, `outputs[${index}]`);
    if (typeof name !== 'string')
      throw badRequest(`outputs[${index}].name must be a string, not ${describeValue(name)}`);
    if (!all.includes(name)) {
      throw badRequest(`output '${name}': the model has no such output, it has ${quotedNames(signature.outputs)}`);
    }
    if (parameters !== undefined)
      refuseBinary(asObject(parameters, `output '${name}': parameters`), `output '${name}': parameters`);
    return name;
  });
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw badRequest(`output '${twice}': asked for twice`);
  return names.length === 0 ? all : names;
}

/** Other parameters are the client's own and change nothing; these would change the wire format. */
function refuseBinary(parameters: Readonly<Record<string, unknown>>, where: string): void {
  for (const name of [
    'binary_data_size',
    'binary_data',
    'binary_data_output',
    'classification',
    'shared_memory_region',
  ]) {
    if (parameters[name] !== undefined && parameters[name] !== false) {
      throw badRequest(`${where}: ${name} is not supported by this server: send and ask for JSON data`);
    }
  }
}

/**
 * Writes the answer. Each tensor's data is written straight from its typed array.
 *
 * @throws RangeError when an output holds a number that JSON cannot
 */
export function encodeInferenceResponse(
  model: ModelIdentity,
  request: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
): string {
  const head = JSON.stringify({
    model_name: model.name,
    model_version: model.version,
    ...(request.id === undefined ? {} : { id: request.id }),
  });
  const tensors = Array.from(outputs, ([name, tensor]) => {
    const { datatype, shape } = tensor;
    return `${JSON.stringify({ name, datatype, shape }).slice(0, -1)},"data":${encodeTensorData(name, tensor)}}`;
  });
  return `${head.slice(0, -1)},"outputs":[${tensors.join(',')}]}`;
}

/** The answer of `GET /v2/models/NAME`. */
export function modelMetadata(model: ModelIdentity, signature: Signature): object {
  return {
    name: model.name,
    versions: [model.version],
    platform: 'onnx_onnxv1',
    inputs: signature.inputs,
    outputs: signature.outputs,
  };
}

/** A rounded integer matters only to a model that takes 64-bit integers. */
function takesLargeIntegers({ inputs }: Signature): boolean {
  return inputs.some(({ datatype }) => datatype === 'INT64' || datatype === 'UINT64');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asObject(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw badRequest(`${where} must be a JSON object, not ${describeValue(value)}`);
  return value;
}

function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0);
}

function describeSignature(tensor: TensorSignature): string {
  return `'${tensor.name}' ${tensor.datatype} ${describeShape(tensor)}`;
}

function describeShape({ shape }: TensorSignature): string {
  return `shape [${shape.join(', ')}]${shape.includes(-1) ? ' (-1 is any size)' : ''}`;
}

function quotedNames(tensors: readonly TensorSignature[]): string {
  return tensors.map(({ name }) => `'${name}'`).join(', ');
}
