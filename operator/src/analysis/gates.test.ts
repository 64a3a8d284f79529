import { describe, expect, test } from '@jest/globals';
import { bucketOf, mostBuckets } from '../../../contract/src/histogram.ts';
import type { Gate } from '../api/model-deployment.ts';
import { judge, type StepFigures } from './gates.ts';
import { type Buckets, bucketsOf, type IntervalCounts, noBuckets, type PodSeries } from './pod-series.ts';

const nothing = { requests: 0, failed: 0, passedOn: 0, passedOnFailed: 0, saturated: 0, compared: 0, differing: 0 };
const settings = { alpha: 0.01, minRequests: 100 };
/** Counts of a pod in intervals from 1 on. */
const series = (revision: string, intervals: number, counts: Partial<IntervalCounts>): PodSeries => ({
  pod: revision,
  revision,
  passedOnTo: '',
  intervals: Array.from({ length: intervals }, (_, index) => ({
    ...nothing,
    buckets: noBuckets,
    ...counts,
    interval: index + 1,
  })),
});
const figures = (
  intervals: number,
  stable: Partial<IntervalCounts>,
  canary: Partial<IntervalCounts> = {},
): StepFigures => ({
  stable: [series('a', intervals, stable)],
  canary: [series('b', intervals, canary)],
  step: { first: 1, last: intervals },
  history: { first: 1, last: intervals },
  forgotten: 0,
  isPassedOn: true,
  queries: new Map(),
});
/** A histogram with so many values in the bucket of a latency. */
const histogram = (...values: readonly (readonly [seconds: number, count: number])[]) => {
  const buckets = Array<number>(mostBuckets).fill(0);
  for (const [seconds, count] of values) buckets[bucketOf(seconds)] = count;
  return bucketsOf(buckets);
};
const verdict = (gate: Gate, known: StepFigures) => {
  const { measurement, isPassable } = judge(gate, known, settings);
  return [measurement.verdict, isPassable];
};

describe('ErrorRate', () => {
  const gate = { metric: 'ErrorRate', max: '1%' } as const;

  test.each<[string, StepFigures, string, boolean]>([
    ['nothing was counted', figures(10, {}), 'Inconclusive', false],
    ['all is well', figures(40, { passedOn: 100 }), 'Passed', true],
    [
      'ten times as many fail as may, beside a history that makes little of it',
      {
        ...figures(40, { passedOn: 100, passedOnFailed: 10 }),
        stable: [
          {
            ...series('a', 40, { passedOn: 100, passedOnFailed: 10, requests: 100 }),
            intervals: series('a', 40, { passedOn: 100, passedOnFailed: 10, requests: 100 }).intervals.map((counts) =>
              counts.interval === 3 ? { ...counts, failed: 100 } : counts,
            ),
          },
        ],
      },
      'Inconclusive',
      false,
    ],
    ['all fails', figures(10, { passedOn: 100, passedOnFailed: 100 }), 'Failed', false],
    ['all fails, in too few intervals', figures(3, { passedOn: 100, passedOnFailed: 100 }), 'Inconclusive', false],
    ['nothing speaks against it, in requests enough', figures(10, { passedOn: 20 }), 'Inconclusive', true],
    ['nothing speaks against it, in too few requests', figures(9, { passedOn: 11 }), 'Inconclusive', false],
    [
      'something speaks against it, and not enough',
      figures(10, { passedOn: 15, passedOnFailed: 0.6 }),
      'Inconclusive',
      false,
    ],
  ])('%s', (_, known, wanted, isPassable) => {
    expect(verdict(gate, known)).toEqual([wanted, isPassable]);
  });

  test('tells what it has found, with the interval that it is surely in', () => {
    const { measurement } = judge(gate, figures(40, { passedOn: 100, passedOnFailed: 2 }), settings);
    expect(measurement).toMatchObject({ gate: 'ErrorRate at most 1%', requests: 4000, value: '2%' });
    expect(Number(measurement.lower?.slice(0, -1))).toBeGreaterThan(0.9);
    expect(Number(measurement.upper?.slice(0, -1))).toBeLessThan(4);
  });
});

describe('Latency', () => {
  const gate = { metric: 'Latency', percentile: 90, maxMilliseconds: 100 } as const;

  test.each<[string, Buckets, string]>([
    ['all is quick', histogram([0.01, 100]), 'Passed'],
    ['all is slow', histogram([0.5, 100]), 'Failed'],
    ['a twentieth is slow', histogram([0.01, 95], [0.5, 5]), 'Passed'],
    ['a quarter is slow', histogram([0.01, 75], [0.5, 25]), 'Failed'],
    ['all is at the edge', histogram([0.1, 100]), 'Passed'],
  ])('%s', (_, buckets, wanted) => {
    expect(verdict(gate, figures(40, {}, { buckets }))[0]).toBe(wanted);
  });
});

describe('LatencyVersusStable', () => {
  const gate = { metric: 'LatencyVersusStable', percentile: 90, max: '150%' } as const;
  const stable = { buckets: histogram([0.02, 100]) };

  test.each<[string, Partial<IntervalCounts>, Partial<IntervalCounts>, string]>([
    ['as quick', stable, stable, 'Passed'],
    ['twice as slow', stable, { buckets: histogram([0.045, 100]) }, 'Failed'],
    ['nothing of stable', {}, stable, 'Inconclusive'],
    ['nothing of the canary', stable, {}, 'Inconclusive'],
    ['quicker', { buckets: histogram([1, 100]) }, stable, 'Passed'],
    ['beyond the largest bucket', stable, { buckets: histogram([1000, 100]) }, 'Failed'],
  ])('%s', (_, ofStable, ofCanary, wanted) => {
    expect(verdict(gate, figures(40, ofStable, ofCanary))[0]).toBe(wanted);
  });
});

test('Agreement counts answers that were compared', () => {
  const gate = { metric: 'Agreement', min: '90%' } as const;
  expect(verdict(gate, figures(40, { compared: 50, differing: 0 }))[0]).toBe('Passed');
  expect(verdict(gate, figures(40, { compared: 50, differing: 20 }))[0]).toBe('Failed');
  expect(verdict(gate, figures(40, { compared: 0 }))).toEqual(['Inconclusive', false]);
});
