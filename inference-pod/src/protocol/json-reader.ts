import type { Patience } from './patience.ts';
import { badRequest, type RequestError } from './request-error.ts';

/** What kind of value stands at the reader's position. */
export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

/** A place in the bytes. */
export interface JsonMark {
  readonly position: number;
  readonly depth: number;
}

/** How deep lists and objects may be nested. */
const mostDepth = 64;

const quote = 0x22;
const plus = 0x2b;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const colon = 0x3a;
const capitalI = 0x49;
const capitalN = 0x4e;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const letterF = 0x66;
const letterN = 0x6e;
const letterT = 0x74;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** A key takes so much of the time in which an element is read that has no quick way. */
const elementsPerKey = 1 / 8;

/**
 * Reads JSON (RFC 8259) from its bytes, value by value, in the order in which they stand: nothing is built that the
 * caller does not ask for, so that a body takes no more memory than its bytes and what it means. Stricter than
 * JSON.parse in two ways (depth, lone surrogates), and looser in one: NaN, Infinity and -Infinity are read as numbers,
 * as Python's json module writes them.
 *
 * Every method throws a RequestError 400 that says what was found at which byte.
 */
export class JsonReader {
  readonly bytes: Buffer;
  readonly #patience: Patience | undefined;
  #position = 0;
  #depth = 0;

  /**
   * @param bytes UTF-8 text, which the caller has checked
   * @param patience for values that are read or passed over one by one; undefined is without end
   */
  constructor(bytes: Buffer, patience?: Patience) {
    this.bytes = bytes;
    this.#patience = patience;
  }

  /** A value is read that has no quick way. @throws OutOfPatience */
  spend(): void {
    this.#patience?.spend();
  }

  /** Where the reader stands, in bytes. */
  get position(): number {
    return this.#position;
  }

  /** Goes on within the same list. */
  moveTo(position: number): void {
    this.#position = position;
  }

