import { isUtf8 } from 'node:buffer';
import { elementCount, type Signature, type Tensor, type TensorSignature } from './datatypes.ts';
import { JsonReader, shorten } from './json-reader.ts';
import { inferShape, NestedTensor } from './json-tensors.ts';
import { type AnswerBody, appendNested, JsonText, type NestedForm } from './json-text.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import { badRequest } from './request-error.ts';
import { checkShape, describeSignature, quotedNames } from './tensor-shape.ts';
import { signatureName } from './tensorflow-metadata.ts';

/** Strings may come in base64, and shapes are those of the lists. */
const forms = { base64: true };

/** Clients choose the number of rows, each of which is read by itself. */
export const mostRows = 1_000_000;

/**
 * Reads the body of `POST /v1/models/NAME:predict` of TensorFlow Serving's REST API: `instances` in row format, or
 * `inputs` in column format, named or, for a model with one input, bare.
 *
 * @throws RequestError 400 that names the input and what was expected, 413
 */
export function decodePredict(body: Buffer, signature: Signature, limits: DecodeLimits): InferenceRequest {
  if (!isUtf8(body)) throw badRequest('the body is not JSON: it is not UTF-8 text');
  const reader = new JsonReader(body, limits.patience);
  if (reader.peek() !== 'object') throw badRequest(`the body must be a JSON object, not ${reader.describe()}`);
  const inputs = readInputs(reader, signature, limits);
  const outputs = signature.outputs.map(({ name }) => ({ name, isBinary: false, classes: undefined }));
  return { id: undefined, outputs, nonFinite: 'bare', ...inputs };
}

interface PredictInputs {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly rows?: number;
}

function readInputs(reader: JsonReader, signature: Signature, limits: DecodeLimits): PredictInputs {
  let read: PredictInputs | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (key === 'instances' || key === 'inputs') {
      if (read !== undefined) throw badRequest('the body must have either instances or inputs, once');
      read = key === 'instances' ? readRows(reader, signature, limits) : readColumns(reader, signature, limits);
    } else if (key === 'signature_name') readSignatureName(reader);
    else reader.skip();
  }
  reader.end();
  if (read === undefined) throw badRequest('the body must have instances (row format) or inputs (column format)');
  return read;
}

/** @throws RequestError 400 for another signature than the one that a model has */
export function readSignatureName(reader: JsonReader): void {
  const found = reader.describe();
  if (found === `"${signatureName}"` || found === '""') return;
  throw badRequest(`signature_name is ${found}, and the model has only "${signatureName}"`);
}

function readColumns(reader: JsonReader, signature: Signature, limits: DecodeLimits) {
  const inputs = new Map<string, Tensor>();
  const read = (expected: TensorSignature) => {
    const shape = inferShape(reader);
    checkShape(expected, shape);
    refuseUneven(reader, expected, shape);
    const tensor = new NestedTensor(reader, expected.name, expected.datatype, shape, limits.mostTensorBytes, forms);
    tensor.readWhole();
    inputs.set(expected.name, tensor.tensor);
  };
  if (isNamed(reader, signature)) {
    reader.beginObject();
    for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
      const expected = inputOf(key, signature);
      if (inputs.has(key)) throw badRequest(`input '${key}': given twice`);
      read(expected);
    }
  } else read(onlyInput(signature));
  refuseMissing(inputs, signature);
  return { inputs };
}

/** An element has at least a sign: nothing is allocated for those that cannot be there. */
function refuseUneven(reader: JsonReader, { name }: TensorSignature, shape: readonly number[]): void {
  if (elementCount(shape) <= reader.bytes.length) return;
  throw badRequest(`input '${name}': its lists do not all have the shape of the first, which is [${shape.join(', ')}]`);
}

function readRows(reader: JsonReader, signature: Signature, limits: DecodeLimits) {
  if (reader.peek() !== 'array') throw badRequest(`instances must be a list, not ${reader.describe()}`);
  const start = reader.mark();
  const rows = reader.length();
  reader.returnTo(start);
  if (rows === 0) throw badRequest('instances is empty: send at least one');
  if (rows > mostRows) throw badRequest(`instances has ${rows} rows, more than ${mostRows}`, 413);
  const tensors = new Map<string, NestedTensor>();
  const readInto = (expected: TensorSignature, row: number) => {
    let tensor = tensors.get(expected.name);
    if (tensor === undefined) {
      const shape = [rows, ...inferShape(reader)];
      checkShape(expected, shape);
      refuseUneven(reader, expected, shape);
      tensor = new NestedTensor(reader, expected.name, expected.datatype, shape, limits.mostTensorBytes, forms);
      tensors.set(expected.name, tensor);
    }
    tensor.readRow(row);
  };
  reader.beginArray();
  for (let row = 0; reader.element(row === 0); row++) {
    if (isNamed(reader, signature)) readNamedRow(reader, signature, row, readInto);
    else readInto(onlyInput(signature), row);
  }
  const inputs = new Map(Array.from(tensors, ([name, tensor]) => [name, tensor.tensor]));
  refuseMissing(inputs, signature);
  return { inputs, rows };
}

