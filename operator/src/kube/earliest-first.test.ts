import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EarliestFirst } from './earliest-first.ts';

test('values come out by their due time, whatever was added and removed before', () => {
  const step = fc.oneof(fc.record({ add: fc.integer({ min: 0, max: 50 }) }), fc.constant('remove' as const));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const heap = new EarliestFirst<string>();
      let expected: number[] = [];
      for (const next of steps) {
        if (next === 'remove') {
          heap.removeFirst();
          expected = expected.slice(1);
        } else {
          heap.add(next.add, `due ${next.add}`);
          expected = [...expected, next.add].toSorted((a, b) => a - b);
        }
        const due = expected[0];
        expect(heap.first).toEqual(due === undefined ? undefined : { due, value: `due ${due}` });
      }
    }),
  );
});
