import { describe, expect, test } from '@jest/globals';
import type { PodFigures } from '../../../contract/src/link.ts';
import { nothingPassedOn, type PassedOn } from '../../../contract/src/traffic.ts';
import { Recording } from './recording.ts';

const figures = (requests: number, passedOn: Partial<PassedOn> = {}, buckets: number[] = []): PodFigures => ({
  revision: 'iris-a',
  model: undefined,
  measures: { counters: { requests, refused: 0, failed: 0, abandoned: 0 }, latency: { buckets, sum: 0 } },
  passedOn: { ...nothingPassedOn, revision: 'iris-b', ...passedOn },
  table: undefined,
});
const requestsOf = (recording: Recording) =>
  recording.series.map(({ intervals }) => intervals.map(({ interval, requests }) => [interval, requests]));

describe('what pods count', () => {
  test('is kept as differences, by intervals', () => {
    const recording = new Recording(10, false, 0);
    recording.tell('a', 'n', figures(100), 5000);
    recording.tell('a', 'n', figures(103), 9000);
    recording.tell('a', 'n', figures(110), 9900);
    recording.tell('a', 'n', figures(111), 12_000);
    // What was counted before it was first heard of belongs to no interval.
    expect(requestsOf(recording)).toEqual([
      [
        [0, 10],
        [1, 1],
      ],
    ]);
  });

  test('begins anew with each life of a pod, and with each canary', () => {
    const recording = new Recording(10, false, 0);
    recording.tell('a', 'n', figures(100, { requests: 50, failed: 5 }), 0);
    recording.tell('a', 'other', figures(7, { requests: 3, failed: 1 }), 1000);
    recording.tell('a', 'other', figures(8, { revision: 'iris-c', requests: 2 }), 2000);
    expect(recording.series[0]?.intervals).toEqual([
      expect.objectContaining({ interval: 0, requests: 8, passedOn: 5, passedOnFailed: 1 }),
    ]);
  });

  test('of idle pods, and what is older than eight days, is not kept', () => {
    const recording = new Recording(10, false, 0);
    recording.tell('a', 'n', figures(0), 0);
    recording.tell('a', 'n', figures(1), 1000);
    for (let now = 10_000; now < 100_000; now += 10_000) recording.tell('a', 'n', figures(1), now);
    expect(requestsOf(recording)).toEqual([[[0, 1]]]);
    recording.tell('a', 'n', figures(2), 700_000_000);
    expect(requestsOf(recording)).toEqual([[[70_000, 1]]]);
  });

  test('of busy pods only the newest intervals are kept', () => {
    const recording = new Recording(10, false, 0);
    for (let tell = 0; tell <= 1000; tell++) recording.tell('a', 'n', figures(tell), tell * 10_000);
    const [intervals] = requestsOf(recording);
    expect([intervals?.length, intervals?.[0]]).toEqual([480, [521, 1]]);
  });

  test('has latencies where they are asked for', () => {
    const recording = new Recording(10, true, 0);
    recording.tell('a', 'n', figures(1, {}, [1]), 0);
    recording.tell('a', 'n', figures(3, {}, [1, 2]), 1000);
    recording.tell('a', 'n', figures(4, {}, [2, 2]), 2000);
    expect(recording.series[0]?.intervals[0]?.buckets).toEqual({ first: 0, counts: [1, 2] });
    const without = new Recording(10, false, 0);
    without.tell('a', 'n', figures(1, {}, [1]), 0);
    without.tell('a', 'n', figures(3, {}, [1, 2]), 1000);
    expect(without.series[0]?.intervals[0]?.buckets).toEqual({ first: 0, counts: [] });
  });

  test('stays when a pod is gone, until it is old', () => {
    const recording = new Recording(10, false, 0);
    recording.tell('a', 'n', figures(0), 0);
    recording.tell('a', 'n', figures(1), 1000);
    recording.end('a');
    expect(requestsOf(recording)).toEqual([[[0, 1]]]);
    // Another pod tells when it is.
    recording.tell('b', 'n', figures(0), 7_100_000);
    recording.tell('b', 'n', figures(0), 7_150_000);
    expect(requestsOf(recording)).toEqual([[], [[0, 1]]]);
    recording.tell('b', 'n', figures(0), 700_000_000);
    expect(recording.series.map(({ pod }) => pod)).toEqual(['b']);
  });

  test('of pods that are gone is one', () => {
    const recording = new Recording(10, false, 0);
    for (let pod = 0; pod < 100; pod++) {
      recording.tell(`pod-${pod}`, 'n', figures(0), pod * 10_000);
      recording.tell(`pod-${pod}`, 'n', figures(2), pod * 10_000 + 5000);
      recording.tell(`pod-${pod}`, 'n', figures(3), pod * 10_000 + 10_000);
      recording.end(`pod-${pod}`);
    }
    const [gone, ...others] = recording.series;
    expect(others).toEqual([]);
    expect(gone).toMatchObject({ revision: 'iris-a' });
    expect(gone?.intervals.slice(0, 3).map(({ interval, requests }) => [interval, requests])).toEqual([
      [0, 2],
      [1, 3],
      [2, 3],
    ]);
  });
});
