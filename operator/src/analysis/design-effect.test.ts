import { describe, expect, test } from '@jest/globals';
import { designEffect, discounted, expectedEffect, rateVariances } from './design-effect.ts';

const cell = (bad: number, total: number) => ({ bad, total });

test('equal cells vary no more than independent requests', () => {
  expect(designEffect([], 0.5)).toBe(1);
  expect(designEffect([[cell(3, 100)]], 0.5)).toBe(1);
  expect(designEffect([[cell(0, 100)], [cell(0, 0)], [cell(0, 50)]], 0.5)).toBe(1);
  expect(designEffect([[cell(10, 10)], [cell(5, 5)]], 0.5)).toBe(1);
  expect(
    designEffect(
      Array.from({ length: 20 }, () => [cell(1, 100), cell(1, 100)]),
      0.5,
    ),
  ).toBe(1);
});

test('errors of one pod count for as little as they say', () => {
  // Ten errors of one of ten pods: as if they were one.
  const together = [[cell(10, 100), ...Array.from({ length: 9 }, () => cell(0, 100))]];
  expect(designEffect(together, 0.01)).toBeCloseTo(10 / 0.99, 6);
  expect(discounted(together, [], 0.01).bad).toBeCloseTo(0.99, 6);
  expect(discounted(together, [], 0.01).total).toBeCloseTo(99, 6);
});

test('whoever becomes bad is not counted for less because it was good before', () => {
  const died = Array.from({ length: 40 }, (_, index) => [cell(index < 20 ? 0 : 100, 100)]);
  // Four blocks of eight: all that differ from their mean differ by all of it.
  expect(designEffect(died, 0.5)).toBeGreaterThan(300);
  expect(designEffect(died, 0.01)).toBeLessThan(12);
});

test('errors that come together for longer than an interval show in longer blocks', () => {
  const scattered = Array.from({ length: 64 }, (_, index) => [cell(index % 2, 100)]);
  const inRow = Array.from({ length: 64 }, (_, index) => [cell(index % 32 < 16 ? 1 : 0, 100)]);
  expect(designEffect(scattered, 0.01)).toBe(1);
  // Four blocks of sixteen: 16, 0, 16, 0 errors of 1600.
  expect(designEffect(inRow, 0.01)).toBeCloseTo((4 * 8 ** 2) / (1600 * 0.005 * 0.995) / 3, 6);
});

describe('a history tells', () => {
  const bursts = (isBad: (interval: number, pod: number) => boolean) =>
    rateVariances(Array.from({ length: 64 }, (_, index) => [0, 1].map((pod) => cell(isBad(index, pod) ? 20 : 0, 100))));

  test('nothing of errors that come steadily, or not at all', () => {
    expect(bursts(() => true).every(({ shared, own }) => shared === 0 && own === 0)).toBe(true);
    expect(bursts(() => false).every(({ shared, own }) => shared === 0 && own === 0)).toBe(true);
    expect(rateVariances([])).toEqual([]);
  });

  test('what lasts, and for how long: over longer times it evens out', () => {
    const inRow = bursts((index) => index % 32 < 16);
    expect(inRow.map(({ intervals }) => intervals)).toEqual([1, 2, 4, 8, 16]);
    // Rates of 20 % and of none, half of the time each, vary by as much as their mean.
    expect(inRow[0]?.shared).toBeCloseTo(0.95, 1);
    expect(inRow[4]?.shared).toBeGreaterThan(0.95);
    expect(bursts((index) => index % 2 === 0).map(({ shared }) => shared)).toEqual([
      expect.closeTo(0.95, 1),
      0,
      0,
      0,
      0,
    ]);
  });

  test('what pods have in common, and what each has of its own', () => {
    for (const { own } of bursts((index) => index % 32 < 16)) expect(own).toBeCloseTo(0, 1);
    const inTurns = bursts((index, pod) => index % 32 < 16 === (pod === 0));
    for (const { shared, own } of inTurns) expect([shared, own]).toEqual([0, expect.closeTo(0.95, 0)]);
  });

  test('what errors that come together make of a count', () => {
    const variances = [
      { intervals: 1, rate: 0.02, degrees: 3999, shared: 0.5, own: 0.5 },
      { intervals: 2, rate: 0.02, degrees: 1999, shared: 0.2, own: 0.4 },
      { intervals: 4, rate: 0.02, degrees: 999, shared: 0.1, own: 0.1 },
    ];
    const counted = Array.from({ length: 3 }, () => [cell(2, 100), cell(2, 100)]);
    const certain = 1.0649;
    const effect = 1 + (600 * (0.2 + 0.2) * certain * 0.01) / 0.99;
    expect(expectedEffect(counted, variances, 0.01, 2)).toBeCloseTo(effect, 2);
    expect(expectedEffect(counted, [], 0.01, 2)).toBe(1);
    expect(expectedEffect([], variances, 0.01, 2)).toBe(1);
    // Longer times vary no more than shorter ones, and a half of them no less than if both halves were independent.
    const hidden = (index: number) =>
      variances.map((known, at) => (at === index ? { ...known, shared: 0, own: 0 } : known));
    expect(expectedEffect(counted, hidden(1), 0.01, 2)).toBeCloseTo(
      1 + (600 * ((0.5 + 0.25) / 2) * certain * 0.01) / 0.99,
      2,
    );
    expect(expectedEffect(counted.slice(1, 2), hidden(0), 0.01, 2)).toBeCloseTo(
      1 + (200 * 0.4 * 1.0451 * 0.01) / 0.99,
      2,
    );
    expect(discounted(counted, variances, 0.01).total).toBeCloseTo(600 / effect, 1);
  });

  test('one burst in a history without errors does not tell of bursts a hundred times as large', () => {
    const history = Array.from({ length: 480 }, (_, index) => [cell(index === 200 ? 5 : 0, 100)]);
    const dead = Array.from({ length: 4 }, () => [cell(100, 100)]);
    expect(discounted(dead, rateVariances(history), 0.01).total).toBeGreaterThan(5);
  });

  test('how well: few blocks that are unlike the others say little, however many others there are', () => {
    const degrees = (isBad: (interval: number) => boolean) => bursts((interval) => isBad(interval))[0]?.degrees;
    expect(degrees((index) => index % 2 === 0)).toBe(63);
    // One of 64 has a kurtosis of nearly 64, and four of 64 one of 14.
    expect(degrees((index) => index === 9)).toBe(5);
    expect(degrees((index) => index % 16 === 9)).toBeCloseTo(128 / 13.1, 0);
    expect(degrees(() => true)).toBe(63);
    expect(rateVariances(Array.from({ length: 8 }, () => [cell(0, 0)]))[0]).toMatchObject({ shared: 0, degrees: 1 });
  });

  test('what few blocks have shown may be larger: quantiles of chi-square say by how much', () => {
    const counted = Array.from({ length: 2 }, () => [cell(0, 50)]);
    const excess = (degrees: number) =>
      expectedEffect(counted, [{ intervals: 1, degrees, rate: 0.5, shared: 1, own: 0 }], 0.5, 1) / 100 - 0.01;
    // Degrees of freedom over the quantile of 2.5 %, from tables: 5 of 0.831, 14 of 5.629, 30 of 16.791.
    expect(excess(5) / (5 / 0.831)).toBeCloseTo(1, 1);
    expect(excess(14)).toBeCloseTo(14 / 5.629, 1);
    expect(excess(30)).toBeCloseTo(30 / 16.791, 1);
  });
});
