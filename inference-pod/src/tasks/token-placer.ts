import { LostPlace, type PlacedToken, placedIn, type Section, type TokenWriting } from './token-spans.ts';

type Split = (words: readonly string[]) => readonly string[];

/** What of the library is followed while it works. */
export interface FollowedTokenizer {
  normalizer: ((text: string) => string) | null;
  pre_tokenizer: ((text: string, options: unknown) => readonly string[]) | null;
  model: Split | null;
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly tokens: readonly string[] };
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly content: string }>;
}

interface OpenSection extends Section {
  readonly pieces: { readonly text: string; readonly words: readonly string[] }[];
  readonly tokens: string[];
}

/**
 * Tells where the tokens of a text are, which the library does not: its steps are followed, and each is traced back to the text. What cannot
 * be traced back is refused; nothing is guessed.
 */
export class TokenPlacer {
  readonly #tokenizer: FollowedTokenizer;
  readonly #writing: TokenWriting;
  readonly #added: ReadonlySet<string>;
  readonly #normalize: (text: string) => string;
  readonly #split: (word: string) => readonly string[];
  /** While a text is taken apart. */
  #sections: OpenSection[] | undefined;

  /** @param definition what the `tokenizer.json` says */
  constructor(tokenizer: FollowedTokenizer, definition: unknown) {
    this.#tokenizer = tokenizer;
    this.#writing = writingOf(definition);
    this.#added = new Set(Array.from(tokenizer.get_added_tokens_decoder().values(), ({ content }) => content));
    const { normalizer, pre_tokenizer: preTokenizer, model } = tokenizer;
    if (model === null) throw new LostPlace('the tokenizer has no model');
    this.#normalize = normalizer ?? ((text) => text);
    this.#split = (word) => model([word]);
    let piece: string | undefined;
    if (normalizer !== null)
      tokenizer.normalizer = (original) => {
        const normalized = normalizer(original);
        this.#sections?.push({ original, normalized, pieces: [], tokens: [] });
        return normalized;
      };
    if (preTokenizer !== null)
      tokenizer.pre_tokenizer = (text, options) => {
        piece = text;
        return preTokenizer(text, options);
      };
    const follow = (words: readonly string[]): readonly string[] => {
      const tokens = model(words);
      const text = (preTokenizer === null ? words[0] : piece) ?? '';
      // Without a normalizer, nobody says that a section begins.
      if (normalizer === null) this.#sections?.push({ original: text, normalized: text, pieces: [], tokens: [] });
      const section = this.#sections?.at(-1);
      section?.pieces.push({ text, words });
      section?.tokens.push(...tokens);
      return tokens;
    };
    // The library reads its vocabulary from it as well.
    tokenizer.model = new Proxy(model, { apply: (_model, _self, [words]: [readonly string[]]) => follow(words) });
  }

  /**
   * Where the tokens of a text are, in their order, without special ones around it.
   *
   * @throws LostPlace where that cannot be told
   */
  place(text: string): readonly PlacedToken[] {
    this.#sections = [];
    const { tokens } = this.#tokenizer.encode(text, { add_special_tokens: false });
    const sections = this.#sections;
    this.#sections = undefined;
    const walk = new Walk(text, tokens, this.#added);
    for (const section of sections) {
      walk.takeAdded(section.original);
      const start = walk.begin(section);
      walk.placed.push(...placedIn(section, start, this.#writing, this.#normalize, this.#split));
    }
    walk.takeAdded(undefined);
    if (walk.placed.length !== tokens.length) throw new LostPlace('it has tokens that are nowhere in it');
    return walk.placed;
  }
}

/** Goes through a text and its tokens side by side. */
class Walk {
  readonly placed: PlacedToken[] = [];
  readonly #text: string;
  readonly #tokens: readonly string[];
  readonly #added: ReadonlySet<string>;
  #at = 0;

  constructor(text: string, tokens: readonly string[], added: ReadonlySet<string>) {
    this.#text = text;
    this.#tokens = tokens;
    this.#added = added;
  }

  /** Takes tokens that stand in the text as they are, up to where a section begins. */
  takeAdded(next: string | undefined): void {
    for (;;) {
      const token = this.#tokens[this.placed.length];
      if (token === undefined || !this.#added.has(token)) return;
      const isNext = next !== undefined && this.#text.startsWith(next, this.#at);
      const blank = this.#text.startsWith(token, this.#at) || isNext ? 0 : this.#blanks();
      const start = this.#at + blank;
      if (!this.#text.startsWith(token, start)) return;
      this.#at = start + token.length;
      this.placed.push({ start, end: this.#at, beginsWord: true });
    }
  }

  /** @returns where a section begins */
  begin({ original, tokens }: OpenSection): number {
    const start = this.#text.indexOf(original, this.#at);
    const isThere = start !== -1 && this.#text.slice(this.#at, start).trim() === '';
    const from = this.placed.length;
    if (!isThere || tokens.some((token, index) => this.#tokens[from + index] !== token))
      throw new LostPlace('its parts are not where they should be');
    this.#at = start + original.length;
    return start;
  }

  #blanks(): number {
    const rest = this.#text.slice(this.#at);
    return rest.length - rest.trimStart().length;
  }
}

function writingOf(definition: unknown): TokenWriting {
  const model = memberOf(definition, 'model');
  const continuing = memberOf(model, 'continuing_subword_prefix');
  const unknown = memberOf(model, 'unk_token');
  const isWordPiece = memberOf(model, 'type') === 'WordPiece';
  return {
    isOfBytes: JSON.stringify(memberOf(definition, 'pre_tokenizer') ?? null).includes('"ByteLevel"'),
    continuing: typeof continuing === 'string' ? continuing : isWordPiece ? '##' : '',
    unknown: typeof unknown === 'string' ? unknown : undefined,
  };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
