import { isUtf8 } from 'node:buffer';
import { readBinaryTensor } from './binary-tensors.ts';
import type { Signature, Tensor, TensorSignature } from './datatypes.ts';
import { type JsonMark, JsonReader, shorten } from './json-reader.ts';
import { readJsonTensor } from './json-tensors.ts';
import { type NonFinite, nonFiniteForms } from './json-text.ts';
import type { Patience } from './patience.ts';
import { badRequest, RequestError } from './request-error.ts';
import type { Column } from './tables.ts';
import { checkShape, describeShape, describeSignature, quotedNames } from './tensor-shape.ts';

/** An inference request of any protocol, checked against the model's signature. */
export interface InferenceRequest {
  readonly id: string | undefined;
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** The outputs to answer with, in order. */
  readonly outputs: readonly OutputRequest[];
  readonly nonFinite: NonFinite;
  /** In TensorFlow Serving's row format: how many rows were sent, and are to be answered one by one. */
  readonly rows?: number;
}

export interface OutputRequest {
  readonly name: string;
  /** Whether its data follows the JSON in binary form. */
  readonly isBinary: boolean;
  /** How many classes are told instead of the tensor. */
  readonly classes: number | undefined;
}

export interface DecodeLimits {
  /** What the tensors of a request may take together. */
  readonly mostTensorBytes: number;
  /** For what has no quick way; undefined is without end. */
  readonly patience?: Patience;
  /** What is said of the columns of a table. */
  readonly columns?: readonly Column[] | undefined;
}

/** Parameters of Triton that name memory which only it shares with its clients. */
const sharedMemory = 'shared_memory_region';

interface Parameters {
  readonly binary_data_size?: number | undefined;
  readonly binary_data?: boolean | undefined;
  readonly binary_data_output?: boolean | undefined;
  readonly classification?: number | undefined;
  readonly non_finite?: NonFinite | undefined;
}

/**
 * Reads the body of `POST /v2/models/NAME/infer`.
 *
 * @param headerLength how much of it is JSON, before tensors in binary form; undefined when all is
 * @throws RequestError 400 that names the input and what was expected, 413
 */
export function decodeInferenceRequest(
  body: Buffer,
  headerLength: number | undefined,
  signature: Signature,
  limits: DecodeLimits,
): InferenceRequest {
  if (headerLength !== undefined && headerLength > body.length) {
    throw badRequest(`inference-header-content-length is ${headerLength}, but the body has ${body.length} bytes`);
  }
  const json = headerLength === undefined ? body : body.subarray(0, headerLength);
  if (!isUtf8(json)) throw badRequest('the body is not JSON: it is not UTF-8 text');
  const binary = {
    bytes: headerLength === undefined ? body.subarray(body.length) : body.subarray(headerLength),
    offset: 0,
  };
  const reader = new JsonReader(json, limits.patience);
  if (reader.peek() !== 'object') throw badRequest(`the body must be a JSON object, not ${reader.describe()}`);
  let id: string | undefined;
  let inputs: ReadonlyMap<string, Tensor> | undefined;
  let outputs: RequestedOutputs | undefined;
  let parameters: Parameters = {};
  let given = '';
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    switch (key) {
      case 'id':
        id = readId(reader);
        break;
      case 'inputs':
        inputs = readInputs(reader, signature, binary, limits);
        break;
      case 'outputs':
        outputs = readOutputs(reader, signature);
        break;
      case 'parameters':
        parameters = readParameters(reader, 'parameters');
        break;
      default:
        reader.skip();
        continue;
    }
    given = refuseTwice(given, key, () => '');
  }
  reader.end();
  if (inputs === undefined) throw badRequest('inputs must be a list of tensors, not missing');
  if (binary.offset !== binary.bytes.length) {
    throw badRequest(
      `${binary.bytes.length - binary.offset} bytes follow the binary data of the inputs: binary_data_size of each input says how many are its`,
    );
  }
  const isBinary = parameters.binary_data_output ?? false;
  const selected = outputs === undefined || outputs.length === 0 ? signature.outputs : outputs;
  return {
    id,
    inputs,
    outputs: selected.map((output) => ({
      name: output.name,
      isBinary: ('isBinary' in output ? output.isBinary : undefined) ?? isBinary,
      classes: 'classes' in output ? output.classes : undefined,
    })),
    nonFinite: parameters.non_finite ?? 'bare',
  };
}

