import { elementBytes, readBinaryTensor, stringBytes, writeBinaryTensor } from './binary-tensors.ts';
import { classify } from './classification.ts';
import {
  type Datatype,
  elementCount,
  type Signature,
  type Tensor,
  type TensorData,
  type TensorSignature,
} from './datatypes.ts';
import { shorten } from './json-reader.ts';
import { tooLarge } from './json-text.ts';
import type { ModelIdentity } from './open-inference.ts';
import type { DecodeLimits, InferenceRequest, OutputRequest } from './open-inference-request.ts';
import { ProtobufReader, ProtobufWriter, wireTypes } from './protobuf.ts';
import { ProtobufElements, packedElements } from './protobuf-elements.ts';
import { badRequest, type RequestError } from './request-error.ts';
import { checkShape, describeSignature, quotedNames } from './tensor-shape.ts';

/** The numbers of the fields in open_inference_grpc.proto of the Open Inference Protocol v2. */
const request = { modelName: 1, modelVersion: 2, id: 3, inputs: 5, outputs: 6, rawInputs: 7 };
/** Of an InferInputTensor, and of an InferOutputTensor. */
const described = { name: 1, datatype: 2, shape: 3, parameters: 4, contents: 5 };
const output = { name: 1, parameters: 2 };
const entry = { key: 1, value: 2 };
const parameter = { int64: 2 };
const response = { modelName: 1, modelVersion: 2, id: 3, outputs: 5, rawOutputs: 6 };

/** A request has one for each input and output, and a few more; an input and an output have fewer. */
const mostFields = 10_000;

function tooManyFields(): RequestError {
  return badRequest(`a message has more than ${mostFields} fields`);
}

/** Reads of which model and version a ModelInferRequest wants an answer; '' for what it does not say. */
export function addresseeOf(message: Buffer): ModelIdentity {
  const reader = new ProtobufReader(message);
  let name: Buffer | undefined;
  let version: Buffer | undefined;
  let fields = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (++fields > mostFields) throw tooManyFields();
    if (field === request.modelName) name = reader.view();
    else if (field === request.modelVersion) version = reader.view();
    else reader.skip();
  }
  return { name: name?.toString() ?? '', version: version?.toString() ?? '' };
}

/**
 * Reads a ModelInferRequest.
 *
 * @throws RequestError 400 that names the input and what was expected, 413
 */
export function decodeGrpcInference(message: Buffer, signature: Signature, limits: DecodeLimits): InferenceRequest {
  const reader = new ProtobufReader(message);
  let id: string | undefined;
  const inputs = new Tensors(signature.inputs);
  const outputs: OutputRequest[] = [];
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    limits.patience?.spend();
    switch (field) {
      case request.id:
        id = reader.text();
        break;
      case request.inputs:
        inputs.add(reader.view());
        break;
      case request.outputs:
        outputs.push(readOutput(reader.view(), signature, outputs));
        break;
      case request.rawInputs:
        inputs.addRaw(reader.view());
        break;
      default:
        reader.skip();
    }
  }
  const tensors = inputs.read(limits);
  const missing = signature.inputs.filter(({ name }) => !tensors.has(name));
  if (missing.length > 0) {
    throw badRequest(`input ${quotedNames(missing)}: missing; expected ${missing.map(describeSignature).join(', ')}`);
  }
  // A model without inputs leaves no choice to see, and Triton's client reads numbers in raw form alone.
  const isRaw = inputs.isRaw || tensors.size === 0;
  const whole = signature.outputs.map(({ name }) => ({ name, isBinary: isRaw, classes: undefined }));
  return {
    id,
    inputs: tensors,
    outputs: outputs.length === 0 ? whole : outputs.map((asked) => ({ ...asked, isBinary: isRaw })),
    nonFinite: 'bare',
  };
}

/**
 * Reads the outputs of a ModelInferResponse, of which not all have to be there.
 *
 * @throws RequestError 400 for what no version of this signature answers, 413
 */
export function decodeGrpcAnswer(
  message: Buffer,
  signature: Signature,
  limits: DecodeLimits,
): ReadonlyMap<string, Tensor> {
  const reader = new ProtobufReader(message);
  const outputs = new Tensors(signature.outputs);
  let fields = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (++fields > mostFields) throw tooManyFields();
    if (field === response.outputs) outputs.add(reader.view());
    else if (field === response.rawOutputs) outputs.addRaw(reader.view());
    else reader.skip();
  }
  return outputs.read(limits);
}

/** The tensors of a message: what is said of each, and the data of all in raw form beside it, or of none. */
class Tensors {
  readonly #known: readonly TensorSignature[];
  readonly #descriptions: Buffer[] = [];
  readonly #raws: Buffer[] = [];

  /** @param known those that there may be */
  constructor(known: readonly TensorSignature[]) {
    this.#known = known;
  }

