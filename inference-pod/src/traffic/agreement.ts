import type { OutputComparison } from '../../../contract/src/traffic.ts';
import type { Signature, Tensor } from '../protocol/datatypes.ts';
import type { DecodeLimits } from '../protocol/open-inference-request.ts';
import { RequestError } from '../protocol/request-error.ts';
import { defaultTolerance, differenceOf, parseAnswer } from '../validation/golden-set.ts';

/** An answer of the Open Inference Protocol over HTTP. */
export interface Answer {
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
  const tensorsOf = ({ body, headerLength }: Answer) => parseAnswer(body, signature, limits, headerLength);
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
    case 'Argmax':
      return String(own.shape) === String(other.shape) && String(argmax(own)) === String(argmax(other));
  }
}

/** The place of the largest value in each row of the last dimension; the first of several. */
function argmax({ shape, data }: Tensor): readonly number[] {
  const columns = shape.at(-1) ?? 1;
  const rows = columns === 0 ? 0 : data.length / columns;
  return Array.from({ length: rows }, (_, row) => {
    let best = 0;
    for (let column = 1; column < columns; column++) {
      if (Number(data[row * columns + column]) > Number(data[row * columns + best])) best = column;
    }
    return best;
  });
}
