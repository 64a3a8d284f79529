import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Member, UnderWay } from './under-way.ts';

test('whatever is added and removed, in any order, what is left is there', () => {
  const changes = fc.array(fc.record({ isAdded: fc.boolean(), which: fc.nat() }), { maxLength: 200 });
  fc.assert(
    fc.property(changes, (steps) => {
      const underWay = new UnderWay<number>();
      const expected = new Map<number, Member<number>>();
      for (const [step, { isAdded, which }] of steps.entries()) {
        const left = [...expected];
        const [value, member] = left[which % Math.max(1, left.length)] ?? [];
        if (isAdded || value === undefined || member === undefined) expected.set(step, underWay.add(step));
        else {
          expect(underWay.remove(member)).toBe(true);
          expect(underWay.remove(member)).toBe(false);
          expected.delete(value);
        }
        expect(underWay.size).toBe(expected.size);
        expect(underWay.values.toSorted((a, b) => a - b)).toEqual([...expected.keys()]);
      }
    }),
  );
});
