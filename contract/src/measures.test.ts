import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { bucketOf, countOf, edgeOf, emptyHistogram, GrowingHistogram, mergeHistograms, quantile } from './histogram.ts';
import type { Measures } from './link.ts';
import { addMeasures, MeasuresTotal, noMeasures } from './measures.ts';

const seconds = fc.double({ min: 0, max: 120, noNaN: true });
const histogramOf = (values: readonly number[]) => {
  const histogram = new GrowingHistogram();
  for (const value of values) histogram.observe(value);
  return histogram.now;
};

test('a value lies in its bucket, up to the edge and above the one before', () => {
  fc.assert(
    fc.property(seconds, (value) => {
      const bucket = bucketOf(value);
      expect(value).toBeLessThanOrEqual(edgeOf(bucket) * (1 + 1e-8));
      if (bucket > 0) expect(value).toBeGreaterThan(edgeOf(bucket - 1) * (1 - 1e-8));
    }),
  );
});

test('merged histograms are the histogram of all values, in whatever order', () => {
  fc.assert(
    fc.property(fc.array(seconds), fc.array(seconds), fc.array(seconds), (a, b, c) => {
      const [x, y, z] = [histogramOf(a), histogramOf(b), histogramOf(c)];
      const whole = histogramOf([...a, ...b, ...c]);
      const left = mergeHistograms(mergeHistograms(x, y), z);
      expect(left.buckets).toEqual(whole.buckets);
      expect(mergeHistograms(z, mergeHistograms(y, x)).buckets).toEqual(whole.buckets);
      expect(left.sum).toBeCloseTo(whole.sum, 6);
      expect(countOf(whole)).toBe(a.length + b.length + c.length);
      expect(mergeHistograms(x, emptyHistogram)).toEqual(x);
    }),
  );
});

test('a quantile is never too low, and at most a quarter too high', () => {
  const values = fc.array(fc.double({ min: 0.0002, max: 50, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
      const exact = all.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(share * all.length)) - 1] ?? 0;
      const found = quantile(histogramOf(all), share) ?? 0;
      expect(found).toBeGreaterThanOrEqual(exact * (1 - 1e-8));
      expect(found).toBeLessThanOrEqual(exact * 1.25 * (1 + 1e-8));
    }),
  );
  expect(quantile(emptyHistogram, 0.5)).toBeUndefined();
});

/** What happens to some pods: they serve requests, tell of them, start anew, or go. */
const lives = fc.array(
  fc.record({
    pod: fc.constantFrom('a', 'b', 'c'),
    what: fc.oneof(
      fc.record({ kind: fc.constant('serve' as const), count: fc.nat(50) }),
      fc.record({ kind: fc.constantFrom('tell' as const, 'restart' as const, 'end' as const) }),
    ),
  }),
);
const requests = (count: number): Measures => ({
  ...noMeasures,
  counters: { ...noMeasures.counters, requests: count },
});

test('totals are exact over restarts and ends: all that was told once is counted once, and they never fall', () => {
  fc.assert(
    fc.property(lives, (events) => {
      const total = new MeasuresTotal();
      const pods = new Map<string, { life: number; served: number; told: number }>();
      let [told, before] = [0, 0];
      for (const { pod, what } of events) {
        const state = pods.get(pod) ?? { life: 0, served: 0, told: 0 };
        pods.set(pod, state);
        switch (what.kind) {
          case 'serve':
            state.served += what.count;
            break;
          case 'tell':
            total.tell(pod, `${pod}${state.life}`, requests(state.served));
            told += state.served - state.told;
            state.told = state.served;
            break;
          case 'end':
            total.end(pod);
            Object.assign(state, { life: state.life + 1, served: 0, told: 0 });
            break;
          case 'restart':
            Object.assign(state, { life: state.life + 1, served: 0, told: 0 });
        }
        expect(total.now.counters.requests).toBe(told);
        expect(told).toBeGreaterThanOrEqual(before);
        before = told;
      }
    }),
  );
});

test('measures add up part by part', () => {
  const one = { counters: { requests: 1, refused: 2, failed: 3, abandoned: 4 }, latency: histogramOf([0.1]) };
  expect(addMeasures(one, one).counters).toEqual({ requests: 2, refused: 4, failed: 6, abandoned: 8 });
  expect(countOf(addMeasures(one, one).latency)).toBe(2);
});
