import { discounted, type RateVariance } from './design-effect.ts';
import { type Count, logEvidenceAbove } from './proportion.ts';

/** Before that, nothing is known of what requests have in common. */
export const leastIntervals = 4;

/** The evidence against a canary, and the intervals that it is found in. */
export interface Evidence {
  /** The logarithm of an e-value. */
  readonly logEvidence: number;
  readonly window: readonly (readonly Count[])[];
  /** How much of the error of the test is for windows that begin where this one does. */
  readonly weight: number;
}

/**
 * The strongest evidence that a proportion is above a bound, now or since some interval: whoever was good for an hour and then
 * fails is not better for it. Half of the evidence is for the whole, the rest for windows that begin k intervals later,
 * 1/(k(k+1)) of it each: the weights sum to 1, so that a mixture of what began at any time is evidence of the same kind (J. Shin,
 * A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", New England J. Stat. Data
 * Sci. 2, 2024). Of the windows, those of 4, 8, 16... intervals are looked at.
 *
 * @param variances of a history, of `rateVariances`
 * @param bound from 0 to 1, both excluded
 * @param pods that have answered
 * @param forgotten intervals that were before these
 * @returns undefined where no window has intervals enough in which something was counted
 */
export function strongestEvidence(
  intervals: readonly (readonly Count[])[],
  variances: readonly RateVariance[],
  bound: number,
  pods: number,
  forgotten = 0,
): Evidence | undefined {
  let strongest: Evidence | undefined;
  for (const length of lengthsOf(intervals.length)) {
    const window = intervals.slice(-length);
    if (countedIntervals(window) < leastIntervals) continue;
    const after = forgotten + intervals.length - length;
    const weight = after === 0 ? 1 / 2 : 1 / (2 * after * (after + 1));
    const logEvidence = logEvidenceAbove(discounted(window, variances, bound, pods), bound) + Math.log(weight);
    if (strongest === undefined || logEvidence > strongest.logEvidence) strongest = { logEvidence, window, weight };
  }
  return strongest;
}

/** Intervals in which there was something to count: a leader that has just begun knows of few. */
export function countedIntervals(intervals: readonly (readonly Count[])[]): number {
  return intervals.filter((cells) => cells.some(({ total }) => total > 0)).length;
}

function lengthsOf(whole: number): readonly number[] {
  const lengths: number[] = [];
  for (let length = leastIntervals; length < whole; length *= 2) lengths.push(length);
  return [whole, ...lengths];
}