  get isRaw(): boolean {
    return this.#raws.length > 0;
  }

  add(description: Buffer): void {
    this.#addTo(this.#descriptions, description);
  }

  addRaw(data: Buffer): void {
    this.#addTo(this.#raws, data);
  }

  #addTo(list: Buffer[], bytes: Buffer): void {
    if (list.length === this.#known.length)
      throw badRequest(`more inputs are given than the model has, which are ${quotedNames(this.#known)}`);
    list.push(bytes);
  }

  /** @throws RequestError */
  read(limits: DecodeLimits): ReadonlyMap<string, Tensor> {
    const [descriptions, raws] = [this.#descriptions, this.#raws];
    if (raws.length > 0 && raws.length !== descriptions.length) {
      throw badRequest(
        `raw_input_contents has ${raws.length} entries for ${descriptions.length} inputs: give all inputs in it, or none`,
      );
    }
    const tensors = new Map<string, Tensor>();
    let room = limits.mostTensorBytes;
    for (const [index, bytes] of descriptions.entries()) {
      const { name, tensor } = readTensor(bytes, index, this.#known, raws[index], room, limits);
      if (tensors.has(name)) throw badRequest(`input '${name}': given twice`);
      room -= Array.isArray(tensor.data) ? 0 : tensor.data.byteLength;
      tensors.set(name, tensor);
    }
    return tensors;
  }
}

/** More dimensions than any model has. */
const mostDimensions = 32;

/** What is said of a tensor. */
interface TensorFields {
  name: string;
  datatype: string;
  readonly shape: number[];
  contents: Buffer | undefined;
}

function readTensorFields(bytes: Buffer): TensorFields {
  const reader = new ProtobufReader(bytes);
  const fields: TensorFields = { name: '', datatype: '', shape: [], contents: undefined };
  let count = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (++count > mostFields) throw tooManyFields();
    switch (field) {
      case described.name:
        fields.name = reader.text();
        break;
      case described.datatype:
        fields.datatype = reader.text();
        break;
      case described.shape:
        readNumbers(reader, fields.shape, mostDimensions);
        break;
      case described.parameters:
        if (keyOf(reader.view()).startsWith('shared_memory')) {
          throw badRequest(`input '${shorten(fields.name)}': memory is not shared with clients: send the data itself`);
        }
        break;
      case described.contents:
        fields.contents = reader.view();
        break;
      default:
        reader.skip();
    }
  }
  return fields;
}

function readTensor(
  bytes: Buffer,
  index: number,
  known: readonly TensorSignature[],
  raw: Buffer | undefined,
  room: number,
  limits: DecodeLimits,
) {
  const { name, datatype, shape, contents } = readTensorFields(bytes);
  const expected = known.find((candidate) => candidate.name === name);
  if (expected === undefined) {
    const which = name === '' ? `inputs[${index}]` : `input '${shorten(name)}'`;
    throw badRequest(`${which}: the model has no such input, it has ${quotedNames(known)}`);
  }
  if (datatype !== expected.datatype) {
    throw badRequest(`input '${name}': datatype is "${shorten(datatype)}", expected "${expected.datatype}"`);
  }
  checkShape(expected, shape);
  if (raw === undefined) {
    limits.patience?.spend(elementCount(shape));
    const data = readContents(name, expected.datatype, shape, contents ?? Buffer.alloc(0), room);
    return { name, tensor: { datatype: expected.datatype, shape, data } };
  }
  if (contents !== undefined && contents.length > 0) {
    throw badRequest(`input '${name}': has both contents and raw_input_contents`);
  }
  return { name, tensor: readBinaryTensor(name, expected.datatype, shape, raw, room, limits.patience) };
}

/** Numbers of a list, packed or not. */
function readNumbers(reader: ProtobufReader, into: number[], most: number): void {
  const packed = reader.wireType === wireTypes.length ? new ProtobufReader(reader.view()) : undefined;
  const add = (value: number) => {
    if (into.length === most) throw badRequest(`a shape has more than ${most} dimensions`);
    // Negative ones come as numbers of 64 bits without a sign.
    if (value > Number.MAX_SAFE_INTEGER) throw badRequest('a shape must be whole numbers that are not negative');
    into.push(value);
  };
  if (packed === undefined) add(reader.number());
  else while (!packed.isAtEnd) add(packed.varint());
}

function keyOf(bytes: Buffer): string {
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === entry.key) return reader.text();
    reader.skip();
  }
  return '';
}

/** The fields of InferTensorContents. */
const contentsField: Readonly<Record<Exclude<Datatype, 'FP16'>, number>> = {
  BOOL: 1,
  INT8: 2,
  INT16: 2,
  INT32: 2,
  INT64: 3,
  UINT8: 4,
  UINT16: 4,
  UINT32: 4,
  UINT64: 5,
  FP32: 6,
  FP64: 7,
  BYTES: 8,
};

