import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { ReusableMemory } from './reusable-memory.ts';

const kilobytes = 1024;

describe('reusable memory', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  test('is given out again where it fits, and to one at a time', () => {
    const memory = new ReusableMemory();
    const first = memory.take(100 * kilobytes);
    memory.give(first);
    expect(memory.take(90 * kilobytes)).toBe(first);
    expect(memory.take(90 * kilobytes)).not.toBe(first);
    memory.give(first);
    // Of what is too large most would lie unused.
    expect(memory.take(40 * kilobytes)).not.toBe(first);
    expect(memory.take(101 * kilobytes).byteLength).toBeGreaterThanOrEqual(101 * kilobytes);
  });

  test('is never more than was in use at the same time', () => {
    const memory = new ReusableMemory();
    const small = Array.from({ length: 10 }, () => memory.take(100 * kilobytes));
    for (const piece of small) memory.give(piece);
    expect(memory.kept).toBe(1000 * kilobytes);
    memory.take(500 * kilobytes);
    expect(memory.kept).toBe(500 * kilobytes);
    memory.take(5000 * kilobytes);
    expect(memory.kept).toBe(0);
  });

  test('is not kept when it is small, or very large', () => {
    const memory = new ReusableMemory();
    memory.give(memory.take(10 * kilobytes));
    memory.give(memory.take(9000 * kilobytes));
    expect(memory.kept).toBe(0);
  });

  test('is given back by its own age, whatever else is used meanwhile', () => {
    const memory = new ReusableMemory();
    const large = memory.take(6000 * kilobytes);
    memory.give(large);
    for (let time = 0; time < 12; time++) {
      memory.give(memory.take(80 * kilobytes));
      jest.advanceTimersByTime(1000);
    }
    expect(memory.kept).toBe(80 * kilobytes);
  });

  test('is given back to the machine when nobody has wanted it for a while', () => {
    const memory = new ReusableMemory();
    for (let time = 0; time < 3; time++) {
      memory.give(memory.take(100 * kilobytes));
      jest.advanceTimersByTime(9000);
      expect(memory.kept).toBe(100 * kilobytes);
    }
    jest.advanceTimersByTime(2000);
    expect(memory.kept).toBe(0);
    memory.give(memory.take(100 * kilobytes));
    jest.advanceTimersByTime(11_000);
    expect(memory.kept).toBe(0);
  });
});
