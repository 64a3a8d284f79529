import TestSequencer from '@jest/test-sequencer';

/** Runs what looks back at all other tests after them. */
export default class TestsInOrder extends TestSequencer {
  sort(tests) {
    const isLast = ({ path }) => path.endsWith('rights.test.ts');
    const sorted = super.sort(tests);
    return [...sorted.filter((test) => !isLast(test)), ...sorted.filter(isLast)];
  }
}
