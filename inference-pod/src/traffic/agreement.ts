import type { CanaryPod, OutputComparison } from '../../../contract/src/traffic.ts';
import type { Signature, Tensor } from '../protocol/datatypes.ts';
import { decodeGrpcAnswer } from '../protocol/grpc-inference.ts';
import type { DecodeLimits } from '../protocol/open-inference-request.ts';
import { RequestError } from '../protocol/request-error.ts';
import { defaultTolerance, differenceOf, parseAnswer, valuesOf } from '../validation/golden-set.ts';

/** An answer of the Open Inference Protocol. */
export interface Answer {
  /** The JSON of HTTP, or a ModelInferResponse. */
  readonly over: keyof CanaryPod;
  readonly body: Buffer;
  /** How much of it is JSON, when tensors in binary form follow it. */
  readonly headerLength: number | undefined;
}

/**
 * Whether two versions give the same answer: every output of the first, each compared as it is to be. What cannot be read as
 * outputs of the model is another answer.
 *
 * @throws RequestError when the first cannot be read so: of the classification extension, say
 */
export function agree(
  own: Answer,
  other: Answer,
  comparisons: readonly OutputComparison[],
  signature: Signature,
  limits: DecodeLimits,
): boolean {
  const tensorsOf = ({ over, body, headerLength }: Answer) =>
    over === 'grpc' ? decodeGrpcAnswer(body, signature, limits) : parseAnswer(body, signature, limits, headerLength);
  const ours = tensorsOf(own);
  let theirs: ReadonlyMap<string, Tensor>;
  try {
    theirs = tensorsOf(other);
  } catch (error) {
    if (error instanceof RequestError) return false;
    throw error;
  }
  return Array.from(ours).every(([name, tensor]) => {
    const found = theirs.get(name);
    const comparison = comparisons.find((candidate) => candidate.name === name);
    return found !== undefined && isSame(tensor, found, comparison);
  });
}

function isSame(own: Tensor, other: Tensor, comparison: OutputComparison | undefined): boolean {
  const { compare = 'Tolerance', absolute, relative } = comparison ?? {};
  switch (compare) {
    case 'Exact':
      return differenceOf(own, other, { absolute: 0, relative: 0 }) === undefined;
    case 'Tolerance': {
      const tolerance = {
        absolute: absolute ?? defaultTolerance.absolute,
        relative: relative ?? defaultTolerance.relative,
      };
      return differenceOf(own, other, tolerance) === undefined;
    }
    case 'Argmax': {
      if (String(own.shape) !== String(other.shape) || own.datatype !== other.datatype) return false;
      // Of one column, or of texts, the largest is nothing that could be at another place.
      const hasPlaces = (own.shape.at(-1) ?? 1) > 1 && own.datatype !== 'BYTES';
      if (!hasPlaces) return differenceOf(own, other, { absolute: 0, relative: 0 }) === undefined;
      return String(argmax(own)) === String(argmax(other));
    }
  }
}

/** The place of the largest value in each row of the last dimension, the first of several; none in a row that has a NaN. */
function argmax({ shape, ...tensor }: Tensor): readonly (number | undefined)[] {
  const columns = shape.at(-1) ?? 1;
  const numbers = Array.from(valuesOf({ shape, ...tensor }), Number);
  return Array.from({ length: numbers.length / columns }, (_, row) => {
    const values = numbers.slice(row * columns, (row + 1) * columns);
    return values.some(Number.isNaN) ? undefined : values.indexOf(values.reduce((a, b) => Math.max(a, b)));
  });
}
