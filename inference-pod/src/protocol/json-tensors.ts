import { elementBytes, readText, stringBytes } from './binary-tensors.ts';
import { type Datatype, elementCount, type Tensor, type TensorData } from './datatypes.ts';
import { PlainNumbers, numbers as piece } from './json-numbers.ts';
import { type JsonReader, shorten } from './json-reader.ts';
import { badRequest, type RequestError } from './request-error.ts';

/** Reads the elements of one innermost list, of which the first is next, into the tensor. */
interface Elements {
  readonly data: TensorData;
  /** Reads the element at this index, and perhaps more of its list, but none at `end` or beyond. @returns the index behind the last */
  read(index: number, end: number): number;
}

/** How elements may be written beside the usual way. */
export interface ElementForms {
  /** Strings as {"b64": "..."} too, as TensorFlow Serving has them. */
  readonly base64: boolean;
}

const usualForms: ElementForms = { base64: false };

/**
 * Reads the data of a tensor, flat or nested as its shape, from JSON straight into its typed array.
 *
 * @param name the input's name, for the error
 * @param mostBytes what the tensor may take
 * @throws RequestError 400 that names the input, the element and what was expected; 413 for too many strings
 */
export function readJsonTensor(
  reader: JsonReader,
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  mostBytes: number,
): Tensor {
  if (reader.peek() !== 'array') throw badRequest(`input '${name}': data must be an array, not ${reader.describe()}`);
  const start = reader.mark();
  // An element has at least a sign and a comma: nothing is allocated for data that cannot be there.
  if (2 * elementCount(shape) > reader.bytes.length - start.position) throw wrongCount(reader, name, shape);
  const tensor = new NestedTensor(reader, name, datatype, shape, mostBytes, usualForms);
  if (shape.length > 1 && reader.isListOfLists()) tensor.readWhole();
  else if (!tensor.readFlat()) {
    reader.returnTo(start);
    throw wrongCount(reader, name, shape);
  }
  return tensor.tensor;
}

/**
 * The shape of a value that is nested lists, by the first of each level; of a value that is no list, []. It is not passed
 * over.
 */
export function inferShape(reader: JsonReader): readonly number[] {
  const start = reader.mark();
  const shape: number[] = [];
  while (reader.peek() === 'array') {
    const list = reader.mark();
    shape.push(reader.length());
    reader.returnTo(list);
    reader.beginArray();
    if (!reader.element(true)) break;
  }
  reader.returnTo(start);
  return shape;
}

/** A tensor that is read from nested lists, whole or row by row. */
export class NestedTensor {
  readonly #reader: JsonReader;
  readonly #name: string;
  readonly #datatype: Datatype;
  readonly #shape: readonly number[];
  readonly #elements: Elements;

  /** @throws RequestError 413 when it takes more than it may */
  constructor(
    reader: JsonReader,
    name: string,
    datatype: Datatype,
    shape: readonly number[],
    mostBytes: number,
    forms: ElementForms,
  ) {
    const count = elementCount(shape);
    const bytes = count * (elementBytes(datatype) ?? stringBytes);
    if (bytes > mostBytes) {
      throw badRequest(
        `input '${name}': takes ${bytes} bytes, more than the ${mostBytes} that a request may take`,
        413,
      );
    }
    this.#reader = reader;
    this.#name = name;
    this.#datatype = datatype;
    this.#shape = shape;
    this.#elements = elementsOf(reader, name, datatype, count, mostBytes, forms);
  }

