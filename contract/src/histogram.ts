/**
 * A histogram whose buckets are the same everywhere, so that those of many pods and times add up without loss. Bucket 0
 * holds everything up to 0.1 ms; each further bucket reaches 1.25 times as far, the last one without end (beyond 60 s).
 */
export interface Histogram {
  /** How many values fell into each bucket, without the empty ones at the end. */
  readonly buckets: readonly number[];
  readonly sum: number;
}

const first = 0.0001;
const growth = 1.25;
const last = Math.ceil(Math.log(60 / first) / Math.log(growth)) + 1;

/** As many buckets as there are. */
export const mostBuckets = last + 1;

export const emptyHistogram: Histogram = { buckets: [], sum: 0 };

/** The bucket of a value in seconds. */
export function bucketOf(value: number): number {
  if (!(value > first)) return 0;
  // A value at the very edge belongs to the bucket that it ends.
  return Math.min(last, Math.ceil(Math.log(value / first) / Math.log(growth) - 1e-9));
}

/** The upper edge of a bucket, in seconds. */
export function edgeOf(bucket: number): number {
  return bucket >= last ? Number.POSITIVE_INFINITY : first * growth ** bucket;
}

/** A histogram that is counted in place, where every request passes. */
export class GrowingHistogram {
  readonly #buckets: number[] = [];
  #sum = 0;

  /** @param value in seconds */
  observe(value: number): void {
    const bucket = bucketOf(value);
    while (this.#buckets.length <= bucket) this.#buckets.push(0);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#sum += Math.max(0, value);
  }

  get now(): Histogram {
    return { buckets: [...this.#buckets], sum: this.#sum };
  }
}

export function countOf({ buckets }: Histogram): number {
  return buckets.reduce((total, count) => total + count, 0);
}

/** The histogram of the values of both. */
export function mergeHistograms(a: Histogram, b: Histogram): Histogram {
  const length = Math.max(a.buckets.length, b.buckets.length);
  const buckets = Array.from({ length }, (_, bucket) => (a.buckets[bucket] ?? 0) + (b.buckets[bucket] ?? 0));
  return { buckets, sum: a.sum + b.sum };
}

/**
 * The value that a share of all values do not exceed, as the upper edge of its bucket: at most 25 % too high.
 *
 * @param share from 0 to 1
 * @returns seconds; undefined for no values
 */
export function quantile(histogram: Histogram, share: number): number | undefined {
  const count = countOf(histogram);
  if (count === 0) return undefined;
  const rank = Math.max(1, Math.ceil(share * count));
  let seen = 0;
  for (const [bucket, inBucket] of histogram.buckets.entries()) {
    seen += inBucket;
    if (seen >= rank) return edgeOf(bucket);
  }
  return undefined;
}
