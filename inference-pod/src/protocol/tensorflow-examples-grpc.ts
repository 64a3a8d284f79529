import { elementBytes, stringBytes } from './binary-tensors.ts';
import type { Signature, Tensor, TensorData, TensorSignature } from './datatypes.ts';
import { tooLarge } from './json-text.ts';
import type { ModelIdentity } from './open-inference.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import { ProtobufReader, ProtobufWriter, wireTypes } from './protobuf.ts';
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
  return { id: undefined, inputs: rows.inputs(), outputs, nonFinite: 'bare' };
}

function findExampleMessages(message: Buffer, { patience }: DecodeLimits) {
  const examples: Buffer[] = [];
  let context: Buffer | undefined;
  for (const input of viewsOf(message, inputField)) {
    const lists = [...viewsOf(input, kinds.exampleList), ...viewsOf(input, kinds.exampleListWithContext)];
    for (const list of lists) {
      patience?.spend();
      for (const example of viewsOf(list, exampleList.examples)) {
        if (examples.length === mostRows) throw badRequest(`there are more than ${mostRows} examples`, 413);
        examples.push(example);
      }
    }
    for (const list of viewsOf(input, kinds.exampleListWithContext)) {
      for (const common of viewsOf(list, exampleList.context)) context = common;
    }
  }
  return { examples, context };
}

/** The messages in one field of a message. */
function* viewsOf(message: Buffer, wanted: number): Generator<Buffer> {
  const reader = new ProtobufReader(message);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
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
  for (const features of viewsOf(example, 1)) {
    for (const pair of viewsOf(features, 1)) {
      limits.patience?.spend();
      const [key] = viewsOf(pair, 1);
      const [feature] = viewsOf(pair, 2);
      const input = rows.inputOf(key?.toString() ?? '');
      if (input !== undefined) onFeature(input, readFeatureMessage(feature ?? Buffer.alloc(0), where, input, limits));
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
  const [list] = viewsOf(feature, listFields[kind]);
  if (list === undefined) {
    throw badRequest(`${where}: feature '${name}': has no ${kind}_list, which ${datatype} needs`);
  }
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
  if (datatype === 'FP64' && !Array.isArray(elements.data)) return Float64Array.from(elements.data, Number);
  if (datatype === 'FP16' && !Array.isArray(elements.data)) {
    return new Uint16Array(Float16Array.from(elements.data, Number).buffer);
  }
  return elements.data;
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