/** @returns the keys that were given, this one among them, each behind a sign that none of them has */
function refuseTwice(given: string, key: string, where: () => string): string {
  const marked = ` ${key} `;
  if (given.includes(marked)) throw badRequest(`${where()}${key}: given twice`);
  return given + marked;
}

function readId(reader: JsonReader): string {
  if (reader.peek() !== 'string') throw badRequest(`id must be a string, not ${reader.describe()}`);
  return reader.string();
}

/** The binary data of the inputs, as far as it was given out. */
interface BinaryData {
  readonly bytes: Buffer;
  offset: number;
}

function readInputs(
  reader: JsonReader,
  signature: Signature,
  binary: BinaryData,
  limits: DecodeLimits,
): ReadonlyMap<string, Tensor> {
  const tensors = readTensors(reader, signature, binary, limits);
  const missing = signature.inputs.filter(({ name }) => !tensors.has(name));
  if (missing.length > 0) {
    throw badRequest(`input ${quotedNames(missing)}: missing; expected ${missing.map(describeSignature).join(', ')}`);
  }
  return tensors;
}

/**
 * Reads the `outputs` of an answer, which have the form of a request's `inputs`.
 *
 * @throws RequestError 400 that names the output and what was expected
 */
export function readAnswerTensors(
  reader: JsonReader,
  { outputs }: Signature,
  limits: DecodeLimits,
  binary: Buffer = reader.bytes.subarray(reader.bytes.length),
): ReadonlyMap<string, Tensor> {
  try {
    return readTensors(reader, { inputs: outputs, outputs: [] }, { bytes: binary, offset: 0 }, limits);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw badRequest(error.message.replace(/\binput(s?)\b/g, 'output$1'), error.status);
  }
}

function readTensors(
  reader: JsonReader,
  signature: Signature,
  binary: BinaryData,
  limits: DecodeLimits,
): ReadonlyMap<string, Tensor> {
  if (reader.peek() !== 'array') throw badRequest(`inputs must be a list of tensors, not ${reader.describe()}`);
  const tensors = new Map<string, Tensor>();
  let room = limits.mostTensorBytes;
  reader.beginArray();
  for (let index = 0; reader.element(index === 0); index++) {
    const context = { signature, earlier: tensors, binary, room, patience: limits.patience };
    const { name, tensor } = readInput(reader, index, context);
    room -= Array.isArray(tensor.data) ? 0 : tensor.data.byteLength;
    tensors.set(name, tensor);
  }
  return tensors;
}

/** What was read of an input so far. */
interface InputFields {
  name?: string;
  /** As it stands, in quotes. */
  datatype?: string;
  /** What stands there instead, if it is none. */
  shape?: readonly number[] | string;
  parameters?: Parameters;
  /** Data can be read only once it is known what it must be: where it comes earlier, it is come back to. */
  dataAt?: JsonMark;
  tensor?: Tensor;
}

/** What an input is read with. */
interface InputContext {
  readonly signature: Signature;
  readonly earlier: ReadonlyMap<string, Tensor>;
  readonly binary: BinaryData;
  /** The bytes that its tensor may take. */
  readonly room: number;
  readonly patience: Patience | undefined;
}

