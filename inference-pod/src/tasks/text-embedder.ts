import type { ModelSession } from '../model/session.ts';
import type { Signature } from '../protocol/datatypes.ts';
import { floatOutputs, inWords, UnfitModel } from './model-outputs.ts';
import type { Pooling, TextEmbeddingTask } from './task.ts';
import { type ModelRows, type RunProgress, TextModel, type TokenRow, type Tokens } from './text-model.ts';

/** Texts to vectors: what the model gives of their tokens, pooled and cut to a length of 1. */
export class TextEmbedder {
  readonly #task: TextEmbeddingTask;
  readonly #model: TextModel;

  /**
   * @param paddingId of the tokenizer
   * @throws UnfitModel when the model has other inputs or outputs than encoders of text
   */
  constructor(session: ModelSession, task: TextEmbeddingTask, paddingId: number) {
    this.#task = task;
    this.#model = new TextModel(session, task.kind, paddingId, outputOf(session.signature), (given, rows) => {
      const vectors = this.#pooled(given, rows);
      return task.isNormalized ? vectors.map(normalized) : vectors;
    });
  }

  /**
   * @param texts each at least one id
   * @returns one vector for each, in the same order
   * @throws RequestError 400 when the model refuses them, 504 when nobody waits any more
   */
  embed(texts: readonly (readonly number[])[], progress: RunProgress): Promise<readonly Float32Array[]> {
    const rows = texts.map((ids): TokenRow => ({ length: ids.length, tokens: () => ({ ids, types: undefined }) }));
    return this.#model.run(rows, progress);
  }

  #pooled({ values, shape }: ModelRows, rows: readonly Tokens[]): readonly Float32Array[] {
    const [, ...rest] = shape;
    const [width, size] = rest.length === 1 ? [1, rest[0]] : rest;
    if (width === undefined || size === undefined || rest.length > 2)
      throw new Error(`the model gave shape [${shape}] for ${rows.length} texts`);
    // It may have pooled itself.
    const pool = rest.length === 1 ? copied : pools[this.#task.pooling];
    return rows.map(({ ids }, index) =>
      pool(values.subarray(index * width * size, (index + 1) * width * size), ids.length, size),
    );
  }
}

/** The vectors of a text's tokens, one behind another, of which so many are its own and the rest is padding, to one vector of `size`. */
type Pool = (tokens: Float32Array, count: number, size: number) => Float32Array;

const copied: Pool = (tokens) => Float32Array.from(tokens);

const pools: Readonly<Record<Pooling, Pool>> = {
  Mean: meanOf,
  FirstToken: (tokens, _count, size) => Float32Array.from(tokens.subarray(0, size)),
  LastToken: (tokens, count, size) => Float32Array.from(tokens.subarray((count - 1) * size, count * size)),
};

/** Sentence vectors where the model gives them, otherwise the vectors of tokens. */
function outputOf(signature: Signature): string {
  const fit = floatOutputs(signature, 2, 3);
  const [first] = fit;
  const usual = ['sentence_embedding', 'last_hidden_state', 'token_embeddings'];
  const named = usual.map((name) => fit.find((output) => output.name === name)).find((output) => output !== undefined);
  if (first === undefined)
    throw new UnfitModel(
      `the task TextEmbedding needs a model with an output of floats [-1, -1, SIZE] or [-1, SIZE]; this one has ${inWords(signature.outputs)}`,
    );
  // Vectors of tokens before others, which may be anything.
  return (named ?? fit.find(({ shape }) => shape.length === 3) ?? first).name;
}

/** Of the tokens of the text itself: padding is not counted (N. Reimers, I. Gurevych, "Sentence-BERT", EMNLP 2019, section 3). */
function meanOf(tokens: Float32Array, count: number, size: number): Float32Array {
  const sums = new Float64Array(size);
  for (let token = 0; token < count; token++)
    for (let place = 0; place < size; place++) sums[place] = (sums[place] ?? 0) + (tokens[token * size + place] ?? 0);
  return Float32Array.from(sums, (sum) => sum / count);
}

/** Cut to a length of 1; what has none stays as it is. */
export function normalized(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}
