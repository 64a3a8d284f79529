import { elementBytes, readBinaryTensor, readText, stringBytes } from './binary-tensors.ts';
import { type Datatype, elementCount, type Tensor, type TensorData, type TensorSignature } from './datatypes.ts';
import { tooLarge } from './json-text.ts';
import type { Patience } from './patience.ts';
import { ProtobufReader, ProtobufWriter } from './protobuf.ts';
import { ProtobufElements, packedElements } from './protobuf-elements.ts';
import { badRequest } from './request-error.ts';
import { checkShape } from './tensor-shape.ts';
import { tensorflowTypes, tensorShapeMessage } from './tensorflow-metadata.ts';

/** The numbers of the fields in tensorflow/core/framework/tensor.proto. */
const tensorField = { datatype: 1, shape: 2, content: 4 };
const valueField: Readonly<Record<Datatype, number>> = {
  FP32: 5,
  FP64: 6,
  INT8: 7,
  INT16: 7,
  INT32: 7,
  UINT8: 7,
  UINT16: 7,
  BYTES: 8,
  INT64: 10,
  BOOL: 11,
  FP16: 13,
  UINT32: 16,
  UINT64: 17,
};

const mostDimensions = 32;

/**
 * Reads a TensorProto: values in the field of their type, of which the last stands for all that are missing, or all of
 * them as bytes in tensor_content.
 *
 * @param room what it may take
 * @throws RequestError 400 that names the input and what was expected, 413
 */
export function readTensorProto(
  bytes: Buffer,
  expected: TensorSignature,
  room: number,
  patience: Patience | undefined,
): Tensor {
  const { name, datatype } = expected;
  const { typeNumber, shape, content } = readDescription(bytes, name, patience);
  const type = tensorflowTypes[datatype];
  if (typeNumber !== type.number) {
    throw badRequest(`input '${name}': dtype is ${nameOf(typeNumber)}, expected ${type.name}`);
  }
  checkShape(expected, shape);
  const count = elementCount(shape);
  const most = count * (elementBytes(datatype) ?? stringBytes) + (datatype === 'BYTES' ? bytes.length : 0);
  if (most > room) {
    throw badRequest(`input '${name}': takes ${most} bytes, more than the ${room} that a request may take`, 413);
  }
  if (content !== undefined && content.length > 0) {
    if (datatype === 'BYTES') patience?.spend(count);
    if (datatype === 'BYTES') return { datatype, shape, data: readContentStrings(name, count, content) };
    return readBinaryTensor(name, datatype, shape, content, room, patience);
  }
  patience?.spend(count);
  return { datatype, shape, data: readValues(bytes, expected, shape, count, room - most) };
}

function nameOf(typeNumber: number): string {
  const known = Object.values(tensorflowTypes).find(({ number }) => number === typeNumber);
  return known?.name ?? String(typeNumber);
}

function readDescription(bytes: Buffer, name: string, patience: Patience | undefined) {
  const reader = new ProtobufReader(bytes);
  let typeNumber = 0;
  let shape: readonly number[] = [];
  let content: Buffer | undefined;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    patience?.spend();
    if (field === tensorField.datatype) typeNumber = reader.number();
    else if (field === tensorField.shape)
      shape = [...shape, ...readShape(reader.view(), name, mostDimensions - shape.length)];
    else if (field === tensorField.content) content = reader.view();
    else reader.skip();
  }
  return { typeNumber, shape, content };
}

function readShape(bytes: Buffer, name: string, most: number): readonly number[] {
  const reader = new ProtobufReader(bytes);
  const shape: number[] = [];
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === 2) shape.push(readSize(reader.view()));
    else if (field === 3 && reader.number() !== 0) throw badRequest(`input '${name}': its shape is of unknown rank`);
    else if (field !== 3) reader.skip();
    if (shape.length > most) throw badRequest(`input '${name}': more than ${mostDimensions} dimensions`);
  }
  if (shape.every((size) => Number.isSafeInteger(size))) return shape;
  throw badRequest(`input '${name}': a shape must be whole numbers that are not negative`);
}

/** A TensorShapeProto.Dim. */
function readSize(bytes: Buffer): number {
  const reader = new ProtobufReader(bytes);
  let size = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === 1) size = reader.number();
    else reader.skip();
  }
  return size;
}

function readValues(
  bytes: Buffer,
  { name, datatype }: TensorSignature,
  shape: readonly number[],
  count: number,
  room: number,
): TensorData {
  const elements = new ProtobufElements(name, datatype, count);
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field !== valueField[datatype]) reader.skip();
    else if (!elements.read(reader)) {
      throw badRequest(`input '${name}': shape [${shape.join(', ')}] has ${count} elements, but more are given`);
    }
  }
  if (elements.length < count && elements.length === 0) {
    throw badRequest(
      `input '${name}': no values are given: ${tensorflowTypes[datatype].name} has them in field ${valueField[datatype]} of TensorProto, or in tensor_content`,
    );
  }
  refuseLongTexts(name, elements.data, elements.length, room);
  fillWithLast(elements.data, elements.length);
  return elements.data;
}

/** A string that stands for many is as many when the model is given it. */
function refuseLongTexts(name: string, data: TensorData, length: number, room: number): void {
  if (!Array.isArray(data)) return;
  const bytes = (data.length - length) * Buffer.byteLength(data[length - 1] ?? '');
  if (bytes <= room) return;
  throw badRequest(
    `input '${name}': its last string stands for ${data.length - length} more, which take too much`,
    413,
  );
}

function fillWithLast(data: TensorData, length: number): void {
  if (length === 0 || length === data.length) return;
  if (Array.isArray(data)) data.fill(data[length - 1] ?? '', length);
  else if (data instanceof BigInt64Array || data instanceof BigUint64Array) data.fill(data[length - 1] ?? 0n, length);
  else data.fill(data[length - 1] ?? 0, length);
}

/** Strings in tensor_content: all their lengths as varints, then all their bytes. */
function readContentStrings(name: string, count: number, content: Buffer): string[] {
  const tooShort = () => badRequest(`input '${name}': its tensor_content ends before its ${count} strings do`);
  if (count > content.length) throw tooShort();
  const reader = new ProtobufReader(content);
  const lengths = Array.from({ length: count }, () => reader.varint());
  let offset = reader.position;
  const strings = lengths.map((length, index) => {
    if (offset + length > content.length) throw tooShort();
    offset += length;
    return readText(name, index, content.subarray(offset - length, offset));
  });
  if (offset === content.length) return strings;
  throw badRequest(`input '${name}': its tensor_content goes on behind its ${count} strings`);
}

/**
 * A TensorProto with its values in the field of their type, which is where clients without TensorFlow look for them.
 *
 * @throws RequestError 400 when it is larger than allowed
 */
export function tensorProto({ datatype, shape, data }: Tensor, mostBytes: number): ProtobufWriter {
  const writer = new ProtobufWriter()
    .number(tensorField.datatype, tensorflowTypes[datatype].number)
    .message(tensorField.shape, tensorShapeMessage(shape));
  if (!Array.isArray(data)) {
    return data.length === 0 ? writer : writer.bytes(valueField[datatype], packedElements(data, mostBytes));
  }
  for (const text of data) {
    writer.bytes(valueField.BYTES, Buffer.from(text));
    if (writer.length > mostBytes) throw tooLarge(mostBytes);
  }
  return writer;
}