function readNamedRow(
  reader: JsonReader,
  signature: Signature,
  row: number,
  readInto: (expected: TensorSignature, row: number) => void,
): void {
  const given = new Set<string>();
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    const expected = inputOf(key, signature);
    if (given.has(key)) throw badRequest(`instances[${row}]: input '${key}': given twice`);
    readInto(expected, row);
    given.add(key);
  }
  const missing = signature.inputs.filter(({ name }) => !given.has(name));
  if (missing.length > 0) throw badRequest(`instances[${row}]: input ${quotedNames(missing)}: missing`);
}

/** An object names its inputs, unless it is a string in base64 for a model whose one input takes strings. */
function isNamed(reader: JsonReader, { inputs }: Signature): boolean {
  if (reader.peek() !== 'object') return false;
  const [only] = inputs;
  if (inputs.length !== 1 || only === undefined || only.datatype !== 'BYTES') return true;
  const start = reader.mark();
  reader.beginObject();
  const key = reader.key(true);
  reader.returnTo(start);
  return key !== 'b64' || only.name === 'b64';
}

function inputOf(name: string, signature: Signature): TensorSignature {
  const expected = signature.inputs.find((input) => input.name === name);
  if (expected !== undefined) return expected;
  throw badRequest(`input '${shorten(name)}': the model has no such input, it has ${quotedNames(signature.inputs)}`);
}

function onlyInput({ inputs }: Signature): TensorSignature {
  const [only, ...others] = inputs;
  if (only !== undefined && others.length === 0) return only;
  throw badRequest(`the model has several inputs, which have to be named: ${quotedNames(inputs)}`);
}

function refuseMissing(inputs: ReadonlyMap<string, Tensor>, signature: Signature): void {
  const missing = signature.inputs.filter(({ name }) => !inputs.has(name));
  if (missing.length === 0) return;
  throw badRequest(`input ${quotedNames(missing)}: missing; expected ${missing.map(describeSignature).join(', ')}`);
}

/**
 * Writes the answer: `predictions` row by row, or `outputs`. A model with one output answers with its values, one with
 * several with objects. Strings of outputs whose name ends in `_bytes` come in base64.
 *
 * @throws RequestError 400 when it is larger than allowed, or has no rows to answer one by one
 */
export function encodePredict(
  { outputs: asked, rows }: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): AnswerBody {
  const text = new JsonText(mostBytes);
  const tensors = asked.map(({ name }) => {
    const tensor = outputs.get(name);
    if (tensor === undefined) throw new Error(`the model has not computed '${name}'`);
    return { name, tensor, form: { isBase64: name.endsWith('_bytes'), nonFinite: 'bare' as const } };
  });
  if (rows === undefined) {
    text.append('{"outputs":');
    appendNamed(text, tensors, ({ tensor, form }) => appendNested(text, tensor, tensor.shape, 0, form));
  } else appendRows(text, tensors, rows);
  text.append('}');
  return text.finish();
}

interface NamedOutput {
  readonly name: string;
  readonly tensor: Tensor;
  readonly form: NestedForm;
}

function appendRows(text: JsonText, tensors: readonly NamedOutput[], rows: number): void {
  const odd = tensors.find(({ tensor }) => tensor.shape[0] !== rows);
  if (odd !== undefined) {
    throw badRequest(
      `output '${odd.name}' has shape [${odd.tensor.shape.join(', ')}], no ${rows} rows: send inputs (column format)`,
    );
  }
  text.append('{"predictions":[');
  for (let row = 0; row < rows; row++) {
    if (row > 0) text.append(',');
    appendNamed(text, tensors, ({ tensor, form }) => {
      const inner = tensor.shape.slice(1);
      appendNested(text, tensor, inner, row * elementCount(inner), form);
    });
  }
  text.append(']');
}

function appendNamed(text: JsonText, tensors: readonly NamedOutput[], append: (output: NamedOutput) => unknown): void {
  const [only, ...others] = tensors;
  if (only !== undefined && others.length === 0) {
    append(only);
    return;
  }
  for (const [index, output] of tensors.entries()) {
    text.append(`${index === 0 ? '{' : ','}${JSON.stringify(output.name)}:`);
    append(output);
  }
  text.append('}');
}
