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

/**
 * Reads plain numbers of lists: digits with or without a sign and a fraction, followed at once by a comma or the end of
 * the list. Everything here is also done by `JsonReader.number`; this is the same in one loop, for lists of 100,000.
 */
export class PlainNumbers {
  readonly #reader: JsonReader;
  /** Smaller after each piece that was read in vain, so that no body makes most of them vain. */
  #pieceBytes = mostPieceBytes;

  constructor(reader: JsonReader) {
    this.#reader = reader;
  }

  /**
   * Reads from where the reader stands, which is at a value, and stops behind the last plain number: the next value is
   * for the caller to read or to refuse.
   *
   * @param most how many numbers are read at most, into `into` from 0 on
   * @returns how many were read
   */
  // biome-ignore lint/complexity/noExcessiveCognitiveComplexity: calls would cost more than the work they divide
  read(into: Float64Array, most: number): number {
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
        const read = this.#readPiece(start, into, count, most);
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
  #readPiece(start: number, into: Float64Array, from: number, to: number) {
    const values = this.#parsePiece(start, to - from);
    if (values === undefined) {
      this.#pieceBytes = leastPieceBytes;
      return undefined;
    }
    this.#pieceBytes = Math.min(mostPieceBytes, 2 * this.#pieceBytes);
    into.set(values.numbers, from);
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