  get tensor(): Tensor {
    return { datatype: this.#datatype, shape: this.#shape, data: this.#elements.data };
  }

  /** @returns false, somewhere within the list, when it has another number of elements */
  readFlat(): boolean {
    return readList(this.#reader, this.#elements, 0, elementCount(this.#shape));
  }

  /** @throws RequestError 400 when the lists do not have the shape */
  readWhole(): void {
    this.#read(0, 0);
  }

  /** Reads one element of the first dimension. */
  readRow(row: number): void {
    this.#read(1, row * elementCount(this.#shape.slice(1)));
  }

  /** Reads lists from this axis on. @returns the index behind the last element */
  #read(axis: number, from: number): number {
    const reader = this.#reader;
    if (axis === this.#shape.length) return this.#elements.read(from, from + 1);
    const expected = this.#shape[axis] ?? 0;
    if (reader.peek() !== 'array') {
      throw this.#misshapen(`${reader.describe()} stands where a list of ${expected} was expected`);
    }
    const start = reader.mark();
    const wrongLength = () => {
      reader.returnTo(start);
      return this.#misshapen(`a list at depth ${axis + 1} has ${reader.length()} elements, not ${expected}`);
    };
    if (axis === this.#shape.length - 1) {
      if (!readList(reader, this.#elements, from, from + expected)) throw wrongLength();
      return from + expected;
    }
    reader.beginArray();
    let index = from;
    let length = 0;
    while (reader.element(length === 0)) {
      if (length++ === expected) throw wrongLength();
      index = this.#read(axis + 1, index);
    }
    if (length !== expected) throw wrongLength();
    return index;
  }

  #misshapen(reason: string): RequestError {
    return badRequest(
      `input '${this.#name}': nested data does not have the shape [${this.#shape.join(', ')}]: ${reason}`,
    );
  }
}

/** @returns false, somewhere within the list, when it has another number of elements */
function readList(reader: JsonReader, elements: Elements, from: number, to: number): boolean {
  reader.beginArray();
  let index = from;
  while (reader.element(index === from)) {
    if (index === to) return false;
    index = elements.read(index, to);
  }
  return index === to;
}

function wrongCount(reader: JsonReader, name: string, shape: readonly number[]): RequestError {
  return badRequest(
    `input '${name}': shape [${shape.join(', ')}] has ${elementCount(shape)} elements, but data has ${reader.count()}`,
  );
}

function elementsOf(
  reader: JsonReader,
  name: string,
  datatype: Datatype,
  count: number,
  mostBytes: number,
  forms: ElementForms,
): Elements {
  switch (datatype) {
    case 'BOOL':
      return booleans(reader, name, new Uint8Array(count));
    case 'UINT8':
      return integers(reader, name, new Uint8Array(count), 0, 0xff);
    case 'UINT16':
      return integers(reader, name, new Uint16Array(count), 0, 0xffff);
    case 'UINT32':
      return integers(reader, name, new Uint32Array(count), 0, 0xffff_ffff);
    case 'INT8':
      return integers(reader, name, new Int8Array(count), -0x80, 0x7f);
    case 'INT16':
      return integers(reader, name, new Int16Array(count), -0x8000, 0x7fff);
    case 'INT32':
      return integers(reader, name, new Int32Array(count), -0x8000_0000, 0x7fff_ffff);
    case 'UINT64':
      return largeIntegers(reader, name, new BigUint64Array(count), 0n, 2n ** 64n - 1n);
    case 'INT64':
      return largeIntegers(reader, name, new BigInt64Array(count), -(2n ** 63n), 2n ** 63n - 1n);
    case 'FP16': {
      const halves = new Float16Array(count);
      return floats(reader, name, halves, 65504, 65520, new Uint16Array(halves.buffer));
    }
    case 'FP32': {
      const data = new Float32Array(count);
      return floats(reader, name, data, 3.4028234663852886e38, 3.4028235677973366e38, data);
    }
    case 'FP64': {
      const data = new Float64Array(count);
      return floats(reader, name, data, Number.MAX_VALUE, Number.POSITIVE_INFINITY, data);
    }
    case 'BYTES':
      return strings(reader, name, count, mostBytes, forms);
  }
}

/** What a typed array of numbers can do that takes a piece. */
interface NumberArray {
  [index: number]: number;
  set(values: ArrayLike<number>, offset: number): void;
}

/**
 * Reads plain numbers in pieces, which are judged here and copied by the engine, which also converts them. They are smaller
 * after each that was refused: no body makes most of them vain.
 */
class Pieces {
  readonly #reader: JsonReader;
  readonly #numbers: PlainNumbers;
  readonly #accepted: number;
  #most = piece.length;

  /** @param accepted every number up to this size is accepted, whatever it is */
  constructor(reader: JsonReader, accepted: number) {
    this.#reader = reader;
    this.#numbers = new PlainNumbers(reader);
    this.#accepted = accepted;
  }

  /**
   * Reads numbers into `piece`.
   *
   * @param accepts says whether so many of them, from 0 on, may be taken
   * @returns how many; 0 if the next is not plain, or if one of them was refused, with the reader where it was
   */
  read(room: number, accepts: (count: number) => boolean): number {
    const start = this.#reader.position;
    const count = this.#numbers.read(Math.min(this.#most, room));
    if (this.#numbers.bound <= this.#accepted || accepts(count)) {
      this.#most = Math.min(piece.length, 2 * this.#most);
      return count;
    }
    this.#reader.moveTo(start);
    this.#most = 1;
    return 0;
  }
}

function take(into: NumberArray, index: number, count: number): void {
  if (count > 8) into.set(piece.subarray(0, count), index);
  else for (let offset = 0; offset < count; offset++) into[index + offset] = piece[offset] ?? 0;
}

/** @param beyond the least that is rounded to infinity */
function floats(
  reader: JsonReader,
  name: string,
  into: NumberArray,
  most: number,
  beyond: number,
  data: TensorData,
): Elements {
  const accepts = (count: number) => {
    for (let offset = 0; offset < count; offset++) if (!(Math.abs(piece[offset] ?? 0) < beyond)) return false;
    return true;
  };
  const pieces = new Pieces(reader, most);
  return {
    data,
    read(index, end) {
      const count = pieces.read(end - index, accepts);
      take(into, index, count);
      if (count > 0) return index + count;
      reader.spend();
      const expected = `a number from ${-most} to ${most}`;
      const start = reader.position;
      if (reader.peek() !== 'number') throw wrongElement(reader, name, index, expected);
      const isWord = reader.isWordNumber();
      const value = reader.number();
      if (!isWord && !(Math.abs(value) < beyond)) {
        reader.moveTo(start);
        throw wrongElement(reader, name, index, expected);
      }
      into[index] = value;
      return index + 1;
    },
  };
}

function integers<A extends NumberArray & TensorData>(
  reader: JsonReader,
  name: string,
  into: A,
  least: number,
  most: number,
): Elements {
  const isAccepted = (value: number) => value >= least && value <= most && Number.isInteger(value);
  const accepts = (count: number) => {
    for (let offset = 0; offset < count; offset++) if (!isAccepted(piece[offset] ?? 0)) return false;
    return true;
  };
  const pieces = new Pieces(reader, 0);
  return {
    data: into,
    read(index, end) {
      const count = pieces.read(end - index, accepts);
      take(into, index, count);
      if (count > 0) return index + count;
      reader.spend();
      const start = reader.position;
      const value = reader.peek() === 'number' ? reader.number() : Number.NaN;
      if (!isAccepted(value)) {
        reader.moveTo(start);
        throw wrongElement(reader, name, index, `an integer from ${least} to ${most}`);
      }
      into[index] = value;
      return index + 1;
    },
  };
}

/** Integers that a double may not hold are read from their text; the others are written as two halves, without a bigint. */
function largeIntegers<A extends BigInt64Array | BigUint64Array>(
  reader: JsonReader,
  name: string,
  into: A,
  least: bigint,
  most: bigint,
): Elements {
  const halves = new Uint32Array(into.buffer);
  const isExact = least === 0n ? (value: number) => value >= 0 && Number.isSafeInteger(value) : Number.isSafeInteger;
  const accepts = (count: number) => {
    for (let offset = 0; offset < count; offset++) if (!isExact(piece[offset] ?? 0)) return false;
    return true;
  };
  const pieces = new Pieces(reader, 0);
  return {
    data: into,
    read(index, end) {
      const count = pieces.read(end - index, accepts);
      for (let offset = 0; offset < count; offset++) {
        const value = piece[offset] ?? 0;
        const half = 2 * (index + offset);
        halves[half] = value;
        halves[half + 1] = Math.floor(value / 0x1_0000_0000);
      }
      if (count > 0) return index + count;
      reader.spend();
      const start = reader.position;
      const isNumber = reader.peek() === 'number';
      const text = isNumber ? reader.numberText() : '';
      // Longer ones are out of range, and a bigint of a million digits takes minutes.
      const value = /^-?\d{1,20}$/.test(text) ? BigInt(text) : integerOf(Number(text === '' ? Number.NaN : text));
      if (value === undefined || value < least || value > most) {
        reader.moveTo(start);
        throw wrongElement(reader, name, index, `an integer from ${least} to ${most}`);
      }
      into[index] = value;
      return index + 1;
    },
  };
}

/** Such as 1.0 or 1e3; those that a double may have rounded are refused. */
function integerOf(value: number): bigint | undefined {
  return Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

function booleans(reader: JsonReader, name: string, data: Uint8Array): Elements {
  return {
    data,
    read(index) {
      reader.spend();
      const start = reader.position;
      const kind = reader.peek();
      const value = kind === 'boolean' ? Number(reader.boolean()) : kind === 'number' ? reader.number() : Number.NaN;
      if (value !== 0 && value !== 1) {
        reader.moveTo(start);
        throw wrongElement(reader, name, index, 'true or false');
      }
      data[index] = value;
      return index + 1;
    },
  };
}

function strings(
  reader: JsonReader,
  name: string,
  count: number,
  mostBytes: number,
  { base64 }: ElementForms,
): Elements {
  let bytes = count * stringBytes;
  const refuseMore = () => {
    if (bytes <= mostBytes) return;
    throw badRequest(`input '${name}': its strings take more than the ${mostBytes} bytes that a tensor may take`, 413);
  };
  refuseMore();
  const data = new Array<string>(count).fill('');
  return {
    data,
    read(index) {
      reader.spend();
      const kind = reader.peek();
      if (kind !== 'string' && !(base64 && kind === 'object')) throw wrongElement(reader, name, index, 'a string');
      const value = kind === 'string' ? reader.string() : readBase64(reader, name, index);
      // onnxruntime cuts a string at NUL, so it would answer for another input than was sent.
      if (value.includes('\0'))
        throw badRequest(`input '${name}': element ${index} holds a NUL character, which ONNX strings cannot`);
      bytes += value.length;
      refuseMore();
      data[index] = value;
      return index + 1;
    },
  };
}

/** {"b64": "..."} */
function readBase64(reader: JsonReader, name: string, index: number): string {
  const refuse = () => badRequest(`input '${name}': element ${index} is an object, expected {"b64": "BASE64"}`);
  reader.beginObject();
  if (reader.key(true) !== 'b64' || reader.peek() !== 'string') throw refuse();
  const text = reader.string();
  if (reader.key(false) !== undefined) throw refuse();
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) throw badRequest(`input '${name}': element ${index} is not base64`);
  return readText(name, index, Buffer.from(text, 'base64'));
}

function wrongElement(reader: JsonReader, name: string, index: number, expected: string): RequestError {
  return badRequest(`input '${name}': element ${index} is ${shorten(reader.describe())}, expected ${expected}`);
}
