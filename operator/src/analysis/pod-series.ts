import type { Count } from './proportion.ts';

/** What a pod has counted in one interval. */
export interface IntervalCounts {
  /** The number of the interval: its beginning, since 1970, over its length. */
  readonly interval: number;
  /** What it was asked itself, and failed at. */
  readonly requests: number;
  readonly failed: number;
  /** Of its own answers: how many fell into each bucket of a `Histogram`. */
  readonly buckets: Buckets;
  /** What it has passed on to the canary, what of that failed there, and what that had no room for. */
  readonly passedOn: number;
  readonly passedOnFailed: number;
  readonly saturated: number;
  /** Of its own answers, how many were compared with the canary's, and how many were other ones. */
  readonly compared: number;
  readonly differing: number;
}

/** The buckets of a histogram from the first to the last that has something: latencies of an interval fall into few. */
export interface Buckets {
  readonly first: number;
  readonly counts: readonly number[];
}

export const noBuckets: Buckets = { first: 0, counts: [] };

/** Without the empty ones at both ends. */
export function bucketsOf(counts: readonly number[]): Buckets {
  const first = counts.findIndex((count) => count > 0);
  if (first === -1) return noBuckets;
  return { first, counts: counts.slice(first, counts.findLastIndex((count) => count > 0) + 1) };
}

/** What one pod has counted, interval after interval; those in which nothing was heard of it are left out. */
export interface PodSeries {
  readonly pod: string;
  readonly revision: string;
  /** The revision that it has passed requests on to last; '' for none. */
  readonly passedOnTo: string;
  readonly intervals: readonly IntervalCounts[];
}

/** So many intervals of a pod are kept, idle ones apart: two hours of 15 s show how errors come together. */
export const mostIntervals = 480;

/** The intervals from one to another, both included. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

/**
 * One list of cells for each interval of a span in which something was told of, each with one cell for each pod, in the same
 * order throughout.
 *
 * @param countOf what of an interval is counted
 */
export function cellsOf(
  pods: readonly PodSeries[],
  { first, last }: Span,
  countOf: (counts: IntervalCounts) => Count,
): Count[][] {
  const nothing: Count = { bad: 0, total: 0 };
  const rows = new Map<number, Count[]>();
  for (const [index, { intervals }] of pods.entries()) {
    for (const counts of intervals) {
      if (counts.interval < first || counts.interval > last) continue;
      const row = rows.get(counts.interval) ?? pods.map(() => nothing);
      const { bad, total } = row[index] ?? nothing;
      const more = countOf(counts);
      // A clock that was set back makes an interval twice.
      row[index] = { bad: bad + more.bad, total: total + more.total };
      rows.set(counts.interval, row);
    }
  }
  return Array.from(rows)
    .toSorted(([a], [b]) => a - b)
    .map(([, row]) => row);
}

/** So many pods show what they have in common and what each has of its own. */
const mostPods = 16;

/** Those of the pods that have the longest history, where there are many. */
export function sampleOf(pods: readonly PodSeries[]): readonly PodSeries[] {
  if (pods.length <= mostPods) return pods;
  return pods.toSorted((a, b) => b.intervals.length - a.intervals.length).slice(0, mostPods);
}

/** The same counts, of groups of pods where there are many: what is made of them takes time for each. */
export function groupsOf(pods: readonly PodSeries[]): readonly PodSeries[] {
  if (pods.length <= mostPods) return pods;
  return Array.from({ length: mostPods }, (_, group) => mergedOf(pods.filter((_, pod) => pod % mostPods === group)));
}

function mergedOf(pods: readonly PodSeries[]): PodSeries {
  const merged = new Map<number, IntervalCounts>();
  for (const counts of pods.flatMap(({ intervals }) => intervals)) {
    const known = merged.get(counts.interval);
    merged.set(counts.interval, known === undefined ? counts : totalOf(known, counts));
  }
  const [{ pod, revision, passedOnTo } = { pod: '', revision: '', passedOnTo: '' }] = pods;
  const intervals = Array.from(merged.values()).toSorted((a, b) => a.interval - b.interval);
  return { pod, revision, passedOnTo, intervals };
}

/** What was counted in an interval at two places, or at two times. */
export function totalOf(a: IntervalCounts, b: Omit<IntervalCounts, 'interval'>): IntervalCounts {
  return {
    interval: a.interval,
    requests: a.requests + b.requests,
    failed: a.failed + b.failed,
    buckets: totalOfBuckets(a.buckets, b.buckets),
    passedOn: a.passedOn + b.passedOn,
    passedOnFailed: a.passedOnFailed + b.passedOnFailed,
    saturated: a.saturated + b.saturated,
    compared: a.compared + b.compared,
    differing: a.differing + b.differing,
  };
}

function totalOfBuckets(a: Buckets, b: Buckets): Buckets {
  if (a.counts.length === 0) return b;
  if (b.counts.length === 0) return a;
  const first = Math.min(a.first, b.first);
  const end = Math.max(a.first + a.counts.length, b.first + b.counts.length);
  const at = ({ first: begin, counts }: Buckets, bucket: number) => counts[bucket - begin] ?? 0;
  const counts = Array.from({ length: end - first }, (_, index) => at(a, first + index) + at(b, first + index));
  return { first, counts };
}

/** Of an interval's own answers, how many are beyond a bucket. */
export function beyond(bucket: number): (counts: IntervalCounts) => Count {
  return ({ buckets }) => {
    let [bad, total] = [0, 0];
    for (const [index, count] of buckets.counts.entries()) {
      total += count;
      if (buckets.first + index > bucket) bad += count;
    }
    return { bad, total };
  };
}
