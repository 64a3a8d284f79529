import { Tokenizer } from '@huggingface/tokenizers';

/** What models of sentences were trained with, where nobody says. */
const usualMaxTokens = 512;

/** A file is none of a tokenizer, or one that is not known here. */
export class InvalidTokenizer extends Error {
  override readonly name = 'InvalidTokenizer';
}

/** A text is none that the tokenizer can take. */
export class UnreadableText extends Error {
  override readonly name = 'UnreadableText';
}

/** What of the library is used: its own declarations name files as no ES module does. */
interface HubTokenizer {
  encode(text: string, options?: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] };
  get_vocab(withAdded: boolean): ReadonlyMap<string, number>;
}

/** Text to token ids, as a `tokenizer.json` of the hub says, cut to what the model takes. */
export class TextTokenizer {
  readonly #tokenizer: HubTokenizer;
  readonly #vocabulary: number;
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];
  readonly #keepsEnd: boolean;
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
      const first = framed.length - bare.length;
      const at = Array.from({ length: first + 1 }, (_, index) => index).find((index) =>
        bare.every((id, place) => framed[index + place] === id),
      );
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
    let ids: readonly number[];
    try {
      ids = this.#tokenizer.encode(text).ids;
    } catch (error) {
      // A word of a hundred thousand characters is more than the stack of its recursion holds.
      throw new UnreadableText(error instanceof Error ? error.message : String(error), { cause: error });
    }
    return this.fit(ids);
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

function positive(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined;
}
