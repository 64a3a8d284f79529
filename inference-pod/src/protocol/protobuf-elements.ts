import { readText } from './binary-tensors.ts';
import { type Datatype, type TensorData, zeros } from './datatypes.ts';
import { tooLarge } from './json-text.ts';
import { ProtobufReader, wireTypes } from './protobuf.ts';
import { badRequest } from './request-error.ts';

/** The elements of a tensor, read from a repeated field: integers and booleans as varints, FP16 as the varints of its bits. */
export class ProtobufElements {
  readonly data: TensorData;
  readonly #name: string;
  readonly #datatype: Datatype;
  readonly #count: number;
  #length = 0;

  /** @param name the input's, for the error */
  constructor(name: string, datatype: Datatype, count: number) {
    this.#name = name;
    this.#datatype = datatype;
    this.#count = count;
    this.data = zeros(datatype, count);
  }

  /** How many have been read. */
  get length(): number {
    return this.#length;
  }

  /**
   * Reads what one occurrence of the field has: one element, or a packed list.
   *
   * @returns false when there are more than there is room for
   * @throws RequestError 400 that names the input and the element
   */
  read(reader: ProtobufReader): boolean {
    if (this.#datatype === 'BYTES' || reader.wireType !== wireTypes.length) {
      if (reader.wireType !== wireTypeOf(this.#datatype)) {
        throw badRequest(`input '${this.#name}': its elements are not laid out as those of ${this.#datatype}`);
      }
      return this.#readOne(reader);
    }
    const view = reader.view();
    for (const packed = new ProtobufReader(view); !packed.isAtEnd; ) if (!this.#readOne(packed)) return false;
    return true;
  }

  #readOne(reader: ProtobufReader): boolean {
    if (this.#length === this.#count) return false;
    readElement(reader, this.#name, this.#datatype, this.data, this.#length++);
    return true;
  }
}

/** How one element is laid out by itself. */
function wireTypeOf(datatype: Datatype): number {
  switch (datatype) {
    case 'BYTES':
      return wireTypes.length;
    case 'FP32':
      return wireTypes.fixed32;
    case 'FP64':
      return wireTypes.fixed64;
    default:
      return wireTypes.varint;
  }
}

/** A whole number of up to 32 bits, as Protocol Buffers reads one from what has more: it takes the lowest. */
function readWhole(reader: ProtobufReader, datatype: Datatype): number {
  const value = reader.varint64();
  if (datatype === 'BOOL') return value === 0n ? 0 : 1;
  // Some write the bits of a half with the sign of a number.
  if (datatype === 'FP16') return Number(BigInt.asUintN(32, value)) & 0xffff;
  return Number(datatype === 'UINT32' ? BigInt.asUintN(32, value) : BigInt.asIntN(32, value));
}

function readElement(reader: ProtobufReader, name: string, datatype: Datatype, data: TensorData, index: number): void {
  if (Array.isArray(data)) {
    data[index] = readText(name, index, reader.view());
  } else if (data instanceof BigInt64Array) {
    data[index] = BigInt.asIntN(64, reader.varint64());
  } else if (data instanceof BigUint64Array) {
    data[index] = reader.varint64();
  } else if (data instanceof Float32Array) {
    data[index] = reader.fixed(4).readFloatLE();
  } else if (data instanceof Float64Array) {
    data[index] = reader.fixed(8).readDoubleLE();
  } else {
    const value = readWhole(reader, datatype);
    data[index] = value;
    if (data[index] !== value) {
      throw badRequest(`input '${name}': element ${index} is ${value}, which is no ${datatype}`);
    }
  }
}

/**
 * The packed list of a tensor's elements: floats as they lie in memory, without a copy, all others as varints.
 *
 * @throws RequestError 400 when it is larger than allowed
 */
export function packedElements(data: Exclude<TensorData, string[]>, mostBytes: number): Uint8Array {
  const isFixed = data instanceof Float32Array || data instanceof Float64Array;
  return isFixed ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : varintsOf(data, mostBytes);
}

/** Each number of a typed array as a varint of 64 bits, negative ones in two's complement. */
function varintsOf(data: Exclude<TensorData, string[]>, mostBytes: number): Uint8Array {
  let size = 0;
  for (const value of data) size += varintBytes(value);
  if (size > mostBytes) throw tooLarge(mostBytes);
  const bytes = Buffer.allocUnsafeSlow(size);
  let offset = 0;
  for (const value of data) offset = writeVarint(bytes, value, offset);
  return bytes;
}

function varintBytes(value: number | bigint): number {
  if (value < 0) return 10;
  let bytes = 1;
  if (typeof value === 'bigint' && value > Number.MAX_SAFE_INTEGER) {
    for (let rest = value; rest >= 128n; rest >>= 7n) bytes++;
    return bytes;
  }
  for (let rest = Number(value); rest >= 128; rest /= 128) bytes++;
  return bytes;
}

function writeVarint(bytes: Buffer, value: number | bigint, start: number): number {
  let offset = start;
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
    let rest = Number(value);
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes[offset++] = (rest % 128) + 128;
    bytes[offset++] = rest;
    return offset;
  }
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest >>= 7n) bytes[offset++] = Number(rest & 0x7fn) | 0x80;
  bytes[offset++] = Number(rest);
  return offset;
}