function readInput(reader: JsonReader, index: number, context: InputContext): NamedTensor {
  if (reader.peek() !== 'object') throw badRequest(`inputs[${index}] must be a JSON object, not ${reader.describe()}`);
  const fields: InputFields = {};
  let given = '';
  const where = () => (fields.name === undefined ? `inputs[${index}]` : `input ${quoted(fields.name)}`);
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (!readInputField(reader, key, fields, where, context)) reader.skip();
    else given = refuseTwice(given, key, () => `${where()}: `);
  }
  const { name, dataAt, tensor } = fields;
  if (name === undefined) throw badRequest(`inputs[${index}].name must be a string, not missing`);
  const size = fields.parameters?.binary_data_size;
  if (size !== undefined) {
    if (dataAt !== undefined || tensor !== undefined)
      throw badRequest(`input ${quoted(name)}: has both data and binary_data_size`);
    return { name, tensor: takeBinary(knownInput(fields, context), size, context) };
  }
  if (tensor !== undefined) return { name, tensor };
  const input = knownInput(fields, context);
  if (dataAt === undefined) throw badRequest(`input '${name}': data must be an array, not missing`);
  const end = reader.mark();
  reader.returnTo(dataAt);
  const late = readData(reader, input, context);
  reader.returnTo(end);
  return { name, tensor: late };
}

interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

/** @returns whether the key is one that means something; its value was read then */
function readInputField(
  reader: JsonReader,
  key: string,
  fields: InputFields,
  where: () => string,
  context: InputContext,
): boolean {
  switch (key) {
    case 'name':
      if (reader.peek() !== 'string') throw badRequest(`${where()}.name must be a string, not ${reader.describe()}`);
      fields.name = reader.string();
      return true;
    case 'datatype':
      fields.datatype = reader.describe();
      return true;
    case 'shape':
      fields.shape = readShape(reader);
      return true;
    case 'parameters':
      fields.parameters = readParameters(reader, `${where()}: parameters`);
      return true;
    case 'data':
      if (fields.name === undefined || fields.datatype === undefined || fields.shape === undefined) {
        fields.dataAt = reader.mark();
        reader.skip();
      } else fields.tensor = readData(reader, knownInput(fields, context), context);
      return true;
    default:
      return false;
  }
}

/** An input whose name, datatype and shape are what the model takes. */
interface KnownInput {
  readonly expected: TensorSignature;
  readonly shape: readonly number[];
}

/** @throws RequestError 400 when the model has no such input, or takes another type or shape */
function knownInput({ name = '', datatype, shape }: InputFields, { signature, earlier }: InputContext): KnownInput {
  const expected = signature.inputs.find((candidate) => candidate.name === name);
  if (expected === undefined) {
    throw badRequest(`input ${quoted(name)}: the model has no such input, it has ${quotedNames(signature.inputs)}`);
  }
  if (earlier.has(name)) throw badRequest(`input '${name}': given twice`);
  if (datatype !== `"${expected.datatype}"`) {
    throw badRequest(`input '${name}': datatype is ${datatype ?? 'missing'}, expected "${expected.datatype}"`);
  }
  if (shape === undefined || typeof shape === 'string') {
    throw badRequest(
      `input '${name}': shape must be a list of whole numbers, not ${shape ?? 'missing'}; expected ${describeShape(expected)}`,
    );
  }
  checkShape(expected, shape);
  return { expected, shape };
}

function quoted(name: string): string {
  return `'${shorten(name)}'`;
}

function readData(reader: JsonReader, { expected, shape }: KnownInput, { room }: InputContext): Tensor {
  return readJsonTensor(reader, expected.name, expected.datatype, shape, room);
}

function takeBinary({ expected, shape }: KnownInput, size: number, { binary, room, patience }: InputContext): Tensor {
  const end = binary.offset + size;
  if (end > binary.bytes.length) {
    throw badRequest(
      `input '${expected.name}': binary_data_size is ${size}, but ${binary.bytes.length - binary.offset} bytes are left: ` +
        'the header inference-header-content-length says where the JSON ends and binary data begins',
    );
  }
  const bytes = binary.bytes.subarray(binary.offset, end);
  binary.offset = end;
  return readBinaryTensor(expected.name, expected.datatype, shape, bytes, room, patience);
}

/** More dimensions than any model has. */
const mostDimensions = 32;

/** @returns a shape, or what stands there instead */
function readShape(reader: JsonReader): readonly number[] | string {
  const start = reader.mark();
  const shape = reader.peek() === 'array' ? readDimensions(reader) : undefined;
  if (shape !== undefined) return shape;
  reader.returnTo(start);
  return reader.describe();
}

