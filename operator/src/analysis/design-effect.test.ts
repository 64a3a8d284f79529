import { expect, test } from '@jest/globals';
import { designEffect, discounted } from './design-effect.ts';

const cell = (bad: number, total: number) => ({ bad, total });

test('equal cells vary no more than independent requests', () => {
  expect(designEffect([])).toBe(1);
  expect(designEffect([[cell(3, 100)]])).toBe(1);
  expect(designEffect([[cell(0, 100)], [cell(0, 0)], [cell(0, 50)]])).toBe(1);
  expect(designEffect([[cell(10, 10)], [cell(5, 5)]])).toBe(1);
  expect(designEffect(Array.from({ length: 20 }, () => [cell(1, 100), cell(1, 100)]))).toBe(1);
});

test('errors of one pod count for as little as they say', () => {
  // Ten errors of one of ten pods: as if they were one.
  const together = [[cell(10, 100), ...Array.from({ length: 9 }, () => cell(0, 100))]];
  expect(designEffect(together)).toBeCloseTo(10 / 0.99, 6);
  expect(discounted(together).bad).toBeCloseTo(0.99, 6);
  expect(discounted(together).total).toBeCloseTo(99, 6);
});

test('errors that come together for longer than an interval show in longer blocks', () => {
  const scattered = Array.from({ length: 64 }, (_, index) => [cell(index % 2, 100)]);
  const inRow = Array.from({ length: 64 }, (_, index) => [cell(index % 32 < 16 ? 1 : 0, 100)]);
  expect(designEffect(scattered)).toBe(1);
  // Four blocks of sixteen: 16, 0, 16, 0 errors of 1600.
  expect(designEffect(inRow)).toBeCloseTo((4 * 8 ** 2) / (1600 * 0.005 * 0.995) / 3, 6);
});
