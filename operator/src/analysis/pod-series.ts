import type { Count } from './proportion.ts';

/** What a pod has counted in one interval. */
export interface IntervalCounts {
  /** The number of the interval: its beginning, since 1970, over its length. */
  readonly interval: number;
  /** What it was asked itself, and failed at. */
  readonly requests: number;
  readonly failed: number;
  /** Of its own answers: how many fell into each bucket, as a `Histogram` has them. */
  readonly buckets: readonly number[];
  /** What it has passed on to the canary, what of that failed there, and what that had no room for. */
  readonly passedOn: number;
  readonly passedOnFailed: number;
  readonly saturated: number;
  /** Of its own answers, how many were compared with the canary's, and how many were other ones. */
  readonly compared: number;
  readonly differing: number;
}

/** What one pod has counted, interval after interval; those in which nothing was heard of it are left out. */
export interface PodSeries {
  readonly pod: string;
  readonly revision: string;
  /** The revision that it has passed requests on to last; '' for none. */
  readonly passedOnTo: string;
  readonly intervals: readonly IntervalCounts[];
}

/** The intervals from one to another, both included. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

/**
 * One list of cells for each interval of a span, each with one cell for each pod, in the same order throughout.
 *
 * @param countOf what of an interval is counted
 */
export function cellsOf(
  pods: readonly PodSeries[],
  { first, last }: Span,
  countOf: (counts: IntervalCounts) => Count,
): Count[][] {
  const nothing: Count = { bad: 0, total: 0 };
  const cells = Array.from({ length: Math.max(0, last - first + 1) }, () => pods.map(() => nothing));
  for (const [index, { intervals }] of pods.entries()) {
    for (const counts of intervals) {
      const row = cells[counts.interval - first];
      if (row !== undefined) row[index] = countOf(counts);
    }
  }
  return cells;
}

/** Of an interval's own answers, how many are beyond a bucket. */
export function beyond(bucket: number): (counts: IntervalCounts) => Count {
  return ({ buckets }) => {
    let [bad, total] = [0, 0];
    for (const [index, count] of buckets.entries()) {
      total += count;
      if (index > bucket) bad += count;
    }
    return { bad, total };
  };
}
