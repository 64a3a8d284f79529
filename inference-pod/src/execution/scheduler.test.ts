import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { pino } from 'pino';
import type { InferenceCall } from '../protocol/wires.ts';
import type { BatchingSettings } from './batching.ts';
import { type Deadline, DeadlinePassed } from './deadline.ts';
import { Scheduler } from './scheduler.ts';

let directory: string;
let path: string;
let whole: AbortController;
let logs: Readonly<Record<string, unknown>>[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-test-'));
  path = join(directory, 'model.onnx');
  whole = new AbortController();
  logs = [];
});
afterEach(async () => {
  jest.restoreAllMocks();
  whole.abort();
  await eventually(() => executors().length === 0);
  rmSync(directory, { recursive: true });
});

/** Puts a model of test/models where executors open it. */
function place(model: string): void {
  const beside = `${path}.next`;
  copyFileSync(join(import.meta.dirname, `../../test/models/${model}.onnx`), beside);
  renameSync(beside, path);
}

function start(model: string, maxInFlight = 100, batching?: BatchingSettings): Promise<Scheduler> {
  place(model);
  return Scheduler.start({
    settings: {
      path,
      threads: 1,
      model: { name: 'm', version: '1' },
      limits: { mostTensorBytes: 2 ** 24, mostAnswerBytes: 2 ** 24 },
      mostRows: batching?.maxSize ?? 1,
    },
    batching,
    instances: 1,
    maxInFlight,
    requestTimeoutMilliseconds: 30_000,
    log: pino({ base: null }, { write: (line: string) => logs.push(JSON.parse(line)) }),
    signal: whole.signal,
    onHopeless: () => undefined,
  });
}

/** The processes that run a model for this one. */
function executors(): readonly number[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);
  return children.map(Number).filter((child) => commandOf(child).includes('executor-process'));
}

function commandOf(child: number): string {
  try {
    return readFileSync(`/proc/${child}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

async function eventually<T>(read: () => T | undefined | false): Promise<T> {
  for (;;) {
    const value = read();
    if (value !== undefined && value !== false) return value;
    await sleep(20);
  }
}

function call(name: string, data: number | readonly number[], length = 0): InferenceCall {
  const shape = typeof data === 'number' ? [] : [data.length];
  const inputs = [{ name, datatype: 'INT64', shape, data: [data].flat() }];
  return {
    wire: 'open-inference',
    body: Buffer.from(JSON.stringify({ inputs }).padEnd(length, ' ')),
    headerLength: undefined,
  };
}

function within(milliseconds: number): Deadline {
  return { at: performance.now() + milliseconds, milliseconds };
}

const isWanted = () => false;
const withoutEnd = 1_000_000_000;

test('how long a call waits is told by what executors need, however late this thread hears of it', async () => {
  const scheduler = await start('slow', 200);
  const first = scheduler.infer(call('times', 1), within(30_000), isWanted);
  // It has other things to do while the answer comes.
  for (const end = performance.now() + 800; performance.now() < end; );
  await first;
  const many = Array.from({ length: 150 }, () => scheduler.infer(call('times', 1), within(30_000), isWanted));
  expect((await Promise.all(many)).every((answer) => answer?.kind === 'answered')).toBe(true);
});

test('calls that are run together share the time that they take: who would come too late is told so at once', async () => {
  const maxSize = 8;
  const scheduler = await start('slow-rows', 200, { maxSize, maxDelayMilliseconds: 20 });
  const rows = (count: number) =>
    Array.from({ length: count }, () => scheduler.infer(call('times', [60]), within(60_000), isWanted));
  const begin = performance.now();
  await Promise.all(rows(4 * maxSize));
  const milliseconds = (performance.now() - begin) / 4;
  const many = Promise.all(rows(12 * maxSize));
  expect(() => scheduler.infer(call('times', [60]), within(3 * milliseconds), isWanted)).toThrow('the server is busy');
  expect((await many).every((answer) => answer?.kind === 'answered')).toBe(true);
});

describe('calls that come too late', () => {
  test('leave their places to others', async () => {
    const scheduler = await start('slow', 4);
    // One is computed without end, and one is sent ahead.
    for (const times of [withoutEnd, 1]) void scheduler.infer(call('times', times), within(60_000), isWanted);
    for (let round = 0; round < 3; round++) {
      const late = [1, 1].map((times) => scheduler.infer(call('times', times), within(100), isWanted));
      expect(() => scheduler.infer(call('times', 1), within(100), isWanted)).toThrow('too many requests');
      for (const each of late) await expect(each).rejects.toThrow(DeadlinePassed);
      expect(scheduler.inFlight).toBe(2);
    }
  });

  test('hold no memory until their turn would have come', async () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const scheduler = await start('slow');
    for (const times of [withoutEnd, 1]) void scheduler.infer(call('times', times), within(60_000), isWanted);
    const sent = (): { readonly body: WeakRef<Buffer>; readonly answer: Promise<unknown> } => {
      const late = call('times', 1, 2 ** 20);
      return { body: new WeakRef(late.body), answer: scheduler.infer(late, within(100), isWanted) };
    };
    const late = Array.from({ length: 8 }, sent);
    for (const { answer } of late) await expect(answer).rejects.toThrow(DeadlinePassed);
    await eventually(() => {
      collect();
      return late.every(({ body }) => body.deref() === undefined);
    });
  });
});

describe('an executor that is started anew', () => {
  const ask = async (scheduler: Scheduler) =>
    (await scheduler.infer(call('id', [1]), within(30_000), isWanted))?.kind ?? 'abandoned';
  const kill = (scheduler: Scheduler) => {
    for (const executor of executors()) process.kill(executor, 'SIGKILL');
    return eventually(() => !scheduler.isAble);
  };

  test('is killed when it does not get its model loaded, and started once more', async () => {
    const scheduler = await start('gather');
    const limits: number[] = [];
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    jest.spyOn(AbortSignal, 'timeout').mockImplementation((milliseconds) => {
      limits.push(milliseconds);
      // The first that is started anew finds a model that takes half a minute to warm up.
      place(limits.length === 1 ? 'slow-start' : 'gather');
      return timeout(limits.length === 1 ? 1500 : milliseconds);
    });
    await kill(scheduler);
    expect(await ask(scheduler)).toBe('answered');
    expect(limits).toHaveLength(2);
    for (const limit of limits) expect(limit).toBeGreaterThanOrEqual(60_000);
    expect(executors()).toHaveLength(1);
    expect(logs).toContainEqual(expect.objectContaining({ how: expect.stringContaining('timeout'), ends: 2 }));
  });

  test('lives on when the time is up that its load could have taken', async () => {
    const scheduler = await start('gather');
    const limit = new AbortController();
    jest.spyOn(AbortSignal, 'timeout').mockReturnValue(limit.signal);
    await kill(scheduler);
    expect(await ask(scheduler)).toBe('answered');
    const before = executors();
    limit.abort();
    await sleep(500);
    expect(executors()).toEqual(before);
    expect(await ask(scheduler)).toBe('answered');
    expect(scheduler.restarts).toBe(1);
  });
});
