import { isUtf8 } from 'node:buffer';
import type { Signature, Tensor, TensorData, TensorSignature } from './datatypes.ts';
import { type JsonMark, JsonReader } from './json-reader.ts';
import { NestedTensor } from './json-tensors.ts';
import { type AnswerBody, appendNested, JsonText } from './json-text.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import { badRequest } from './request-error.ts';
import { type ExampleMethod, ExampleRows, labelOf, outputsOf, type Results, resultsOf } from './tensorflow-examples.ts';
import { readSignatureName } from './tensorflow-predict.ts';

/**
 * Reads the body of `POST /v1/models/NAME:classify` or `:regress`: `examples`, and what they have in common in `context`.
 *
 * @throws RequestError 400 that names the feature and what was expected, 413
 */
export function decodeExamples(
  method: ExampleMethod,
  body: Buffer,
  signature: Signature,
  limits: DecodeLimits,
): InferenceRequest {
  const outputs = outputsOf(method, signature);
  if (!isUtf8(body)) throw badRequest('the body is not JSON: it is not UTF-8 text');
  const reader = new JsonReader(body, limits.patience);
  if (reader.peek() !== 'object') throw badRequest(`the body must be a JSON object, not ${reader.describe()}`);
  const { examples, context } = findExamples(reader);
  if (examples === undefined) throw badRequest('the body must have examples: a list of objects');
  reader.returnTo(examples);
  const count = reader.length();
  const rows = new ExampleRows(signature, count, limits);
  if (context !== undefined) {
    reader.returnTo(context);
    readFeatures(reader, 'context', rows, limits, (input, values) => rows.putContext(input, values));
  }
  reader.returnTo(examples);
  reader.beginArray();
  for (let row = 0; reader.element(row === 0); row++) {
    readFeatures(reader, `examples[${row}]`, rows, limits, (input, values) => rows.put(row, input, values));
    rows.endRow(row);
  }
  return { id: undefined, inputs: rows.inputs(), outputs, nonFinite: 'bare', rows: count };
}

/** Where the examples and their context stand, in a body that has been looked through to its end. */
function findExamples(reader: JsonReader) {
  let examples: JsonMark | undefined;
  let context: JsonMark | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (key === 'signature_name') {
      readSignatureName(reader);
      continue;
    }
    if (key === 'examples') {
      if (reader.peek() !== 'array') throw badRequest(`examples must be a list, not ${reader.describe()}`);
      examples = reader.mark();
    } else if (key === 'context') context = reader.mark();
    reader.skip();
  }
  reader.end();
  return { examples, context };
}

function readFeatures(
  reader: JsonReader,
  where: string,
  rows: ExampleRows,
  limits: DecodeLimits,
  onFeature: (input: TensorSignature, values: TensorData) => void,
): void {
  if (reader.peek() !== 'object') {
    throw badRequest(`${where} must be an object of features, not ${reader.describe()}`);
  }
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    const input = rows.inputOf(key);
    if (input === undefined) reader.skip();
    else onFeature(input, readFeature(reader, input, limits));
  }
}

/** A value, or a list of them. */
function readFeature(reader: JsonReader, { name, datatype }: TensorSignature, limits: DecodeLimits): TensorData {
  const shape: number[] = [];
  if (reader.peek() === 'array') {
    const start = reader.mark();
    shape.push(reader.length());
    reader.returnTo(start);
  }
  const tensor = new NestedTensor(reader, name, datatype, shape, limits.mostTensorBytes, { base64: true });
  tensor.readWhole();
  return tensor.tensor.data;
}

/**
 * Writes the answer of `:classify` or `:regress`: `results` with a list of [label, score] for each example, or its value.
 *
 * @throws RequestError 400 when it is larger than allowed
 */
export function encodeExamples(
  method: ExampleMethod,
  request: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): AnswerBody {
  const results = resultsOf(request, outputs);
  const text = new JsonText(mostBytes);
  text.append('{"results":[');
  for (let row = 0; row < results.rows; row++) {
    if (row > 0) text.append(',');
    if (method === 'regress') appendNested(text, results.scores, [], row, plain);
    else appendClasses(text, results, row);
  }
  text.append(']}');
  return text.finish();
}

const plain = { isBase64: false, nonFinite: 'bare' } as const;

function appendClasses(text: JsonText, results: Results, row: number): void {
  text.append('[');
  for (let place = 0; place < results.classes; place++) {
    const index = row * results.classes + place;
    text.append(`${place === 0 ? '' : ','}[${JSON.stringify(labelOf(results, index))},`);
    appendNested(text, results.scores, [], index, plain);
    text.append(']');
  }
  text.append(']');
}
