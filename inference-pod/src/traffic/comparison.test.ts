import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { pino } from 'pino';
import { nothingPassedOn } from '../../../contract/src/traffic.ts';
import { Comparison } from './comparison.ts';
import { ComparisonBudget } from './comparison-budget.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

test('a client that never takes its answer keeps no place, and the canary is not asked for it', async () => {
  const asked = jest.fn<() => Promise<never>>();
  const onEnd = jest.fn();
  const share = { revision: 'b', version: '2', percent: 0, pods: [], mirror: { percent: 100, outputs: [] } };
  const request = { path: '/', headers: {}, body: Buffer.alloc(0) };
  const counts = { ...nothingPassedOn };
  const comparison = new Comparison(
    request,
    share,
    asked,
    counts,
    new ComparisonBudget(
      () => 0,
      () => 0,
    ),
    onEnd,
  );
  const own = { over: 'grpc', body: Buffer.alloc(0), headerLength: undefined } as const;
  const signature = { inputs: [], outputs: [] };
  const ended = comparison.with(own, signature, pino({ level: 'silent' }), new Promise(() => undefined));
  await jest.advanceTimersByTimeAsync(9999);
  expect(onEnd).not.toHaveBeenCalled();
  await jest.advanceTimersByTimeAsync(1);
  await ended;
  expect(onEnd).toHaveBeenCalledTimes(1);
  expect([asked.mock.calls.length, counts.compared]).toEqual([0, 0]);
});
