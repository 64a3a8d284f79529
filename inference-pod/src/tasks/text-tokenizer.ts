import { Tokenizer } from '@huggingface/tokenizers';
import { UnusableModel } from './model-outputs.ts';
import type { TokenRow, Tokens } from './text-model.ts';
import { type FollowedTokenizer, TokenPlacer } from './token-placer.ts';
import type { PlacedToken } from './token-spans.ts';

/** What models of sentences were trained with, where nobody says. */
const usualMaxTokens = 512;

/** A file is none of a tokenizer, or one that is not known here. */
export class InvalidTokenizer extends UnusableModel {
  override readonly name = 'InvalidTokenizer';
}

/** A text is none that the tokenizer can take. */
export class UnreadableText extends Error {
  override readonly name = 'UnreadableText';
}

/** What of the library is used: its own declarations name files as no ES module does. */
interface HubTokenizer extends FollowedTokenizer {
  encode(
    text: string,
    options?: {
      readonly add_special_tokens?: boolean;
      readonly text_pair?: string;
      readonly return_token_type_ids?: boolean;
    },
  ): {
    readonly ids: readonly number[];
    readonly tokens: readonly string[];
    readonly token_type_ids?: readonly number[];
  };
  get_vocab(withAdded: boolean): ReadonlyMap<string, number>;
}

type TypedTokens = Tokens & { readonly types: readonly number[] };

/** What stands around and between two texts, and the types of all. */
interface PairFrame {
  readonly prefix: TypedTokens;
  readonly middle: TypedTokens;
  readonly suffix: TypedTokens;
  /** Of the tokens of either text. */
  readonly types: readonly [number, number];
}

/** A text as a row of tokens. */
export interface PlacedTokens {
  readonly ids: readonly number[];
  /** Where the first is that is no special one. */
  readonly from: number;
  readonly tokens: readonly PlacedToken[];
}

/** Which of two texts is cut when they are too long together. */
export type PairCut = 'longest' | 'first';

