import type { ModelSession } from '../model/session.ts';
import type { Signature, Tensor } from '../protocol/datatypes.ts';
import { floatsOf, inWords, UnfitModel } from './model-outputs.ts';
import type { Task } from './task.ts';
import { runsOf } from './text-runs.ts';

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

/** The request that texts are of. */
export interface RunProgress {
  /** @throws RequestError 504 when nobody waits any more */
  goOn(): void;
  /** Told its part of each run of the model. */
  took(seconds: number): void;
}

/** What a model gave for so many texts, one behind another. */
export interface ModelRows {
  readonly values: Float32Array;
  /** The first is the number of texts. */
  readonly shape: readonly number[];
}

/** Takes what the model gave for some texts apart, one vector for each. */
export type ReadRows = (given: ModelRows, rows: readonly Tokens[]) => readonly Float32Array[];

/** Requests of more texts are run by themselves. */
const mostTextsTogether = 64;
const knownInputs = ['input_ids', 'attention_mask', 'token_type_ids'];

/**
 * A model that takes tokens: texts of like length are run together, filled up to the longest, whichever request they are of. What is asked
 * for before others have their turn is one piece of work; a run that fails is done again for each request by itself.
 */
export class TextModel {
  readonly #session: ModelSession;
  readonly #paddingId: number;
  readonly #output: string;
  readonly #takesMask: boolean;
  readonly #inputs: Signature['inputs'];
  readonly #read: ReadRows;
  readonly #asked: Asked[] = [];

  /**
   * @param paddingId of the tokenizer
   * @param output the one of its outputs that is wanted
   * @throws UnfitModel when it has other inputs than encoders of text
   */
  constructor(session: ModelSession, task: Task['kind'], paddingId: number, output: string, read: ReadRows) {
    this.#session = session;
    this.#paddingId = paddingId;
    this.#output = output;
    this.#read = read;
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
   * @returns one vector for each, in the same order
   * @throws RequestError 400 when the model refuses them, 504 when nobody waits any more
   */
  async run(texts: readonly TokenRow[], progress: RunProgress): Promise<readonly Float32Array[]> {
    const asked = new Asked(texts, progress);
    this.#asked.push(asked);
    if (this.#asked.length === 1) queueMicrotask(() => void this.#runAll());
    return asked.vectors;
  }

  /** Never rejects. */
  async #runAll(): Promise<void> {
    const asked = this.#asked.splice(0).map((each) => each.places());
    const few = asked.filter(({ length }) => length <= mostTextsTogether);
    const many = asked.filter(({ length }) => length > mostTextsTogether);
    // Who asks little does not wait for who asks much.
    for (const places of [few.flat(), ...many]) {
      const sorted = places.toSorted((a, b) => a.text.length - b.text.length);
      for (const run of runsOf(sorted, this.#takesMask)) await this.#runTogether(run);
    }
  }

  async #runTogether(places: readonly Place[]): Promise<void> {
    const waiting = places.filter(({ asked }) => asked.isWaiting());
    const requests = new Set(waiting.map(({ asked }) => asked));
    try {
      if (waiting.length > 0) await this.#runPlaces(waiting);
    } catch (error) {
      for (const one of requests) {
        if (requests.size === 1) one.fail(error);
        else await this.#runTogether(waiting.filter(({ asked }) => asked === one));
      }
    }
  }

  async #runPlaces(places: readonly Place[]): Promise<void> {
    const rows = places.map(({ text }) => text.tokens());
    const start = performance.now();
    const vectors = this.#read(await this.#given(rows), rows);
    const seconds = (performance.now() - start) / 1000;
    for (const [row, { asked, index }] of places.entries()) {
      asked.took(seconds / places.length);
      const vector = vectors[row] ?? new Float32Array(0);
      // What stands where there is only padding may be anything.
      if (vector.every(Number.isFinite)) asked.give(index, vector);
      else asked.fail(new Error(`the model gave ${this.#output} that is no number, or without end`));
    }
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

/** Texts of one request. */
class Asked {
  readonly vectors: Promise<readonly Float32Array[]>;
  readonly #texts: readonly TokenRow[];
  readonly #progress: RunProgress;
  readonly #resolvers = Promise.withResolvers<readonly Float32Array[]>();
  readonly #given: Float32Array[];
  #missing: number;
  #hasFailed = false;

  constructor(texts: readonly TokenRow[], progress: RunProgress) {
    this.#texts = texts;
    this.#progress = progress;
    this.#given = new Array(texts.length);
    this.#missing = texts.length;
    this.vectors = this.#resolvers.promise;
    if (texts.length === 0) this.#resolvers.resolve([]);
  }

  places(): readonly Place[] {
    return this.#texts.map((text, index) => ({ asked: this, index, text }));
  }

  isWaiting(): boolean {
    if (this.#hasFailed) return false;
    try {
      this.#progress.goOn();
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  took(seconds: number): void {
    this.#progress.took(seconds);
  }

  give(index: number, vector: Float32Array): void {
    this.#given[index] = vector;
    this.#missing -= 1;
    if (this.#missing === 0) this.#resolvers.resolve(this.#given);
  }

  fail(error: unknown): void {
    this.#hasFailed = true;
    this.#resolvers.reject(error);
  }
}

/** A text, and where its vector belongs. */
interface Place {
  readonly asked: Asked;
  readonly index: number;
  readonly text: TokenRow;
}
