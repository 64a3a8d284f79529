import { expect, test } from '@jest/globals';
import { GrowingHistogram } from '../../../contract/src/histogram.ts';
import { patienceFor } from './patience.ts';

const of = (count: number, seconds: number) => {
  const histogram = new GrowingHistogram();
  for (let request = 0; request < count; request++) histogram.observe(seconds);
  return histogram.now;
};

test('a canary is given time by what the pod itself needs', () => {
  expect(patienceFor(of(0, 1))).toBe(Number.POSITIVE_INFINITY);
  expect(patienceFor(of(99, 1))).toBe(Number.POSITIVE_INFINITY);
  expect(patienceFor(of(100, 0.001))).toBe(1000);
  const slow = patienceFor(of(1000, 2));
  expect(slow).toBeGreaterThanOrEqual(10_000);
  expect(slow).toBeLessThan(12_600);
});
