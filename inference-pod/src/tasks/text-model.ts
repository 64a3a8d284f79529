import type { ModelSession } from '../model/session.ts';
import type { Signature, Tensor } from '../protocol/datatypes.ts';
import { floatsOf, inWords, UnfitModel } from './model-outputs.ts';
import type { Task } from './task.ts';

/** The tokens of a text, or of two. */
export interface Tokens {
  readonly ids: readonly number[];
  /** For each id whether it is of the first text or of the second; undefined where there is one. */
  readonly types: readonly number[] | undefined;
}

/** A row of tokens that is made when it is run: many may be of one long text. */
export interface TokenRow {
  /** Of all of its tokens, at least one. */
  readonly length: number;
  tokens(): Tokens;
}

/** What a model gave for so many texts, one behind another. */
export interface ModelRows {
  readonly values: Float32Array;
  /** The first is the number of texts. */
  readonly shape: readonly number[];
}

/** Tokens of one run at most, padding included: what a run holds in memory is bounded, however many texts a request has. */
const mostTokensOfRun = 16_384;
const mostRowsOfRun = 64;
const knownInputs = ['input_ids', 'attention_mask', 'token_type_ids'];

/** A model that takes tokens: texts of like length are run together, filled up to the longest. */
export class TextModel {
  readonly #session: ModelSession;
  readonly #paddingId: number;
  readonly #output: string;
  readonly #takesMask: boolean;
  readonly #inputs: Signature['inputs'];

  /**
   * @param paddingId of the tokenizer
   * @param output the one of its outputs that is wanted
   * @throws UnfitModel when it has other inputs than encoders of text
   */
  constructor(session: ModelSession, task: Task['kind'], paddingId: number, output: string) {
    this.#session = session;
    this.#paddingId = paddingId;
    this.#output = output;
    const { inputs } = session.signature;
    const others = inputs.filter(({ name, datatype, shape, isRankUnknown }) => {
      const isMatrix = isRankUnknown === true || (shape.length === 2 && shape.every((dimension) => dimension === -1));
      return !knownInputs.includes(name) || !['INT64', 'INT32'].includes(datatype) || !isMatrix;
    });
    if (others.length > 0 || !inputs.some(({ name }) => name === 'input_ids'))
      throw new UnfitModel(
        `the task ${task} needs a model with the inputs input_ids and, where it takes them, attention_mask and token_type_ids, of INT64 [-1, -1]; this one has ${inWords(inputs)}`,
      );
    this.#inputs = inputs;
    this.#takesMask = inputs.some(({ name }) => name === 'attention_mask');
  }

  /**
   * @param beforeRun called before each run of the model; what it throws ends all
   * @param read takes what the model gave for some of the texts apart, one vector for each
   * @returns one vector for each, in the same order
   * @throws RequestError 400 when the model refuses them
   */
  async run(
    texts: readonly TokenRow[],
    beforeRun: () => void,
    read: (given: ModelRows, rows: readonly Tokens[]) => readonly Float32Array[],
  ): Promise<readonly Float32Array[]> {
    const vectors: Float32Array[] = new Array(texts.length);
    const lengthAt = (index: number) => texts[index]?.length ?? 0;
    // Texts of one length need no padding.
    const order = texts.map((_, index) => index).sort((a, b) => lengthAt(a) - lengthAt(b));
    for (const places of runsOf(order, lengthAt, this.#takesMask)) {
      beforeRun();
      const rows = places.flatMap((index) => texts[index]?.tokens() ?? []);
      const given = read(await this.#given(rows), rows);
      // What stands where there is only padding may be anything.
      if (!given.every((vector) => vector.every(Number.isFinite)))
        throw new Error(`the model gave ${this.#output} that is no number, or without end`);
      for (const [row, index] of places.entries()) vectors[index] = given[row] ?? new Float32Array(0);
    }
    return vectors;
  }

  async #given(rows: readonly Tokens[]): Promise<ModelRows> {
    const width = rows.reduce((most, { ids }) => Math.max(most, ids.length), 0);
    const shape = [rows.length, width];
    const inputs = new Map(
      this.#inputs.map((input): [string, Tensor] => [input.name, matrixOf(input, rows, shape, this.#paddingId)]),
    );
    const output = (await this.#session.run(inputs, [{ name: this.#output }])).get(this.#output);
    if (output === undefined) throw new Error(`the model gave no ${this.#output}`);
    const values = floatsOf(output.datatype, output.data);
    const size = output.shape.reduce((product, dimension) => product * dimension, 1);
    if (output.shape[0] !== rows.length || values.length !== size)
      throw new Error(`the model gave ${this.#output} of shape [${output.shape}] for ${rows.length} texts`);
    return { values, shape: output.shape };
  }
}

/** One of the inputs that are known, for rows of ids and what fills them up. */
function matrixOf(
  { name, datatype }: Signature['inputs'][number],
  rows: readonly Tokens[],
  shape: readonly number[],
  paddingId: number,
): Tensor {
  const [height = 0, width = 0] = shape;
  const values = new Int32Array(height * width).fill(name === 'input_ids' ? paddingId : 0);
  for (const [row, tokens] of rows.entries()) values.set(valuesOf(name, tokens), row * width);
  return datatype === 'INT64'
    ? { datatype, shape, data: BigInt64Array.from(values, BigInt) }
    : { datatype: 'INT32', shape, data: values };
}

function valuesOf(input: string, { ids, types }: Tokens): readonly number[] {
  if (input === 'input_ids') return ids;
  // The types of the tokens of a text alone are 0.
  return input === 'token_type_ids' ? (types ?? []) : ids.map(() => 1);
}

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
