import type { ModelSession } from '../model/session.ts';
import type { Signature, Tensor, TensorData } from '../protocol/datatypes.ts';
import type { Pooling, TextEmbeddingTask } from './task.ts';

/** A model is none that the task can be done with. */
export class UnfitModel extends Error {
  override readonly name = 'UnfitModel';
}

/** Tokens of one run at most, padding included: what a run holds in memory is bounded, however many texts a request has. */
const mostTokensOfRun = 16_384;
const mostRowsOfRun = 64;

/** Texts, as ids of tokens, to vectors: the runs of a model, the pooling of what it gives, and its length. */
export class TextEmbedder {
  readonly #session: ModelSession;
  readonly #task: TextEmbeddingTask;
  readonly #paddingId: number;
  readonly #output: string;
  readonly #takesMask: boolean;
  readonly #inputs: Signature['inputs'];

  /**
   * @param paddingId of the tokenizer
   * @throws UnfitModel when the model has other inputs or outputs than encoders of text
   */
  constructor(session: ModelSession, task: TextEmbeddingTask, paddingId: number) {
    this.#session = session;
    this.#task = task;
    this.#paddingId = paddingId;
    const { inputs } = session.signature;
    const known = ['input_ids', 'attention_mask', 'token_type_ids'];
    const others = inputs.filter(({ name, datatype, shape, isRankUnknown }) => {
      const isMatrix = isRankUnknown === true || (shape.length === 2 && shape.every((dimension) => dimension === -1));
      return !known.includes(name) || !['INT64', 'INT32'].includes(datatype) || !isMatrix;
    });
    if (others.length > 0 || !inputs.some(({ name }) => name === 'input_ids'))
      throw new UnfitModel(
        `the task TextEmbedding needs a model with the inputs input_ids and, where it takes them, attention_mask and token_type_ids, of INT64 [-1, -1]; this one has ${inWords(inputs)}`,
      );
    this.#inputs = inputs;
    this.#takesMask = inputs.some(({ name }) => name === 'attention_mask');
    this.#output = outputOf(session.signature);
  }

  /**
   * @param texts each at least one id
   * @param beforeRun called before each run of the model; what it throws ends all
   * @returns one vector for each, in the same order
   * @throws RequestError 400 when the model refuses them
   */
  async embed(texts: readonly (readonly number[])[], beforeRun: () => void): Promise<readonly Float32Array[]> {
    const vectors: Float32Array[] = new Array(texts.length);
    // Texts of one length need no padding.
    const order = texts.map((_, index) => index).sort((a, b) => lengthAt(texts, a) - lengthAt(texts, b));
    for (const rows of runsOf(order, (index) => lengthAt(texts, index), this.#takesMask)) {
      beforeRun();
      const given = await this.#run(rows.map((index) => texts[index] ?? []));
      for (const [row, index] of rows.entries()) vectors[index] = given[row] ?? new Float32Array(0);
    }
    return vectors;
  }

  async #run(rows: readonly (readonly number[])[]): Promise<readonly Float32Array[]> {
    const width = rows.reduce((most, row) => Math.max(most, row.length), 0);
    const shape = [rows.length, width];
    const inputs = new Map(
      this.#inputs.map((input): [string, Tensor] => [input.name, matrixOf(input, rows, shape, this.#paddingId)]),
    );
    const outputs = await this.#session.run(inputs, [{ name: this.#output }]);
    const output = outputs.get(this.#output);
    if (output === undefined) throw new Error(`the model gave no ${this.#output}`);
    const vectors = this.#pooled(output, rows);
    if (vectors.some((vector) => !vector.every(Number.isFinite)))
      throw new Error(`the model gave ${this.#output} that is no number, or without end`);
    return this.#task.isNormalized ? vectors.map(normalized) : vectors;
  }

  #pooled({ datatype, shape, data }: Tensor, rows: readonly (readonly number[])[]): readonly Float32Array[] {
    const values = floatsOf(datatype, data);
    const [height, ...rest] = shape;
    const [width, size] = rest.length === 1 ? [1, rest[0]] : rest;
    if (height !== rows.length || width === undefined || size === undefined || values.length !== height * width * size)
      throw new Error(`the model gave ${this.#output} of shape [${shape}] for ${rows.length} texts`);
    // It may have pooled itself.
    const pool = rest.length === 1 ? copied : pools[this.#task.pooling];
    return rows.map((row, index) =>
      pool(values.subarray(index * width * size, (index + 1) * width * size), row.length, size),
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

/** One of the inputs that are known, for rows of ids and what fills them up. */
function matrixOf(
  { name, datatype }: Signature['inputs'][number],
  rows: readonly (readonly number[])[],
  shape: readonly number[],
  paddingId: number,
): Tensor {
  const [height = 0, width = 0] = shape;
  const values = new Int32Array(height * width).fill(name === 'input_ids' ? paddingId : 0);
  // The types of tokens are 0: there is one text in a row.
  if (name !== 'token_type_ids')
    for (const [row, ids] of rows.entries())
      for (const [column, id] of ids.entries()) values[row * width + column] = name === 'input_ids' ? id : 1;
  return datatype === 'INT64'
    ? { datatype, shape, data: BigInt64Array.from(values, BigInt) }
    : { datatype: 'INT32', shape, data: values };
}

const lengthAt = (texts: readonly (readonly number[])[], index: number) => texts[index]?.length ?? 0;

/**
 * @param order the shortest first
 * @param hasMask whether padding can be told from tokens: without it, only texts of one length are run together
 */
function runsOf(order: readonly number[], lengthOf: (index: number) => number, hasMask: boolean): number[][] {
  const runs: number[][] = [];
  for (const index of order) {
    const run = runs.at(-1);
    const [shortest] = run ?? [];
    const isOfLength = shortest !== undefined && (hasMask || lengthOf(shortest) === lengthOf(index));
    const fits =
      run !== undefined &&
      isOfLength &&
      run.length < mostRowsOfRun &&
      (run.length + 1) * lengthOf(index) <= mostTokensOfRun;
    if (fits) run.push(index);
    else runs.push([index]);
  }
  return runs;
}

/** Sentence vectors where the model gives them, otherwise the vectors of tokens. */
function outputOf({ outputs }: Signature): string {
  const fit = outputs.filter(
    ({ datatype, shape, isRankUnknown }) =>
      ['FP32', 'FP16', 'FP64'].includes(datatype) &&
      (isRankUnknown === true || shape.length === 2 || shape.length === 3),
  );
  const [first] = fit;
  const usual = ['sentence_embedding', 'last_hidden_state', 'token_embeddings'];
  const named = usual.map((name) => fit.find((output) => output.name === name)).find((output) => output !== undefined);
  if (first === undefined)
    throw new UnfitModel(
      `the task TextEmbedding needs a model with an output of floats [-1, -1, SIZE] or [-1, SIZE]; this one has ${inWords(outputs)}`,
    );
  // Vectors of tokens before others, which may be anything.
  return (named ?? fit.find(({ shape }) => shape.length === 3) ?? first).name;
}

function inWords(tensors: Signature['inputs']): string {
  return tensors.map(({ name, datatype, shape }) => `${name} (${datatype} [${shape.join(', ')}])`).join(', ');
}

function floatsOf(datatype: Tensor['datatype'], data: TensorData): Float32Array {
  if (data instanceof Float32Array) return data;
  if (datatype === 'FP16' && data instanceof Uint16Array)
    return Float32Array.from(new Float16Array(data.buffer, data.byteOffset, data.length));
  if (data instanceof Float64Array) return Float32Array.from(data);
  throw new Error(`the model gave ${datatype}, which are no floats`);
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