/** Text to token ids, as a `tokenizer.json` of the hub says, cut to what the model takes. */
export class TextTokenizer {
  readonly #tokenizer: HubTokenizer;
  readonly #definition: unknown;
  #placer: TokenPlacer | undefined;
  readonly #vocabulary: number;
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];
  readonly #keepsEnd: boolean;
  #pairFrame: PairFrame | undefined;
  readonly maxTokens: number;
  /** What fills rows up to the longest of a run. */
  readonly paddingId: number;

  /**
   * @param text of the file
   * @param maxTokens undefined: as the file says, or 512
   * @throws InvalidTokenizer
   */
  constructor(text: string, maxTokens: number | undefined) {
    try {
      const definition = JSON.parse(text);
      this.#definition = definition;
      const { truncation, padding } = definition;
      // The library takes such tokens for words and for parts of words.
      const [single] = (definition.added_tokens ?? []).filter(
        (token: { single_word?: unknown }) => token.single_word === true,
      );
      if (single !== undefined) throw new Error('it has added tokens with single_word, which are not known here');
      this.#tokenizer = new Tokenizer(definition, {});
      const largest = Array.from(this.#tokenizer.get_vocab(true).values()).reduce((most, id) => Math.max(most, id), -1);
      this.#vocabulary = largest + 1;
      const framed = this.#tokenizer.encode(probe).ids;
      const bare = this.#tokenizer.encode(probe, { add_special_tokens: false }).ids;
      if (bare.length === 0) throw new Error(`it knows no token for '${probe}'`);
      const at = placeOf(bare, framed, 0);
      if (at === undefined) throw new Error('it changes what stands between its special tokens');
      this.#prefix = framed.slice(0, at);
      this.#suffix = framed.slice(at + bare.length);
      this.#keepsEnd = truncation?.direction === 'Left';
      this.maxTokens = maxTokens ?? positive(truncation?.max_length) ?? usualMaxTokens;
      this.paddingId = positive(padding?.pad_id) ?? 0;
    } catch (error) {
      throw new InvalidTokenizer(`the tokenizer cannot be used: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
    if (this.maxTokens <= this.#prefix.length + this.#suffix.length)
      throw new InvalidTokenizer(`${this.maxTokens} tokens leave no room beside the special ones`);
  }

  /**
   * The ids of a text, with the special ones.
   *
   * @throws UnreadableText
   */
  encode(text: string): readonly number[] {
    return this.fit(this.#ids(text, true));
  }

  /**
   * The ids of a text without the special ones, as `pair` takes them.
   *
   * @throws UnreadableText
   */
  encodeBare(text: string): readonly number[] {
    return this.#ids(text, false);
  }

  /**
   * Two texts as one row of tokens. They are cut as Python's `tokenizers` does: with `longest`, as much of the shorter one is kept as can
   * be, and both are cut to halves where neither fits.
   *
   * @param first, second without special tokens
   * @throws UnreadableText when with `first` the second leaves no room for it
   */
  pair(first: readonly number[], second: readonly number[], cut: PairCut): TokenRow {
    const { prefix, middle, suffix, types } = this.pairFrame();
    const room = this.maxTokens - prefix.ids.length - middle.ids.length - suffix.ids.length;
    const [ofFirst, ofSecond] =
      cut === 'longest'
        ? longestFirst(first.length, second.length, room)
        : onlyFirst(first.length, second.length, room);
    const tokens = (): Tokens => {
      const parts = [
        prefix,
        ofType(types[0], this.#cut(first, ofFirst)),
        middle,
        ofType(types[1], this.#cut(second, ofSecond)),
        suffix,
      ];
      return { ids: parts.flatMap(({ ids }) => ids), types: parts.flatMap((part) => part.types) };
    };
    return { length: this.maxTokens - room + ofFirst + ofSecond, tokens };
  }

  /**
   * What stands around two texts.
   *
   * @throws InvalidTokenizer when it does not tell how two are put together
   */
  pairFrame(): PairFrame {
    this.#pairFrame ??= this.#probePair();
    return this.#pairFrame;
  }

  /**
   * Makes it tell where tokens are, which costs time with each text.
   *
   * @throws InvalidTokenizer when it cannot
   */
  followPlaces(): void {
    this.#placer ??= new TokenPlacer(this.#tokenizer, this.#definition);
    try {
      this.placed(`${probe} ${probe}`);
    } catch (error) {
      if (!(error instanceof UnreadableText)) throw error;
      throw new InvalidTokenizer(
        `the tokenizer cannot be used: where its tokens are cannot be told (${error.message})`,
        {
          cause: error,
        },
      );
    }
  }

  /**
   * The ids of a text, with the special ones, and where its own tokens are, the first of which is at a place of the ids.
   *
   * @throws UnreadableText, also for a text that would have to be cut
   */
  placed(text: string): PlacedTokens {
    const [prefix, suffix] = [this.#prefix, this.#suffix];
    const room = this.maxTokens - prefix.length - suffix.length;
    const { ids, placed } = this.#readable(() => this.#placer?.place(text, room) ?? { ids: [], placed: [] });
    if (ids.length > room) {
      const length = ids.length + prefix.length + suffix.length;
      throw new UnreadableText(`it has ${length} tokens, and the model takes ${this.maxTokens} at once: split it`);
    }
    return { ids: [...prefix, ...this.#known(ids), ...suffix], from: prefix.length, tokens: placed };
  }

  #probePair(): PairFrame {
    const bare = this.#ids(probe, false);
    const both = this.#tokenizer.encode(probe, { text_pair: probe, return_token_type_ids: true });
    const { ids, token_type_ids: types = ids.map(() => 0) } = both;
    const at = placeOf(bare, ids, 0);
    const second = at === undefined ? undefined : placeOf(bare, ids, at + bare.length);
    if (at === undefined || second === undefined)
      throw new InvalidTokenizer('the tokenizer cannot be used: it does not say how two texts are put together');
    const part = (from: number, to: number): TypedTokens => ({
      ids: ids.slice(from, to),
      types: types.slice(from, to),
    });
    const end = second + bare.length;
    const frame: PairFrame = {
      prefix: part(0, at),
      middle: part(at + bare.length, second),
      suffix: part(end, ids.length),
      types: [types[at] ?? 0, types[second] ?? 0],
    };
    if (this.maxTokens < ids.length - 2 * bare.length + 2)
      throw new InvalidTokenizer(`${this.maxTokens} tokens leave no room for two texts beside the special ones`);
    return frame;
  }

  #ids(text: string, isFramed: boolean): readonly number[] {
    return this.#known(this.#readable(() => this.#tokenizer.encode(text, { add_special_tokens: isFramed }).ids));
  }

  #readable<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      // A word of a hundred thousand characters is more than the stack of its recursion holds.
      throw new UnreadableText(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  /** The library gives nothing for a word that is in no vocabulary and that no unknown token stands for. */
  #known(ids: readonly number[]): readonly number[] {
    if (ids.every(Number.isInteger)) return ids;
    throw new UnreadableText('it has a word that the tokenizer has no token for');
  }

  /** Ids that are no more than the model takes. */
  fit(ids: readonly number[]): readonly number[] {
    if (ids.length <= this.maxTokens) return ids;
    const [prefix, suffix] = [this.#prefix, this.#suffix];
    const end = ids.length - suffix.length;
    const isFramed = prefix.every((id, at) => ids[at] === id) && suffix.every((id, at) => ids[end + at] === id);
    if (!isFramed) return this.#cut(ids, this.maxTokens);
    const room = this.maxTokens - prefix.length - suffix.length;
    return [...prefix, ...this.#cut(ids.slice(prefix.length, end), room), ...suffix];
  }

  /** Whether an id is one of the vocabulary. */
  knows(id: number): boolean {
    return id < this.#vocabulary;
  }

  #cut(ids: readonly number[], room: number): readonly number[] {
    return this.#keepsEnd ? ids.slice(ids.length - room) : ids.slice(0, room);
  }
}

/** Every vocabulary has something for it. */
const probe = 'a';

/** Where some ids stand among others, from a place on; undefined where they do not. */
function placeOf(some: readonly number[], all: readonly number[], from: number): number | undefined {
  const last = all.length - some.length;
  for (let at = from; at <= last; at++) if (some.every((id, place) => all[at + place] === id)) return at;
  return undefined;
}

function ofType(type: number, ids: readonly number[]): TypedTokens {
  return { ids, types: ids.map(() => type) };
}

/** The lengths that two texts are cut to, as the strategy LongestFirst of Python's `tokenizers` does. */
function longestFirst(first: number, second: number, room: number): readonly [number, number] {
  const [shorter, longer] = first <= second ? [first, second] : [second, first];
  if (shorter + longer <= room) return [first, second];
  const left = Math.max(shorter, room - shorter);
  const [kept, cut] =
    shorter > room || shorter + left > room ? [Math.floor(room / 2), Math.ceil(room / 2)] : [shorter, left];
  return first <= second ? [kept, cut] : [cut, kept];
}

function onlyFirst(first: number, second: number, room: number): readonly [number, number] {
  if (second >= room)
    throw new UnreadableText(`it has ${second} tokens, which leave no room for another text: at most ${room - 1} do`);
  return [Math.min(first, room - second), second];
}

function positive(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined;
}
