import { describe, expect, test } from '@jest/globals';
import { rateVariances } from './design-effect.ts';
import { strongestEvidence } from './evidence.ts';

const cells = (intervals: number, bad: number, total = 100) =>
  Array.from({ length: intervals }, () => [{ bad, total }]);
const threshold = -Math.log(0.01 / 3);
const evidenceOf = (...intervals: readonly ReturnType<typeof cells>[]) =>
  strongestEvidence(intervals.flat(), [], 0.01, 2);

describe('the strongest evidence', () => {
  test.each([1, 4, 20, 100, 400])('a canary that dies after %d good intervals is known by its last ones', (good) => {
    const found = evidenceOf(cells(good, 0), cells(4, 100));
    expect(found?.logEvidence).toBeGreaterThan(threshold);
    if (good > 4) expect(found?.window).toHaveLength(4);
  });

  test.each([1, 20, 40, 100])(
    'a canary that dies is known by four intervals beside a history with a burst of %d errors',
    (errors) => {
      const history = Array.from({ length: 480 }, (_, index) => [{ bad: index === 200 ? errors : 0, total: 100 }]);
      const found = strongestEvidence(cells(4, 100), rateVariances(history), 0.01, 2);
      expect(found?.logEvidence).toBeGreaterThan(threshold);
    },
  );

  test('of what is good there is none, however long it lasts', () => {
    for (const length of [4, 40, 400]) expect(evidenceOf(cells(length, 1))?.logEvidence).toBeLessThan(0);
  });

  test('is unknown in fewer than four intervals in which something was counted', () => {
    expect(evidenceOf(cells(3, 100))).toBeUndefined();
    expect(evidenceOf(cells(40, 0, 0), cells(3, 100))).toBeUndefined();
    expect(evidenceOf([])).toBeUndefined();
  });

  test('the weights of all windows sum to 1 at most', () => {
    const later = Array.from({ length: 10_000 }, (_, index) => 1 / (2 * (index + 1) * (index + 2)));
    expect(later.reduce((sum, weight) => sum + weight, 1 / 2)).toBeLessThanOrEqual(1);
    // What is forgotten keeps its place.
    expect(strongestEvidence(cells(4, 100), [], 0.01, 2)?.weight).toBe(1 / 2);
    expect(strongestEvidence(cells(4, 100), [], 0.01, 2, 3)?.weight).toBe(1 / 24);
  });
});
