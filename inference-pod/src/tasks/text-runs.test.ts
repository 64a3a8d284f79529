import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { runsOf } from './text-runs.ts';

describe('a run', () => {
  const of = (...lengths: number[]) => lengths.map((length) => ({ text: { length } }));
  const lengthsOf = (runs: ReturnType<typeof runsOf<{ text: { length: number } }>>) =>
    runs.map((run) => run.map((one) => one.text.length));

  test('has no long text that would make short ones as long', () => {
    expect(lengthsOf(runsOf(of(5, 6, 7, 8, 100, 110), true))).toEqual([
      [5, 6, 7, 8],
      [100, 110],
    ]);
    expect(lengthsOf(runsOf(of(5, 30), true))).toEqual([[5], [30]]);
    expect(lengthsOf(runsOf(of(5, 20), true))).toEqual([[5, 20]]);
  });

  test('has only texts of one length where padding cannot be told', () => {
    expect(lengthsOf(runsOf(of(3, 3, 4), false))).toEqual([[3, 3], [4]]);
  });

  test('has no more texts, and no more tokens, than fit', () => {
    const long = runsOf(of(...Array<number>(5).fill(16_000)), true);
    expect(long.map((run) => run.length)).toEqual([1, 1, 1, 1, 1]);
    expect(runsOf(of(...Array<number>(130).fill(2)), true).every((run) => run.length <= 64)).toBe(true);
    expect(lengthsOf(runsOf(of(20_000), true))).toEqual([[20_000]]);
  });

  test('has each text once, in their order, and no division has fewer tokens', () => {
    const costOf = (runs: readonly (readonly number[])[]) =>
      runs.reduce((sum, run) => sum + 16 + run.length * (run.at(-1) ?? 0), 0);
    const divisions = (lengths: readonly number[]): number[][][] =>
      lengths.length === 0
        ? [[]]
        : lengths.flatMap((_, at) =>
            divisions(lengths.slice(at + 1)).map((others) => [lengths.slice(0, at + 1), ...others]),
          );
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 8 }), (lengths) => {
        const sorted = lengths.sort((a, b) => a - b);
        const runs = lengthsOf(runsOf(of(...sorted), true));
        expect(runs.flat()).toEqual(sorted);
        expect(costOf(runs)).toBe(Math.min(...divisions(sorted).map(costOf)));
      }),
    );
  });
});
