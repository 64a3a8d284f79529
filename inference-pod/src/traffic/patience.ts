import { countOf, type Histogram, quantile } from '../../../contract/src/histogram.ts';

/** Fewer requests say little of how long they may take. */
const leastRequests = 100;
const leastMilliseconds = 1000;
/** So much longer than the slowest of a hundred of this pod's own a canary may take before it is given up. */
const factor = 5;

/**
 * How long a canary is waited for, by what this pod itself has needed so far: one that hangs must not make its callers wait
 * for as long as a request may take at all.
 *
 * @param latency in seconds
 */
export function patienceFor(latency: Histogram): number {
  const slow = quantile(latency, 0.99);
  if (slow === undefined || countOf(latency) < leastRequests) return Number.POSITIVE_INFINITY;
  return Math.max(leastMilliseconds, factor * slow * 1000);
}
