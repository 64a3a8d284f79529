import { describe, expect, test } from '@jest/globals';
import { Transfers } from './transfers.ts';

function setUp() {
  const clock = { now: 0 };
  const limits = { mostBytes: 1000, leastBytesPerSecond: 100, graceMilliseconds: 10_000 };
  const transfers = new Transfers(limits, () => clock.now);
  const ended: string[] = [];
  const begin = (name: string, expected?: number) =>
    transfers.begin((reason) => ended.push(`${name} ${reason}`), expected);
  return { clock, transfers, ended, begin };
}

describe('transfers', () => {
  test('hold no more than the budget together, and nothing once they have ended', () => {
    const { transfers, begin } = setUp();
    const [a, b] = [begin('a'), begin('b')];
    expect([a.reserve(600), b.reserve(400), b.reserve(1)]).toEqual([true, true, false]);
    a.end();
    a.end();
    expect(transfers.bytes).toBe(400);
    // What comes for one that has ended is not counted, for nobody would give it back.
    expect(a.reserve(10)).toBe(false);
    expect(transfers.bytes).toBe(400);
  });

  test('the slowest makes room for one that is quicker, but not for one that is slower', () => {
    const { clock, begin, ended } = setUp();
    const slow = begin('slow');
    slow.reserve(500);
    clock.now = 2000;
    const quick = begin('quick');
    quick.reserve(500);
    expect(quick.reserve(100)).toBe(true);
    expect(ended).toEqual(['slow full']);
    clock.now = 4000;
    const other = begin('other');
    other.reserve(400);
    clock.now = 60_000;
    expect(other.reserve(100)).toBe(false);
  });

  test('one that is whole is neither too slow nor in the way, until its end', () => {
    const { clock, transfers, begin, ended } = setUp();
    const whole = begin('whole');
    whole.reserve(1000);
    whole.settle();
    clock.now = 100_000;
    transfers.sweep();
    expect(begin('next').reserve(1)).toBe(false);
    expect(ended).toEqual([]);
    whole.end();
    expect(transfers.bytes).toBe(0);
  });

  test('below the minimum rate they are ended, after a time of grace', () => {
    const { clock, transfers, begin, ended } = setUp();
    begin('small').reserve(1);
    begin('large', 2000);
    clock.now = 10_000;
    transfers.sweep();
    expect(ended).toEqual([]);
    clock.now = 11_000;
    transfers.sweep();
    expect(ended).toEqual(['small slow']);
    clock.now = 31_000;
    transfers.sweep();
    expect(ended).toEqual(['small slow', 'large slow']);
    expect(transfers.bytes).toBe(0);
  });
});
