import { type Origins, originsOf, type Span } from './normalized-text.ts';

/** What of a `tokenizer.json` says how tokens are written. */
export interface TokenWriting {
  /** Whether tokens are of bytes, each written as a character (GPT-2's alphabet). */
  readonly isOfBytes: boolean;
  /** What stands before the tokens of a word but the first. */
  readonly continuing: string;
  /** What stands behind the last of a word. */
  readonly ending: string;
  /** Whether a sign of SentencePiece stands for a space. */
  readonly hasSpaces: boolean;
  readonly unknown: string | undefined;
}

/** What a tokenizer did with a part of a text, one step after the other. */
export interface Section {
  /** Of the text, in its order. */
  readonly original: string;
  readonly normalized: string;
  /** Each a part of the normalized text, in its order, and what was made of it. */
  readonly pieces: readonly Piece[];
}

export interface Piece {
  readonly text: string;
  readonly words: readonly Word[];
}

export interface Word {
  readonly text: string;
  readonly tokens: readonly string[];
}

/** A token, and where it is in the text. */
export interface PlacedToken extends Span {
  /** Whether a word begins with it. */
  readonly beginsWord: boolean;
}

/** Where a text is that a tokenizer has taken apart cannot be told. */
export class LostPlace extends Error {
  override readonly name = 'LostPlace';
}

/**
 * Finds where the tokens of a section are.
 *
 * @param start of the section in the text
 * @throws LostPlace
 */
export function placedIn(
  { original, normalized, pieces }: Section,
  start: number,
  writing: TokenWriting,
  normalize: (text: string) => string,
): readonly PlacedToken[] {
  const origins = originsOf(original, normalized, normalize);
  if (origins === undefined) throw new LostPlace('what its characters become depends on what is beside them');
  const placed: PlacedToken[] = [];
  let from = 0;
  for (const { text, words } of pieces) {
    const at = normalized.indexOf(text, from);
    if (at === -1) throw new LostPlace('it is split otherwise than it stands');
    from = at + text.length;
    const cursor = writing.isOfBytes ? new ByteCursor(text) : new CharacterCursor(text, writing);
    for (const word of words)
      for (const { units, beginsWord } of tokensOf(word, cursor, writing)) {
        const span = around(units, origins, at) ?? { start: origins.starts[at] ?? 0, end: origins.ends[at] ?? 0 };
        placed.push({ ...trimmed(original, span, start), beginsWord });
      }
  }
  return placed;
}

/** @returns undefined for what the tokenizer has put in, and which stands for what comes next */
function around(units: readonly (Span | undefined)[], { starts, ends }: Origins, offset: number): Span | undefined {
  let start = Number.POSITIVE_INFINITY;
  let end = -1;
  for (const unit of units) {
    if (unit === undefined) continue;
    for (let at = offset + unit.start; at < offset + unit.end; at++) {
      start = Math.min(start, starts[at] ?? start);
      end = Math.max(end, ends[at] ?? end);
    }
  }
  return end === -1 ? undefined : { start, end };
}

const blankBefore = /^\p{White_Space}+/u;
const blankAfter = /\p{White_Space}+$/u;

/** The space before a word is a part of its token in some, and of nothing in others. */
function trimmed(original: string, { start, end }: Span, offset: number): Span {
  const text = original.slice(start, end);
  const before = blankBefore.exec(text)?.[0].length ?? 0;
  if (before === text.length) return { start: offset + start, end: offset + end };
  const after = blankAfter.exec(text)?.[0].length ?? 0;
  return { start: offset + start + before, end: offset + end - after };
}

interface PlacedUnits {
  /** Where each character of a token is in the piece; undefined for what was put in. */
  readonly units: readonly (Span | undefined)[];
  readonly beginsWord: boolean;
}