  /** A place to come back to. */
  mark(): JsonMark {
    return { position: this.#position, depth: this.#depth };
  }

  returnTo({ position, depth }: JsonMark): void {
    this.#position = position;
    this.#depth = depth;
  }

  /** The kind of the next value. */
  peek(): JsonKind {
    const byte = this.#next();
    switch (byte) {
      case openBrace:
        return 'object';
      case openBracket:
        return 'array';
      case quote:
        return 'string';
      case letterT:
      case letterF:
        return 'boolean';
      case letterN:
        return 'null';
      case minus:
      case capitalN:
      case capitalI:
        return 'number';
      default:
        if (isDigit(byte)) return 'number';
        throw this.unexpected();
    }
  }

  /** Whether the next sign is this one; it is passed over if so. */
  #skipIf(sign: number): boolean {
    if (this.#next() !== sign) return false;
    this.#position++;
    return true;
  }

  #expect(sign: number): void {
    if (!this.#skipIf(sign)) throw this.unexpected();
  }

  /** Begins an object; then `key` until it returns undefined, and one value after each key. */
  beginObject(): void {
    this.#expect(openBrace);
    this.#descend();
  }

  /**
   * The next key of an object.
   *
   * @param isFirst whether no key of it was read before
   * @returns undefined at its end
   */
  key(isFirst: boolean): string | undefined {
    if (this.#skipIf(closeBrace)) {
      this.#depth--;
      return undefined;
    }
    if (!isFirst) this.#expect(comma);
    this.#patience?.spend(elementsPerKey);
    if (this.#next() !== quote) throw this.unexpected();
    const key = this.string();
    this.#expect(colon);
    return key;
  }

  /** Begins a list; then `element` until it returns false, and one value after each true. */
  beginArray(): void {
    this.#expect(openBracket);
    this.#descend();
  }

  /** @param isFirst whether no element of it was read before */
  element(isFirst: boolean): boolean {
    if (this.#skipIf(closeBracket)) {
      this.#depth--;
      return false;
    }
    if (!isFirst) {
      this.#expect(comma);
      if (this.#next() === closeBracket) throw this.unexpected();
    }
    return true;
  }

  #descend(): void {
    if (++this.#depth > mostDepth) throw badRequest(`the body is nested deeper than ${mostDepth} levels`);
  }

  /** Nothing but white space may be left. */
  end(): void {
    this.#passWhiteSpace();
    if (this.#position < this.bytes.length) throw this.unexpected();
  }

  boolean(): boolean {
    if (this.#next() === letterT) {
      this.#word('true');
      return true;
    }
    this.#word('false');
    return false;
  }

  null(): void {
    this.#next();
    this.#word('null');
  }

  #word(word: string): void {
    const start = this.#position;
    for (let index = 0; index < word.length; index++) {
      if (this.bytes[start + index] !== word.charCodeAt(index)) throw this.unexpected();
    }
    this.#position = start + word.length;
  }

  /** @returns the string's text, without a lone surrogate, which no UTF-8 has */
  string(): string {
    if (this.#next() !== quote) throw this.unexpected();
    const start = this.#position + 1;
    const isPlain = this.#passString();
    const end = this.#position - 1;
    if (isPlain) return this.bytes.toString('utf8', start, end);
    const text: string = JSON.parse(this.bytes.toString('utf8', start - 1, end + 1));
    if (!text.isWellFormed()) throw badRequest(`the string at byte ${start - 1} of the body has a lone surrogate`);
    return text;
  }

  /** @returns whether the string has no escapes: it means the bytes between its quotes */
  #passString(): boolean {
    const bytes = this.bytes;
    let isPlain = true;
    let position = this.#position + 1;
    for (;;) {
      const byte = bytes[position];
      if (byte === quote) break;
      if (byte === backslash) {
        isPlain = false;
        position = this.#passEscape(position + 1);
      } else if (byte === undefined || byte < 0x20) {
        this.#position = position;
        throw this.unexpected();
      } else position++;
    }
    this.#position = position + 1;
    return isPlain;
  }

  #passEscape(position: number): number {
    const byte = this.bytes[position];
    if (byte === 0x75) {
      for (let digit = 1; digit <= 4; digit++) {
        if (!isHexadecimal(this.bytes[position + digit] ?? 0)) {
          this.#position = position + digit;
          throw this.unexpected();
        }
      }
      return position + 5;
    }
    // " \ / b f n r t
    if (byte !== undefined && '"\\/bfnrt'.includes(String.fromCharCode(byte))) return position + 1;
    this.#position = position;
    throw this.unexpected();
  }

  /** The next number, as JSON.parse would give it: correctly rounded. */
  number(): number {
    if (this.isWordNumber()) return this.#wordNumber();
    return Number(this.numberText());
  }

  #wordNumber(): number {
    if (this.#skipIf(minus)) {
      this.#word('Infinity');
      return Number.NEGATIVE_INFINITY;
    }
    const isInfinity = this.#next() === capitalI;
    this.#word(isInfinity ? 'Infinity' : 'NaN');
    return isInfinity ? Number.POSITIVE_INFINITY : Number.NaN;
  }

  /** The text of the next number, as it stands. */
  numberText(): string {
    this.#passWhiteSpace();
    const start = this.#position;
    if (this.isWordNumber()) this.#wordNumber();
    else this.#passNumber();
    return this.bytes.toString('latin1', start, this.#position);
  }

  #passNumber(): void {
    const bytes = this.bytes;
    if (bytes[this.#position] === minus) this.#position++;
    if (bytes[this.#position] === zero) this.#position++;
    else this.#passDigits();
    if (bytes[this.#position] === point) {
      this.#position++;
      this.#passDigits();
    }
    const byte = bytes[this.#position];
    if (byte !== 0x65 && byte !== 0x45) return;
    const sign = bytes[++this.#position];
    if (sign === minus || sign === plus) this.#position++;
    this.#passDigits();
  }

  /** At least one. */
  #passDigits(): void {
    const start = this.#position;
    while (isDigit(this.bytes[this.#position] ?? 0)) this.#position++;
    if (this.#position === start) throw this.unexpected();
  }

  /** Passes over one value, whatever it is, without building anything. */
  skip(): void {
    this.spend();
    const kind = this.peek();
    switch (kind) {
      case 'object': {
        this.beginObject();
        for (let isFirst = true; this.#skippedKey(isFirst); isFirst = false) this.skip();
        return;
      }
      case 'array': {
        this.beginArray();
        for (let isFirst = true; this.element(isFirst); isFirst = false) this.skip();
        return;
      }
      case 'string':
        this.#passString();
        return;
      case 'number':
        this.numberText();
        return;
      case 'boolean':
        this.boolean();
        return;
      case 'null':
        this.null();
    }
  }

  #skippedKey(isFirst: boolean): boolean {
    if (this.#skipIf(closeBrace)) {
      this.#depth--;
      return false;
    }
    if (!isFirst) this.#expect(comma);
    if (this.#next() !== quote) throw this.unexpected();
    this.#passString();
    this.#expect(colon);
    return true;
  }

  /** The next value as an error message shows it, short whatever was sent; it is passed over. */
  describe(): string {
    switch (this.peek()) {
      case 'object':
        this.skip();
        return 'an object';
      case 'array':
        return `a list of ${this.length()}`;
      case 'string':
        return shorten(JSON.stringify(this.string()));
      case 'number':
        return shorten(this.numberText());
      case 'boolean':
        return String(this.boolean());
      case 'null':
        this.null();
        return 'null';
    }
  }

  /** How many elements the next value has, which is a list, with those of the lists in it; it is passed over. */
  count(): number {
    let count = 0;
    this.beginArray();
    for (let isFirst = true; this.element(isFirst); isFirst = false) {
      if (this.peek() === 'array') count += this.count();
      else {
        this.skip();
        count++;
      }
    }
    return count;
  }

  /** How many elements the next value has, which is a list; it is passed over. */
  length(): number {
    let length = 0;
    this.beginArray();
    for (; this.element(length === 0); length++) this.skip();
    return length;
  }

  /** Whether the next value is a list that begins with a list. */
  isListOfLists(): boolean {
    const start = this.#position;
    const isList = this.#skipIf(openBracket) && this.#next() === openBracket;
    this.#position = start;
    return isList;
  }

  /** Whether the next value, which is a number, is one of the words that JSON does not have. */
  isWordNumber(): boolean {
    const byte = this.#next();
    return (byte === minus ? this.bytes[this.#position + 1] : byte) === capitalI || byte === capitalN;
  }

  /** Says what stands at the position, and that it should not. */
  unexpected(): RequestError {
    const position = this.#position;
    if (position >= this.bytes.length) return badRequest(`the body is not JSON: it ends at byte ${position}`);
    const found =
      this.bytes
        .subarray(position, position + 12)
        .toString()
        .split('�')[0] ?? '';
    return badRequest(`the body is not JSON: unexpected ${JSON.stringify(found.slice(0, 8))} at byte ${position}`);
  }

  /** The next byte that is no white space; 0 at the end. */
  #next(): number {
    const byte = this.bytes[this.#position] ?? 0;
    if (byte > 0x20) return byte;
    this.#passWhiteSpace();
    return this.bytes[this.#position] ?? 0;
  }

  #passWhiteSpace(): void {
    const bytes = this.bytes;
    let position = this.#position;
    let byte = bytes[position];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++position];
    this.#position = position;
  }
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= 0x39;
}

function isHexadecimal(byte: number): boolean {
  return isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

export function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
