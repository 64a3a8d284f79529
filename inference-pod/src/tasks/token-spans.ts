import { originsOf, type Span } from './normalized-text.ts';

/** What of a `tokenizer.json` says how tokens are written. */
export interface TokenWriting {
  /** Whether tokens are of bytes, each written as a character (GPT-2's alphabet). */
  readonly isOfBytes: boolean;
  /** What stands before the tokens of a word but the first. */
  readonly continuing: string;
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
  readonly words: readonly string[];
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
 * @param split what a word's tokens are
 * @throws LostPlace
 */
export function placedIn(
  { original, normalized, pieces }: Section,
  start: number,
  writing: TokenWriting,
  normalize: (text: string) => string,
  split: (word: string) => readonly string[],
): readonly PlacedToken[] {
  const origins = originsOf(original, normalized, normalize);
  if (origins === undefined) throw new LostPlace('what its characters become depends on what is beside them');
  let from = 0;
  return pieces.flatMap(({ text, words }) => {
    const at = normalized.indexOf(text, from);
    if (at === -1) throw new LostPlace('it is split otherwise than it stands');
    from = at + text.length;
    const cursor = writing.isOfBytes ? new ByteCursor(text) : new CharacterCursor(text);
    const tokens = words.flatMap((word) => tokensOf(word, split(word), cursor, writing));
    return tokens.map(({ units, beginsWord }) => {
      const own = units.flatMap((unit) => (unit === undefined ? [] : origins.slice(at + unit.start, at + unit.end)));
      const span = own.reduce<Span | undefined>(around, undefined);
      return { ...(span === undefined ? putIn(start, origins[at]) : trimmed(original, span, start)), beginsWord };
    });
  });
}

/** What the tokenizer has put in stands for what comes next. */
function putIn(start: number, next: Span | undefined): Span {
  return { start: start + (next?.start ?? 0), end: start + (next?.end ?? 0) };
}

const around = (span: Span | undefined, { start, end }: Span): Span =>
  span === undefined ? { start, end } : { start: Math.min(span.start, start), end: Math.max(span.end, end) };

/** The space before a word is a part of its token in some, and of nothing in others. */
function trimmed(original: string, { start, end }: Span, offset: number): Span {
  const [, before = '', text = '', after = ''] =
    /^(\p{White_Space}*)(.*?)(\p{White_Space}*)$/su.exec(original.slice(start, end)) ?? [];
  return text === ''
    ? { start: offset + start, end: offset + end }
    : { start: offset + start + before.length, end: offset + end - after.length };
}

interface PlacedUnits {
  /** Where each character of a token is in the piece; undefined for what was put in. */
  readonly units: readonly (Span | undefined)[];
  readonly beginsWord: boolean;
}

function tokensOf(
  word: string,
  tokens: readonly string[],
  cursor: Cursor,
  { continuing, unknown, isOfBytes }: TokenWriting,
): readonly PlacedUnits[] {
  const units = Array.from(word, (character) => ({ character, place: cursor.take(character) }));
  const written = tokens.map((token, at) =>
    at > 0 && continuing !== '' && token.startsWith(continuing) ? token.slice(continuing.length) : token,
  );
  const lengths = written.map((token, at) =>
    tokens[at] === unknown && token !== word ? undefined : Array.from(token).length,
  );
  const known = lengths.reduce<number>((sum, length) => sum + (length ?? 0), 0);
  const unknowns = lengths.filter((length) => length === undefined).length;
  const left = units.length - known;
  if (unknowns > 1 || left < 0 || (unknowns === 0 && left !== 0))
    throw new LostPlace('its tokens are not its characters');
  let from = 0;
  return lengths.map((length) => {
    const to = from + (length ?? left);
    const own = units.slice(from, to);
    const beginsWord = from === 0 || (!isOfBytes && own[0]?.character === space);
    from = to;
    return { units: own.map(({ place }) => place), beginsWord };
  });
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
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  take(character: string): Span | undefined {
    const next = this.#text.slice(this.#at);
    if (character === space && !next.startsWith(space)) {
      if (!next.startsWith(' ')) return undefined;
      return this.#advance(1);
    }
    // What is between words is in none.
    const blank = next.length - next.trimStart().length;
    if (!next.startsWith(character)) {
      if (blank === 0 || !next.startsWith(character, blank)) throw new LostPlace('its words are not its characters');
      this.#at += blank;
    }
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
