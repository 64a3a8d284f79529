import { expect, test } from '@jest/globals';
import { ComparisonBudget } from './comparison-budget.ts';

test('comparisons take a five-hundredth of the time at most, and a little more at first', () => {
  let now = 0;
  const budget = new ComparisonBudget(
    () => now,
    () => now,
  );
  const work = (milliseconds: number) => budget.spend(() => (now += milliseconds));
  let spent = 0;
  while (now < 100_000) {
    if (budget.isThere) {
      work(7);
      spent += 7;
    } else now += 1;
  }
  expect(spent).toBeGreaterThan(200);
  expect(spent).toBeLessThan(0.002 * now + 27);
});

test('what was not spent is kept, up to a bound', () => {
  let now = 0;
  const budget = new ComparisonBudget(
    () => now,
    () => now,
  );
  now = 1e9;
  expect(budget.isThere).toBe(true);
  budget.spend(() => (now += 200));
  expect(budget.isThere).toBe(false);
});

test('a thread that was kept waiting has spent nothing', () => {
  let now = 0;
  const budget = new ComparisonBudget(
    () => now,
    () => 0,
  );
  budget.spend(() => (now += 200));
  expect(budget.isThere).toBe(true);
});