function readDimensions(reader: JsonReader): readonly number[] | undefined {
  const shape: number[] = [];
  reader.beginArray();
  while (reader.element(shape.length === 0)) {
    const dimension = reader.peek() === 'number' ? reader.number() : -1;
    if (!Number.isSafeInteger(dimension) || dimension < 0 || shape.length === mostDimensions) return undefined;
    shape.push(dimension);
  }
  return shape;
}

interface RequestedOutput {
  readonly name: string;
  readonly isBinary: boolean | undefined;
  readonly classes: number | undefined;
}
type RequestedOutputs = readonly RequestedOutput[];

function readOutputs(reader: JsonReader, signature: Signature): RequestedOutputs {
  if (reader.peek() !== 'array') throw badRequest(`outputs must be a list, not ${reader.describe()}`);
  const outputs: RequestedOutput[] = [];
  reader.beginArray();
  for (let index = 0; reader.element(index === 0); index++) {
    const output = readOutput(reader, index, signature);
    if (outputs.some(({ name }) => name === output.name)) throw badRequest(`output '${output.name}': asked for twice`);
    outputs.push(output);
  }
  return outputs;
}

function readOutput(reader: JsonReader, index: number, signature: Signature): RequestedOutput {
  if (reader.peek() !== 'object') throw badRequest(`outputs[${index}] must be a JSON object, not ${reader.describe()}`);
  let name: string | undefined;
  let parameters: Parameters = {};
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (key === 'name') {
      if (reader.peek() !== 'string') {
        throw badRequest(`outputs[${index}].name must be a string, not ${reader.describe()}`);
      }
      name = reader.string();
    } else if (key === 'parameters') parameters = readParameters(reader, `outputs[${index}].parameters`);
    else reader.skip();
  }
  if (name === undefined) throw badRequest(`outputs[${index}].name must be a string, not missing`);
  if (!signature.outputs.some((output) => output.name === name)) {
    throw badRequest(`output ${quoted(name)}: the model has no such output, it has ${quotedNames(signature.outputs)}`);
  }
  return { name, isBinary: parameters.binary_data, classes: parameters.classification };
}

/** Other parameters are the client's own and change nothing. */
function readParameters(reader: JsonReader, where: string): Parameters {
  if (reader.peek() !== 'object') throw badRequest(`${where} must be a JSON object, not ${reader.describe()}`);
  let parameters: Parameters = {};
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    switch (key) {
      case 'binary_data_size':
        parameters = { ...parameters, [key]: readCount(reader, `${where}: ${key}`) };
        break;
      case 'classification':
        parameters = { ...parameters, [key]: readCount(reader, `${where}: ${key}`) || undefined };
        break;
      case 'binary_data':
      case 'binary_data_output':
        parameters = { ...parameters, [key]: readBoolean(reader, `${where}: ${key}`) };
        break;
      case 'non_finite':
        parameters = { ...parameters, [key]: readNonFinite(reader, `${where}: ${key}`) };
        break;
      case sharedMemory:
        throw badRequest(`${where}: ${key}: memory is not shared with clients: send the data itself`);
      default:
        reader.skip();
    }
  }
  return parameters;
}

function readCount(reader: JsonReader, where: string): number {
  const start = reader.mark();
  const value = reader.peek() === 'number' ? reader.number() : -1;
  if (Number.isSafeInteger(value) && value >= 0) return value;
  reader.returnTo(start);
  throw badRequest(`${where} must be a whole number, not ${reader.describe()}`);
}

function readBoolean(reader: JsonReader, where: string): boolean {
  if (reader.peek() === 'boolean') return reader.boolean();
  throw badRequest(`${where} must be true or false, not ${reader.describe()}`);
}

function readNonFinite(reader: JsonReader, where: string): NonFinite {
  const found = reader.describe();
  const form = nonFiniteForms.find((known) => `"${known}"` === found);
  if (form !== undefined) return form;
  throw badRequest(`${where} must be one of "${nonFiniteForms.join('", "')}", not ${found}`);
}
