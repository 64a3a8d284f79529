import type { ModelSession } from '../model/session.ts';
import { elementCount, type Signature, type Tensor, type TensorData, viewOf } from '../protocol/datatypes.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { InferenceRequest } from '../protocol/open-inference-request.ts';
import { decode, type InferenceCall } from '../protocol/wires.ts';
import { answerOf, failure, type InferenceAnswer, type InferenceLimits, runOne } from './inference.ts';

/** Several requests that are given to the model as one. */
export interface BatchingSettings {
  /** Rows of one run at most. */
  readonly maxSize: number;
  /** How long a request may wait for others, in milliseconds, while an executor has nothing to do. */
  readonly maxDelayMilliseconds: number;
}

/** Whether the first dimension of every tensor is free, so that rows of several requests can stand one below another. */
export function isBatchable({ inputs, outputs }: Signature): boolean {
  return inputs.length > 0 && [...inputs, ...outputs].every(({ shape }) => shape[0] === -1);
}

interface Decoded {
  readonly place: number;
  readonly call: InferenceCall;
  readonly request: InferenceRequest;
  readonly rows: number;
}

/**
 * Answers calls, those together whose tensors differ in nothing but their number of rows. A run of several that fails, or
 * whose outputs do not have the rows of its inputs, is done again one by one, so that no request suffers from another.
 *
 * @param onAnswer called with the place of each call and its answer, as soon as there is one
 */
export async function inferTogether(
  calls: readonly InferenceCall[],
  session: ModelSession,
  model: ModelIdentity,
  limits: InferenceLimits,
  mostRows: number,
  onAnswer: (place: number, answer: InferenceAnswer) => void,
): Promise<void> {
  const groups = groupsOf(calls, session.signature, limits, (place, error) => onAnswer(place, failure(error)));
  for (const batch of groups.flatMap((group) => batchesOf(group, mostRows))) {
    const together = batch.length > 1 ? await runTogether(batch, session, model, limits) : undefined;
    for (const [index, { place, call, request }] of batch.entries()) {
      onAnswer(place, together?.[index] ?? (await runOne(call.wire, request, session, model, limits)));
    }
  }
}

function groupsOf(
  calls: readonly InferenceCall[],
  signature: Signature,
  limits: InferenceLimits,
  onRefusal: (place: number, error: unknown) => void,
): readonly (readonly Decoded[])[] {
  const groups = new Map<string, Decoded[]>();
  for (const [place, call] of calls.entries()) {
    try {
      const request = decode(call, signature, limits);
      const rows = rowsOf(request);
      const key = rows === undefined ? `alone ${place}` : keyOf(request);
      const decoded = { place, call, request, rows: rows ?? 0 };
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [decoded]);
      else group.push(decoded);
    } catch (error) {
      onRefusal(place, error);
    }
  }
  return [...groups.values()];
}

/** The rows of a request; undefined if its inputs do not agree. */
function rowsOf({ inputs }: InferenceRequest): number | undefined {
  const [first, ...others] = Array.from(inputs.values(), ({ shape }) => shape[0]);
  return first !== undefined && first > 0 && others.every((rows) => rows === first) ? first : undefined;
}

/** The same for requests that differ in nothing but their rows. */
function keyOf({ inputs, outputs }: InferenceRequest): string {
  const tensors = Array.from(inputs, ([name, { shape }]) => `${name}:${shape.slice(1).join()}`).sort();
  return `${tensors.join(';')}>${outputs.map(({ name }) => name).join(';')}`;
}

function batchesOf(group: readonly Decoded[], mostRows: number): readonly (readonly Decoded[])[] {
  const batches: Decoded[][] = [];
  let room = 0;
  for (const one of group) {
    const last = batches.at(-1);
    if (last === undefined || one.rows > room) {
      batches.push([one]);
      room = mostRows;
    } else last.push(one);
    room -= one.rows;
  }
  return batches;
}

/** @returns undefined when they have to be run one by one */
async function runTogether(
  batch: readonly Decoded[],
  session: ModelSession,
  model: ModelIdentity,
  limits: InferenceLimits,
): Promise<readonly InferenceAnswer[] | undefined> {
  const [first] = batch;
  if (first === undefined) return undefined;
  const rows = batch.reduce((sum, one) => sum + one.rows, 0);
  const inputs = new Map(
    Array.from(first.request.inputs.keys(), (name) => [name, concatenated(batch, name, rows)] as const),
  );
  let outputs: ReadonlyMap<string, Tensor>;
  const start = performance.now();
  try {
    outputs = await session.run(inputs, first.request.outputs);
  } catch {
    return undefined;
  }
  // Each request is told its share of the time.
  const seconds = (performance.now() - start) / 1000 / batch.length;
  if (Array.from(outputs.values()).some(({ shape }) => shape[0] !== rows)) return undefined;
  let from = 0;
  return batch.map(({ call, request, rows: own }) => {
    const part = new Map(Array.from(outputs, ([name, tensor]) => [name, rowsFrom(tensor, from, own)]));
    from += own;
    return answerOf(call.wire, request, part, model, limits, seconds);
  });
}

function concatenated(batch: readonly Decoded[], name: string, rows: number): Tensor {
  const tensors = batch.flatMap(({ request }) => request.inputs.get(name) ?? []);
  const [first] = tensors;
  if (first === undefined) throw new Error(`no request has the input '${name}'`);
  const shape = [rows, ...first.shape.slice(1)];
  return { datatype: first.datatype, shape, data: concatenatedData(tensors, elementCount(shape)) };
}

function concatenatedData(tensors: readonly Tensor[], count: number): TensorData {
  const [first] = tensors;
  if (first === undefined || Array.isArray(first.data))
    return tensors.flatMap(({ data }) => (Array.isArray(data) ? data : []));
  const bytes = Buffer.from(new ArrayBuffer(count * first.data.BYTES_PER_ELEMENT));
  let offset = 0;
  for (const { data } of tensors) {
    if (Array.isArray(data)) continue;
    offset += Buffer.from(data.buffer, data.byteOffset, data.byteLength).copy(bytes, offset);
  }
  return viewOf(first.datatype, bytes.buffer, bytes.byteOffset, count);
}

function rowsFrom({ datatype, shape, data }: Tensor, from: number, rows: number): Tensor {
  const own = [rows, ...shape.slice(1)];
  const size = elementCount(shape.slice(1));
  const start = from * size;
  const end = start + rows * size;
  return { datatype, shape: own, data: Array.isArray(data) ? data.slice(start, end) : data.subarray(start, end) };
}
