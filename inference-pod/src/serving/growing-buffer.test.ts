import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { GrowingBuffer } from './growing-buffer.ts';

test('whatever comes and is taken out, in pieces of any size, each byte is there once and stays as it was', () => {
  const step = fc.record({
    add: fc.nat(200_000),
    expected: fc.nat(300_000),
    take: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const buffer = new GrowingBuffer();
      const taken: Buffer[] = [];
      let [next, expected] = [0, 0];
      for (const { add, expected: room, take } of steps) {
        buffer.expect(room);
        buffer.add(Buffer.from(Uint8Array.from({ length: add }, () => next++ % 251)));
        const bytes = Math.floor(take * buffer.length);
        taken.push(buffer.take(bytes));
        expected += bytes;
      }
      taken.push(buffer.take(buffer.length));
      expect(buffer.length).toBe(0);
      const all = Buffer.concat(taken);
      expect(all.length).toBe(next);
      expect(expected).toBeLessThanOrEqual(next);
      expect(all.findIndex((byte, index) => byte !== index % 251)).toBe(-1);
    }),
    { numRuns: 50 },
  );
});
