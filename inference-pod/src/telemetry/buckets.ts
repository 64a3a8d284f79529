/** From 0.5 ms, a small model's answer, to 10 s. */
export const bucketEdges = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** A histogram of seconds, counted in plain integers. */
export class Buckets {
  /** How many values fell into each bucket, the last of which has no edge. */
  readonly counts = new Float64Array(bucketEdges.length + 1);
  sum = 0;

  get count(): number {
    return this.counts.reduce((sum, inBucket) => sum + inBucket, 0);
  }

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < bucketEdges.length && seconds > (bucketEdges[bucket] ?? 0)) bucket++;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += seconds;
  }
}
