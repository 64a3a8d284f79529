import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TrafficSplit } from './traffic-split.ts';

const seeded = (seed: number) => {
  let state = seed;
  return () => {
    // mulberry32 of T. Ettinger.
    state = (state + 0x6d2b79f5) | 0;
    const mixed = Math.imul(state ^ (state >>> 15), state | 1);
    const stirred = mixed ^ (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61));
    return ((stirred ^ (stirred >>> 14)) >>> 0) / 2 ** 32;
  };
};

describe('the share of requests that are passed on', () => {
  test('is off by at most one request, at any time and at every percentage', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 1, max: 2 ** 30 }), (percent, seed) => {
        const split = new TrafficSplit(seeded(seed));
        let passed = 0;
        for (let requests = 1; requests <= 1000; requests++) {
          if (split.next(percent)) passed++;
          expect(Math.abs(passed - (requests * percent) / 100)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  test('is that of each client, also of one whose requests come in a rhythm', () => {
    for (const [percent, rhythm] of [
      [1, 100],
      [5, 20],
      [50, 2],
      [70, 10],
      [95, 20],
    ] as const) {
      const split = new TrafficSplit(seeded(7));
      let passed = 0;
      const turns = 4000;
      for (let request = 0; request < turns * rhythm; request++) {
        if (split.next(percent) && request % rhythm === 0) passed++;
      }
      const share = percent / 100;
      const deviation = Math.sqrt((share * (1 - share)) / turns);
      // Blocks have whole lengths: at 70 % a client always falls into one of 3, or of 4.
      const rounding = 100 % Math.min(percent, 100 - percent) === 0 ? 0 : 0.06;
      expect(Math.abs(passed / turns - share)).toBeLessThan(rounding + 5 * deviation);
    }
  });

  test('begins anew when the percentage is another', () => {
    const split = new TrafficSplit(() => 0);
    expect([split.next(5), split.next(5), split.next(50), split.next(50), split.next(50)]).toEqual([
      true,
      false,
      true,
      false,
      true,
    ]);
  });
});