function tokensOf({ text, tokens }: Word, cursor: Cursor, writing: TokenWriting): readonly PlacedUnits[] {
  const characters = Array.from(text);
  const places = characters.map((character) => cursor.take(character));
  const lengths = lengthsOf(tokens, characters, writing);
  let from = 0;
  return lengths.map((length) => {
    const own = places.slice(from, from + length);
    const beginsWord = from === 0 || (writing.hasSpaces && characters[from] === space);
    from += length;
    return { units: own, beginsWord };
  });
}

/** How many characters of its word each token is. */
function lengthsOf(tokens: readonly string[], characters: readonly string[], writing: TokenWriting): readonly number[] {
  const { continuing, ending, unknown } = writing;
  const known = tokens.map((token, at) => {
    if (token === unknown && token !== characters.join('')) return undefined;
    const bare = at > 0 && continuing !== '' && token.startsWith(continuing) ? token.slice(continuing.length) : token;
    return Array.from(ending !== '' && bare.endsWith(ending) ? bare.slice(0, -ending.length) : bare).length;
  });
  const left = characters.length - known.reduce<number>((sum, length) => sum + (length ?? 0), 0);
  const unknowns = known.filter((length) => length === undefined).length;
  // One is of all that no other is of; of several, each is of one character.
  const isTold = unknowns === 0 ? left === 0 : unknowns === 1 ? left >= 0 : left === unknowns;
  if (!isTold) throw new LostPlace('its tokens are not its characters');
  return known.map((length) => length ?? (unknowns === 1 ? left : 1));
}

/** What stands for a space in the tokens of SentencePiece. */
const space = '\u2581';

/** Goes through a piece as its words do. */
interface Cursor {
  /**
   * @param character of a word
   * @returns where it is in the piece, in UTF-16 units; undefined for what is not in it
   * @throws LostPlace
   */
  take(character: string): Span | undefined;
}

class CharacterCursor implements Cursor {
  readonly #text: string;
  readonly #hasSpaces: boolean;
  #at = 0;

  constructor(text: string, { hasSpaces }: TokenWriting) {
    this.#text = text;
    this.#hasSpaces = hasSpaces;
  }

  take(character: string): Span | undefined {
    if (this.#text.startsWith(character, this.#at)) return this.#advance(character.length);
    if (this.#hasSpaces && character === space) return this.#text[this.#at] === ' ' ? this.#advance(1) : undefined;
    // What is between words is in none.
    const next = this.#text.slice(this.#at);
    const blank = next.length - next.trimStart().length;
    if (blank === 0 || !next.startsWith(character, blank)) throw new LostPlace('its words are not its characters');
    this.#at += blank;
    return this.#advance(character.length);
  }

  #advance(length: number): Span {
    const start = this.#at;
    this.#at += length;
    return { start, end: this.#at };
  }
}

class ByteCursor implements Cursor {
  readonly #bytes: Buffer;
  /** Of each byte, the character that it is of. */
  readonly #places: readonly Span[];
  #at = 0;

  constructor(text: string) {
    this.#bytes = Buffer.from(text);
    const places: Span[] = [];
    let start = 0;
    for (const character of text) {
      const place = { start, end: start + character.length };
      for (let byte = 0; byte < Buffer.byteLength(character); byte++) places.push(place);
      start = place.end;
    }
    this.#places = places;
  }

  take(character: string): Span | undefined {
    const byte = byteOf.get(character);
    if (byte === this.#bytes[this.#at]) {
      this.#at += 1;
      return this.#places[this.#at - 1];
    }
    if (byte === 0x20) return undefined;
    throw new LostPlace('its words are not its bytes');
  }
}

/** The characters by which GPT-2 and those after it write bytes: printable ones as they are, the others from 256 on. */
const byteOf: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => byte).map((byte, _, bytes): [string, number] => {
    const isPrintable = (one: number) => (one >= 33 && one <= 126) || (one >= 161 && one !== 173);
    const others = bytes.filter((one) => !isPrintable(one));
    return [String.fromCharCode(isPrintable(byte) ? byte : 256 + others.indexOf(byte)), byte];
  }),
);
