import { expect, test } from '@jest/globals';
import type { ModelSession } from '../model/session.ts';
import type { Signature, Tensor } from '../protocol/datatypes.ts';
import { decideBatching, inWords, measureBatchGain } from './batch-gain.ts';

const signature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
};

/** A model that blocks for so long, and answers with so many rows. */
function session(milliseconds: (rows: number) => number, rowsOf = (rows: number) => rows): ModelSession {
  return {
    signature,
    omittedOutputs: [],
    async run(inputs: ReadonlyMap<string, Tensor>) {
      const rows = inputs.get('x')?.shape[0] ?? 0;
      const end = performance.now() + milliseconds(rows);
      while (performance.now() < end);
      return new Map([['y', { datatype: 'FP32', shape: [rowsOf(rows)], data: new Float32Array(rowsOf(rows)) }]]);
    },
  } satisfies ModelSession;
}

test('a model that takes as long for sixteen rows as for one gains', async () => {
  const gain = await measureBatchGain(
    session(() => 5),
    64,
  );
  expect(gain).toBeGreaterThan(4);
  expect(decideBatching(true, gain)).toMatchObject({ kind: 'on' });
});

test('a model that takes its time for each row gains nothing', async () => {
  const gain = await measureBatchGain(
    session((rows) => 2 * rows),
    8,
  );
  expect(gain).toBeLessThan(1.6);
  expect(decideBatching(true, 0.9)).toEqual({
    kind: 'off',
    reason: 'it does not help: rows that are run together take 1.11 times as long each as alone',
  });
});

test('a model that answers with other rows, or refuses several, is never given several', async () => {
  expect(
    await measureBatchGain(
      session(
        () => 0,
        () => 1,
      ),
      8,
    ),
  ).toBeUndefined();
  const refusing = session((rows) => {
    if (rows > 1) throw new Error('one at a time');
    return 0;
  });
  expect(await measureBatchGain(refusing, 8)).toBeUndefined();
  expect(inWords(decideBatching(true, undefined))).toContain('off: the model does not answer several rows');
  expect(inWords(decideBatching(false, undefined))).toContain('off: the model cannot be given several requests');
  expect(inWords(decideBatching(true, 7.94))).toBe('on: together, 7.9 times as many rows a second');
});
