import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Clock, WorkQueue } from './queue.ts';

/** A clock that stands still until it is moved. */
class ManualClock implements Clock {
  #now = 0;
  #calls: { due: number; call: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  schedule(milliseconds: number, call: () => void): () => void {
    const entry = { due: this.#now + milliseconds, call };
    this.#calls.push(entry);
    return () => {
      this.#calls = this.#calls.filter((other) => other !== entry);
    };
  }

  advance(milliseconds: number): void {
    const until = this.#now + milliseconds;
    for (;;) {
      const next = this.#calls.toSorted((a, b) => a.due - b.due)[0];
      if (next === undefined || next.due > until) break;
      this.#calls = this.#calls.filter((other) => other !== next);
      this.#now = next.due;
      next.call();
    }
    this.#now = until;
  }
}

function setUp() {
  const clock = new ManualClock();
  const queue = new WorkQueue(clock, () => 1);
  const taken: string[] = [];
  const take = async () => {
    const key = await queue.take();
    if (key !== undefined) taken.push(key);
  };
  const flush = () => new Promise((resolve) => setImmediate(resolve));
  return { clock, queue, taken, take, flush };
}

describe('a work queue', () => {
  test('holds a key once, however often it is added', async () => {
    const { queue, taken, take, flush } = setUp();
    queue.add('a');
    queue.add('a');
    expect(queue.depth).toBe(1);
    void take();
    void take();
    await flush();
    expect(taken).toEqual(['a']);
  });

  test('keeps the earliest due time of a key', async () => {
    const { clock, queue, taken, take, flush } = setUp();
    queue.add('a', { afterMilliseconds: 100 });
    queue.add('a', { afterMilliseconds: 10 });
    queue.add('a', { afterMilliseconds: 1000 });
    void take();
    clock.advance(9);
    await flush();
    expect(taken).toEqual([]);
    clock.advance(1);
    await flush();
    expect(taken).toEqual(['a']);
  });

  test('gives what a user did before what is only looked at again', async () => {
    const { queue, taken, take, flush } = setUp();
    queue.add('resync-1', { priority: 'low' });
    queue.add('resync-2', { priority: 'low' });
    queue.add('edit');
    queue.add('resync-2');
    for (let i = 0; i < 3; i++) void take();
    await flush();
    expect(taken).toEqual(['edit', 'resync-2', 'resync-1']);
  });

  test('lets nobody wait for ever, however much a user does', async () => {
    const { queue } = setUp();
    queue.add('looked at', { priority: 'low' });
    for (let key = 0; key < 20; key++) queue.add(`changed ${key}`);
    const order: (string | undefined)[] = [];
    for (let turn = 0; turn < 10; turn++) order.push(await queue.take());
    expect(order).toContain('looked at');
  });

  test('never gives a key that is being worked on, and gives it again once that is done', async () => {
    const { queue, taken, take, flush } = setUp();
    queue.add('a');
    void take();
    await flush();
    queue.add('a');
    void take();
    await flush();
    expect(taken).toEqual(['a']);
    queue.done('a');
    await flush();
    expect(taken).toEqual(['a', 'a']);
  });

  test('waits twice as long after each failure in a row, a minute at most, and forgets them after a success', async () => {
    const { clock, queue, taken, take, flush } = setUp();
    const waitAfterFailure = async () => {
      queue.addFailed('a');
      void take();
      const before = taken.length;
      let waited = 0;
      while (taken.length === before) {
        clock.advance(50);
        waited += 50;
        await flush();
      }
      queue.done('a');
      return waited;
    };
    const waits: number[] = [];
    for (let i = 0; i < 13; i++) waits.push(await waitAfterFailure());
    expect(waits.slice(0, 5)).toEqual([50, 100, 200, 400, 800]);
    expect(waits.at(-1)).toBe(60_000);
    queue.forget('a');
    expect(await waitAfterFailure()).toBe(50);
  });

  test('ends every taker when it is closed', async () => {
    const { queue } = setUp();
    const waiting = [queue.take(), queue.take()];
    queue.close();
    expect(await Promise.all(waiting)).toEqual([undefined, undefined]);
    expect(await queue.take()).toBeUndefined();
  });

  test('loses no key and never gives one twice at once, whatever is done to it', async () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), key: fc.constantFrom('a', 'b', 'c'), after: fc.nat(50) }),
      fc.record({ kind: fc.constant('fail' as const), key: fc.constantFrom('a', 'b', 'c') }),
      fc.record({ kind: fc.constant('finish' as const) }),
      fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.nat(100) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const { clock, queue, flush } = setUp();
        const active = new Set<string>();
        const owed = new Set<string>();
        const worker = async () => {
          for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
            expect(active.has(key)).toBe(false);
            active.add(key);
            owed.delete(key);
          }
        };
        const workers = [worker(), worker()];
        const finishAll = () => {
          for (const key of active) {
            active.delete(key);
            queue.done(key);
          }
        };
        for (const step of actions) {
          if (step.kind === 'add') {
            owed.add(step.key);
            queue.add(step.key, { afterMilliseconds: step.after });
          } else if (step.kind === 'fail') {
            owed.add(step.key);
            queue.addFailed(step.key);
          } else if (step.kind === 'wait') clock.advance(step.milliseconds);
          else finishAll();
          await flush();
        }
        for (let round = 0; round < 10; round++) {
          finishAll();
          clock.advance(60_000);
          await flush();
        }
        queue.close();
        await Promise.all(workers);
        expect([...owed]).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});
