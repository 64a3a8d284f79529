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
  return Math.max(leastMilliseconds, slowest(latency));
}

const leastUsualMilliseconds = 50;

/** After how long a client that gives up has waited longer than it would have for this pod itself. */
export function usualFor(latency: Histogram): number {
  return Math.max(leastUsualMilliseconds, slowest(latency));
}

/** A multiple of what nearly all of this pod's own requests need, in milliseconds; infinite where too few are known. */
function slowest(latency: Histogram): number {
  const slow = quantile(latency, 0.99);
  return slow === undefined || countOf(latency) < leastRequests ? Number.POSITIVE_INFINITY : factor * slow * 1000;
}
