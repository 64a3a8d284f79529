import { elementBytes, stringBytes } from './binary-tensors.ts';
import type { Datatype, Signature, Tensor, TensorData, TensorSignature } from './datatypes.ts';
import { tooLarge } from './json-text.ts';
import type { ModelIdentity } from './open-inference.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import type { Patience } from './patience.ts';
import { mergedField, mergedMember, ProtobufReader, ProtobufWriter, wireTypes } from './protobuf.ts';
import { ProtobufElements } from './protobuf-elements.ts';
import { badRequest } from './request-error.ts';
import { type ExampleMethod, ExampleRows, labelOf, outputsOf, resultsOf } from './tensorflow-examples.ts';
import { refuseOtherSignature } from './tensorflow-grpc.ts';
import { modelSpecMessage } from './tensorflow-metadata.ts';
import { mostRows } from './tensorflow-predict.ts';

/** The numbers of the fields in tensorflow_serving/apis/{classification,regression,input}.proto and example.proto. */
const inputField = 2;
const kinds = { exampleList: 1, exampleListWithContext: 2 };
const exampleList = { examples: 1, context: 2 };
const valuesField = 1;
/** By the kind of a Feature: the types that it is for. */
const listFields = { bytes: 1, float: 2, int64: 3 };

/**
 * Reads a ClassificationRequest or RegressionRequest of TensorFlow Serving's PredictionService.
 *
 * @throws RequestError 400 that names the feature and what was expected, 413
 */
export function decodeExamplesMessage(
  method: ExampleMethod,
  message: Buffer,
  signature: Signature,
  limits: DecodeLimits,
): InferenceRequest {
  const outputs = outputsOf(method, signature);
  refuseOtherSignature(message);
  const { examples, context } = findExampleMessages(message, limits);
  const rows = new ExampleRows(signature, examples.length, limits);
  if (context !== undefined) {
    readFeatureMessages(context, 'context', rows, limits, (input, values) => rows.putContext(input, values));
  }
  for (const [row, example] of examples.entries()) {
    const put = (input: TensorSignature, values: TensorData) => rows.put(row, input, values);
    readFeatureMessages(example, `examples[${row}]`, rows, limits, put);
    rows.endRow(row);
  }
  return { id: undefined, inputs: rows.inputs(), outputs, nonFinite: 'bare', rows: examples.length };
}

function findExampleMessages(message: Buffer, { patience }: DecodeLimits) {
  const input = mergedField(message, inputField) ?? Buffer.alloc(0);
  const kind = mergedMember(input, Object.values(kinds));
  if (kind === undefined) return { examples: [], context: undefined };
  const examples: Buffer[] = [];
  for (const example of viewsOf(kind.bytes, exampleList.examples, patience)) {
    if (examples.length === mostRows) throw badRequest(`there are more than ${mostRows} examples`, 413);
    examples.push(example);
  }
  const hasContext = kind.field === kinds.exampleListWithContext;
  return { examples, context: hasContext ? mergedField(kind.bytes, exampleList.context) : undefined };
}

/** The messages in one field of a message. */
function* viewsOf(message: Buffer, wanted: number, patience: Patience | undefined): Generator<Buffer> {
  const reader = new ProtobufReader(message);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    patience?.spend();
    if (field === wanted) yield reader.view();
    else reader.skip();
  }
}

function readFeatureMessages(
  example: Buffer,
  where: string,
  rows: ExampleRows,
  limits: DecodeLimits,
  onFeature: (input: TensorSignature, values: TensorData) => void,
): void {
  for (const features of viewsOf(example, 1, limits.patience)) {
    for (const pair of viewsOf(features, 1, limits.patience)) {
      const name = mergedField(pair, 1)?.toString() ?? '';
      const input = rows.inputOf(name);
      const feature = mergedField(pair, 2) ?? Buffer.alloc(0);
      if (input !== undefined) onFeature(input, readFeatureMessage(feature, where, input, limits));
    }
  }
}

function readFeatureMessage(
  feature: Buffer,
  where: string,
  { name, datatype }: TensorSignature,
  { mostTensorBytes, patience }: DecodeLimits,
): TensorData {
  const kind = datatype === 'BYTES' ? 'bytes' : datatype.startsWith('FP') ? 'float' : 'int64';
  const member = mergedMember(feature, Object.values(listFields));
  if (member === undefined || member.field !== listFields[kind]) {
    throw badRequest(`${where}: feature '${name}': has no ${kind}_list, which ${datatype} needs`);
  }
  const list = member.bytes;
  // Floats of every size come as floats of 32 bits.
  const readAs = kind === 'float' ? 'FP32' : datatype;
  const count = countOf(list, kind);
  if (count * (elementBytes(readAs) ?? stringBytes) > mostTensorBytes) {
    throw badRequest(`${where}: feature '${name}': takes more than ${mostTensorBytes} bytes`, 413);
  }
  patience?.spend(count);
  const elements = new ProtobufElements(name, readAs, count);
  const reader = new ProtobufReader(list);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === valuesField) elements.read(reader);
    else reader.skip();
  }
  return converted(elements.data, datatype);
}

/** Floats of 32 bits as those of another size. */
function converted(data: TensorData, datatype: Datatype): TensorData {
  if (Array.isArray(data)) return data;
  if (datatype === 'FP64') return Float64Array.from(data, Number);
  return datatype === 'FP16' ? new Uint16Array(Float16Array.from(data, Number).buffer) : data;
}

/** How many values a list has, packed or not. */
function countOf(list: Buffer, kind: keyof typeof listFields): number {
  const reader = new ProtobufReader(list);
  let count = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    const isPacked = kind !== 'bytes' && reader.wireType === wireTypes.length;
    if (field === valuesField && isPacked) count += packedCount(reader.view(), kind);
    else {
      if (field === valuesField) count++;
      reader.skip();
    }
  }
  return count;
}

function packedCount(bytes: Buffer, kind: keyof typeof listFields): number {
  if (kind === 'float') return Math.ceil(bytes.length / 4);
  let count = 0;
  // The last byte of each varint is below 128.
  for (const byte of bytes) if (byte < 128) count++;
  return count;
}

/**
 * Writes a ClassificationResponse or RegressionResponse.
 *
 * @throws RequestError 400 when it is larger than allowed
 */
export function encodeExamplesMessage(
  method: ExampleMethod,
  model: ModelIdentity,
  request: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): readonly Uint8Array[] {
  const results = resultsOf(request, outputs);
  const score = scoresOf(results.scores);
  const result = new ProtobufWriter();
  for (let row = 0; row < results.rows; row++) {
    const one = new ProtobufWriter();
    if (method === 'regress') one.float(1, score(row));
    else {
      for (let index = row * results.classes; index < (row + 1) * results.classes; index++) {
        one.message(1, new ProtobufWriter().text(1, labelOf(results, index)).float(2, score(index)));
      }
    }
    result.message(1, one);
    if (result.length > mostBytes) throw tooLarge(mostBytes);
  }
  return new ProtobufWriter().message(1, result).message(2, modelSpecMessage(model)).finish();
}

function scoresOf({ datatype, data }: Tensor): (index: number) => number {
  if (Array.isArray(data)) return () => Number.NaN;
  const values = datatype === 'FP16' ? new Float16Array(data.buffer, data.byteOffset, data.length) : data;
  return (index) => Number(values[index] ?? 0);
}
