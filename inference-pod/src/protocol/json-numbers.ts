import { plainNumbersModule } from './generated/plain-numbers.ts';
import type { JsonReader } from './json-reader.ts';

const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const nine = 0x39;
const closeBracket = 0x5d;

/** What one divides by for so many digits behind the point; doubles hold these powers exactly. */
const powersOfTen = Float64Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));
const exactIntegers = 2 ** 53;

/** Long numbers are given to the engine's own parser in pieces of so many bytes. */
const mostPieceBytes = 16_384;
const leastPieceBytes = 32;

/** Numbers that are read at once. */
const mostNumbers = 4096;
/** Shorter lists are not worth the way to the module and back. */
const leastNumbers = 32;
/** The module's memory: tables, then the numbers that it reads, then the bytes it reads them from. */
const numbersAt = 1024;
const bytesAt = numbersAt + 8 * mostNumbers;
const mostWindowBytes = 65_536;
const leastWindowBytes = 256;
/** Behind them stand bytes that are no digits, so that a number that is cut off is none. */
const endBytes = 16;

const module = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(plainNumbersModule, 'base64')));
const { memory, behind, read: readPlain } = exportsOf(module);
const window = new Uint8Array(memory.buffer, bytesAt, mostWindowBytes + endBytes);
new Float64Array(memory.buffer, 0, 9).set(Float64Array.from({ length: 9 }, (_, power) => 10 ** power));
new BigInt64Array(memory.buffer, 128, 9).set(BigInt64Array.from({ length: 9 }, (_, power) => 10n ** BigInt(power)));

/** Where numbers are read to. */
export const numbers = new Float64Array(memory.buffer, numbersAt, mostNumbers);

function exportsOf({ exports: { memory, behind, read } }: WebAssembly.Instance) {
  const isWhole =
    memory instanceof WebAssembly.Memory && behind instanceof WebAssembly.Global && typeof read === 'function';
  if (!isWhole) throw new Error('the module plain-numbers is not the one that is meant');
  return { memory, behind, read };
}

/**
 * Reads plain numbers of lists: digits with or without a sign and a fraction, followed at once by a comma or the end of
 * the list. Everything here is also done by `JsonReader.number`; this is the same in one loop, for lists of 100,000.
 */
export class PlainNumbers {
  readonly #reader: JsonReader;
  /** Smaller after each piece that was read in vain, so that no body makes most of them vain. */
  #pieceBytes = mostPieceBytes;
  #bound = Number.POSITIVE_INFINITY;
  /** How much the module is given, which is more after each piece of which it took most. */
  #windowBytes = leastWindowBytes;

  constructor(reader: JsonReader) {
    this.#reader = reader;
  }

  /** What no number that was last read is larger than. */
  get bound(): number {
    return this.#bound;
  }

  /**
   * Reads from where the reader stands, which is at a value, and stops behind the last plain number: the next value is
   * for the caller to read or to refuse.
   *
   * @param most how many numbers are read at most, into `numbers` from 0 on
   * @returns how many were read
   */
  read(most: number): number {
    const count = most >= leastNumbers ? this.#readByModule(Math.min(most, mostNumbers)) : 0;
    this.#bound = count > 0 ? exactIntegers : Number.POSITIVE_INFINITY;
    return count > 0 ? count : this.#readHere(Math.min(most, mostNumbers));
  }

  /** Reads numbers of few digits, eight bytes at a time. */
  #readByModule(most: number): number {
    const { bytes, position } = this.#reader;
    const given = bytes.subarray(position, position + this.#windowBytes);
    window.set(given);
    window.fill(0, given.length, given.length + endBytes);
    const count = Number(readPlain(bytesAt, numbersAt, most));
    const taken = Number(behind.value) - bytesAt;
    // So never much more is copied than is read.
    this.#windowBytes = taken > given.length / 2 ? Math.min(mostWindowBytes, 2 * this.#windowBytes) : leastWindowBytes;
    this.#reader.moveTo(position + taken);
    return count;
  }

  // biome-ignore lint/complexity/noExcessiveCognitiveComplexity: calls would cost more than the work they divide
  #readHere(most: number): number {
    const into = numbers;
    const { bytes } = this.#reader;
    let position = this.#reader.position;
    // Behind the last number that was read.
    let behind = position;
    let count = 0;
    while (count < most) {
      const start = position;
      let byte = bytes[position] ?? 0;
      const isNegative = byte === minus;
      if (isNegative) byte = bytes[++position] ?? 0;
      // The first nine digits fit into 32 bits, where arithmetic is quickest.
      const firstDigit = position;
      const tenth = position + 9;
      let small = 0;
      while (byte >= zero && byte <= nine && position < tenth) {
        small = (small * 10 + (byte - zero)) | 0;
        byte = bytes[++position] ?? 0;
      }
      let mantissa = small;
      while (byte >= zero && byte <= nine) {
        mantissa = mantissa * 10 + (byte - zero);
        byte = bytes[++position] ?? 0;
      }
      const integerDigits = position - firstDigit;
      let places = 0;
      if (byte === point) {
        const fraction = ++position;
        byte = bytes[position] ?? 0;
        while (byte >= zero && byte <= nine) {
          mantissa = mantissa * 10 + (byte - zero);
          byte = bytes[++position] ?? 0;
        }
        places = position - fraction;
        if (places === 0) break;
      }
      const isPlain =
        (byte === comma || byte === closeBracket) &&
        (integerDigits === 1 || (integerDigits > 1 && bytes[firstDigit] !== zero));
      if (!isPlain) break;
      if (mantissa < exactIntegers && places <= 22) {
        const value = places === 0 ? mantissa : mantissa / (powersOfTen[places] ?? 1);
        into[count++] = isNegative ? -value : value;
        behind = position;
      } else {
        const read = this.#readPiece(start, count, most);
        if (read === undefined) break;
        ({ count, behind } = read);
      }
      position = behind;
      if (bytes[position] === closeBracket) break;
      position++;
      if (bytes[position] === 0x20) position++;
    }
    this.#reader.moveTo(behind);
    return count;
  }

  /**
   * Reads a piece of a list by JSON.parse, whose own way with long numbers is far quicker than any here.
   *
   * @returns undefined when it holds anything else than numbers, or more than there is room for
   */
  #readPiece(start: number, from: number, to: number) {
    const values = this.#parsePiece(start, to - from);
    if (values === undefined) {
      this.#pieceBytes = leastPieceBytes;
      return undefined;
    }
    this.#pieceBytes = Math.min(mostPieceBytes, 2 * this.#pieceBytes);
    numbers.set(values.numbers, from);
    return { count: from + values.numbers.length, behind: start + values.length };
  }

  #parsePiece(start: number, most: number): { readonly numbers: number[]; readonly length: number } | undefined {
    // A long number has some twenty digits.
    const piece = this.#reader.bytes.subarray(start, start + Math.min(this.#pieceBytes, leastPieceBytes + 20 * most));
    const endOfList = piece.indexOf(closeBracket);
    const length = endOfList === -1 ? piece.lastIndexOf(comma) : endOfList;
    if (length <= 0) return undefined;
    let values: unknown;
    try {
      values = JSON.parse(`[${piece.toString('latin1', 0, length)}]`);
    } catch {
      return undefined;
    }
    return isNumbers(values) && values.length <= most ? { numbers: values, length } : undefined;
  }
}

function isNumbers(values: unknown): values is number[] {
  return Array.isArray(values) && values.every((value) => typeof value === 'number');
}