/** Reads InferTensorContents straight into a typed array. */
function readContents(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  bytes: Buffer,
  mostBytes: number,
): TensorData {
  if (datatype === 'FP16') throw badRequest(`input '${name}': FP16 has to be sent in raw_input_contents`);
  const wanted = contentsField[datatype];
  const count = elementCount(shape);
  const wrongCount = (found: string) =>
    badRequest(`input '${name}': shape [${shape.join(', ')}] has ${count} elements, but contents has ${found}`);
  // Each has at least one byte: nothing is allocated for data that cannot be there.
  if (count > bytes.length) throw wrongCount('fewer');
  if (count * (elementBytes(datatype) ?? stringBytes) + bytes.length > mostBytes) {
    throw badRequest(`input '${name}': takes more than the ${mostBytes} bytes that a request may take`, 413);
  }
  const elements = new ProtobufElements(name, datatype, count);
  const reader = new ProtobufReader(bytes);
  let fields = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    // Those that hold no element are no more than those of any other message.
    if (++fields > count + mostFields) throw tooManyFields();
    if (field !== wanted) {
      throw badRequest(`input '${name}': the contents of ${datatype} are in field ${wanted} of InferTensorContents`);
    }
    if (!elements.read(reader)) throw wrongCount('more');
  }
  if (elements.length !== count) throw wrongCount(String(elements.length));
  return elements.data;
}

function readOutput(bytes: Buffer, signature: Signature, earlier: readonly OutputRequest[]): OutputRequest {
  const reader = new ProtobufReader(bytes);
  let name = '';
  let classes: number | undefined;
  let fields = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (++fields > mostFields) throw tooManyFields();
    if (field === output.name) name = reader.text();
    else if (field === output.parameters) {
      const pair = reader.view();
      if (keyOf(pair) === 'classification') classes = intParameter(pair) || undefined;
    } else reader.skip();
  }
  if (!signature.outputs.some((known) => known.name === name)) {
    throw badRequest(
      `output '${shorten(name)}': the model has no such output, it has ${quotedNames(signature.outputs)}`,
    );
  }
  if (earlier.some((asked) => asked.name === name)) throw badRequest(`output '${name}': asked for twice`);
  return { name, isBinary: false, classes };
}

/** The int64_param of an entry of parameters; 0 if it has none. */
function intParameter(pair: Buffer): number {
  const reader = new ProtobufReader(pair);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field !== entry.value) {
      reader.skip();
      continue;
    }
    const value = new ProtobufReader(reader.view());
    for (let inner = value.field(); inner !== undefined; inner = value.field()) {
      if (inner === parameter.int64) return value.number();
      value.skip();
    }
  }
  return 0;
}

/**
 * Writes a ModelInferResponse: tensors in raw_output_contents where the request's were in raw_input_contents or it had
 * none, in contents otherwise, but for FP16, which has no other form.
 *
 * @throws RequestError 400 when it is larger than allowed
 */
export function encodeGrpcInference(
  model: ModelIdentity,
  { id, outputs: asked }: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): readonly Uint8Array[] {
  const writer = new ProtobufWriter().text(response.modelName, model.name).text(response.modelVersion, model.version);
  if (id !== undefined) writer.text(response.id, id);
  const tensors = asked.map(({ name, classes }) => {
    const found = outputs.get(name);
    if (found === undefined) throw new Error(`the model has not computed '${name}'`);
    return { name, tensor: classes === undefined ? found : classify(name, found, classes) };
  });
  const isRaw = asked.some(({ isBinary }) => isBinary) || tensors.some(({ tensor }) => tensor.datatype === 'FP16');
  for (const { name, tensor } of tensors) {
    const message = new ProtobufWriter()
      .text(described.name, name)
      .text(described.datatype, tensor.datatype)
      .numbers(described.shape, tensor.shape);
    if (!isRaw) message.message(described.contents, contentsOf(tensor, mostBytes));
    writer.message(response.outputs, message);
  }
  if (isRaw) for (const { tensor } of tensors) writer.bytes(response.rawOutputs, writeBinaryTensor(tensor));
  if (writer.length > mostBytes) throw tooLarge(mostBytes);
  return writer.finish();
}

function contentsOf({ datatype, data }: Tensor, mostBytes: number): ProtobufWriter {
  const writer = new ProtobufWriter();
  if (datatype === 'FP16') return writer;
  const field = contentsField[datatype];
  if (Array.isArray(data)) {
    for (const text of data) writer.bytes(field, Buffer.from(text));
    return writer;
  }
  return data.length === 0 ? writer : writer.bytes(field, packedElements(data, mostBytes));
}
