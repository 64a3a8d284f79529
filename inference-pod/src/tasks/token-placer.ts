import { LostPlace, type Piece, type PlacedToken, placedIn, type Section, type TokenWriting } from './token-spans.ts';

type Split = (words: readonly string[]) => readonly string[];

/** What of the library is followed while it works. */
export interface FollowedTokenizer {
  normalizer: ((text: string) => string) | null;
  pre_tokenizer: ((text: string, options: unknown) => readonly string[]) | null;
  model: Split | null;
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): {
    readonly ids: readonly number[];
    readonly tokens: readonly string[];
  };
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly content: string }>;
}

interface OpenSection extends Section {
  readonly pieces: Piece[];
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
    let piece: string | undefined;
    if (normalizer !== null)
      tokenizer.normalizer = (original) => {
        const normalized = normalizer(original);
        this.#sections?.push({ original, normalized, pieces: [] });
        return normalized;
      };
    if (preTokenizer !== null)
      tokenizer.pre_tokenizer = (text, options) => {
        piece = text;
        return preTokenizer(text, options);
      };
    // Where it puts unknown tokens of several words together, words are not taken apart one by one.
    const fuses = Reflect.get(model, 'fuse_unk') === true;
    const follow = (words: readonly string[]): readonly string[] => {
      const sections = this.#sections;
      if (sections === undefined) return model(words);
      const split = words.map((text) => ({ text, tokens: model([text]) }));
      const text = (preTokenizer === null ? words[0] : piece) ?? '';
      // Without a normalizer, nobody says that a section begins.
      if (normalizer === null) sections.push({ original: text, normalized: text, pieces: [] });
      sections.at(-1)?.pieces.push({ text, words: split });
      return fuses ? model(words) : split.flatMap(({ tokens }) => tokens);
    };
    // The library reads its vocabulary from it as well.
    tokenizer.model = new Proxy(model, { apply: (_model, _self, [words]: [readonly string[]]) => follow(words) });
  }

  /**
   * The ids of a text, without special ones around them, and where their tokens are.
   *
   * @param most tokens that are placed; of more, only the ids are told
   * @throws LostPlace where that cannot be told
   */
  place(text: string, most: number): { readonly ids: readonly number[]; readonly placed: readonly PlacedToken[] } {
    const { ids, tokens, sections } = this.#follow(text);
    if (ids.length > most) return { ids, placed: [] };
    const walk = new Walk(text, tokens, this.#added);
    for (const section of sections) {
      walk.takeAdded(section.original);
      const start = walk.begin(section);
      for (const token of placedIn(section, start, this.#writing, this.#normalize)) walk.placed.push(token);
    }
    walk.takeAdded(undefined);
    if (walk.placed.length !== tokens.length) throw new LostPlace('it has tokens that are nowhere in it');
    return { ids, placed: walk.placed };
  }

  #follow(text: string) {
    const sections: OpenSection[] = [];
    this.#sections = sections;
    try {
      return { ...this.#tokenizer.encode(text, { add_special_tokens: false }), sections };
    } finally {
      this.#sections = undefined;
    }
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
  begin({ original, pieces }: OpenSection): number {
    const start = this.#text.indexOf(original, this.#at);
    const isThere = start !== -1 && this.#text.slice(this.#at, start).trim() === '';
    let from = this.placed.length;
    let isSame = isThere;
    for (const { words } of pieces)
      for (const { tokens } of words) for (const token of tokens) isSame &&= this.#tokens[from++] === token;
    if (!isSame) throw new LostPlace('its parts are not where they should be');
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
  const ending = memberOf(model, 'end_of_word_suffix');
  const before = memberOf(definition, 'pre_tokenizer');
  const isWordPiece = memberOf(model, 'type') === 'WordPiece';
  return {
    isOfBytes: JSON.stringify(before ?? null).includes('"ByteLevel"'),
    continuing: typeof continuing === 'string' ? continuing : isWordPiece ? '##' : '',
    ending: typeof ending === 'string' ? ending : '',
    hasSpaces: /"Metaspace"|\u2581/.test(JSON.stringify([before, memberOf(definition, 'normalizer')])),
    unknown: typeof unknown === 'string' ? unknown : undefined,
  };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
