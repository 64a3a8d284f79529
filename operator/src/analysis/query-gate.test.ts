import { describe, expect, test } from '@jest/globals';
import { filledQuery, judgeQuery, type QueryAnswer } from './query-gate.ts';

const gate = { metric: 'PromQL', name: 'queue', query: 'x', max: '5' } as const;
const gave = (...values: readonly number[]): QueryAnswer => ({
  kind: 'values',
  values: values.map((value, index) => ({ interval: index + 1, value })),
});
const judged = (answer: QueryAnswer | undefined, bounds: { max?: string; min?: string } = { max: '5' }) => {
  const { max: _, ...rest } = gate;
  return judgeQuery({ ...rest, ...bounds }, 'PromQL queue at most 5', answer, { first: 1, last: 8 });
};

describe('a gate of a query', () => {
  test.each<[string, QueryAnswer | undefined, string]>([
    ['nothing is known yet', undefined, 'Inconclusive'],
    ['beyond its bound four times in succession', gave(1, 6, 7, 8, 9, 1), 'Failed'],
    ['at its bound', gave(5, 5, 5, 5), 'Passed'],
    ['beyond its bound now and then', gave(6, 7, 8, 1, 6, 7, 8, 1), 'Inconclusive'],
    ['beyond its bound once, and well since', gave(9, 1, 2, 3, 4), 'Passed'],
    ['within, not often enough', gave(1, 2, 3), 'Inconclusive'],
    ['without a number in between', gave(6, Number.NaN, 6, Number.NaN, 6, 6), 'Failed'],
    ['infinite', gave(...Array<number>(4).fill(Number.POSITIVE_INFINITY)), 'Failed'],
  ])('%s', (_, answer, verdict) => {
    expect(judged(answer).verdict).toBe(verdict);
  });

  test('with a lower bound', () => {
    expect(judged(gave(0, 0, 0, 0), { min: '0.5' }).verdict).toBe('Failed');
    expect(judged(gave(1, 1, 1, 1), { min: '0.5' }).verdict).toBe('Passed');
  });

  test('looks at the step alone', () => {
    const before = { kind: 'values' as const, values: [-3, -2, -1, 0].map((interval) => ({ interval, value: 9 })) };
    expect(judged(before)).toMatchObject({ verdict: 'Inconclusive', message: 'the query gives no number' });
  });

  test('passes nothing by numbers that are gone', () => {
    const long = judgeQuery(gate, 'words', gave(1, 1, 1, 1), { first: 1, last: 9 });
    expect(long).toMatchObject({ verdict: 'Inconclusive', message: 'the query gives no number any more' });
    expect(judgeQuery(gate, 'words', gave(1, 1, 1, 1), { first: 1, last: 8 }).verdict).toBe('Passed');
  });

  test('tells the newest number, and why there is none', () => {
    expect(judged(gave(1, 2.123456))).toMatchObject({ value: '2.123', requests: 2 });
    expect(judged({ kind: 'failed', why: 'parse error' })).toMatchObject({ requests: 0, message: 'parse error' });
    expect(judged(gave(Number.NaN))).toMatchObject({ message: 'the query gives no number' });
  });
});

test('names stand for what they say, and nothing else is changed', () => {
  const names = { namespace: 'models', name: 'iris', revision: 'iris-b', stableRevision: 'iris-a', interval: '15s' };
  expect(
    filledQuery('rate(x{namespace="$namespace",pod=~"$name-canary-.*|a$",r!="$revision"}[$interval]) > $other', names),
  ).toBe('rate(x{namespace="models",pod=~"iris-canary-.*|a$",r!="iris-b"}[15s]) > $other');
});
