import { expect, test } from '@jest/globals';
import type { OutputComparison } from '../../../contract/src/traffic.ts';
import type { Datatype } from '../protocol/datatypes.ts';
import { agree } from './agreement.ts';

const answer = (datatype: Datatype, shape: readonly number[], data: readonly unknown[]) => ({
  over: 'http' as const,
  body: Buffer.from(JSON.stringify({ outputs: [{ name: 'y', datatype, shape, data }] })),
  headerLength: undefined,
});
const same = (
  datatype: Datatype,
  shape: readonly number[],
  a: unknown[],
  b: unknown[],
  compare: OutputComparison['compare'],
) =>
  agree(
    answer(datatype, shape, a),
    answer(datatype, shape, b),
    [{ name: 'y', compare }],
    { inputs: [], outputs: [{ name: 'y', datatype, shape }] },
    { mostTensorBytes: 1000 },
  );

test.each<[string, Datatype, number[], unknown[], unknown[], boolean]>([
  ['the same place', 'FP32', [1, 3], [1, 5, 2], [0, 9, 3], true],
  ['another place', 'FP32', [1, 3], [1, 5, 2], [9, 5, 2], false],
  ['another place in one row', 'FP32', [2, 2], [1, 2, 1, 2], [1, 2, 2, 1], false],
  ['halves, whose sign counts', 'FP16', [1, 2], [5, -1], [1, 5], false],
  ['halves below zero', 'FP16', [1, 3], [-3, -1, -2], [-9, -1, -3], true],
  ['whole numbers beyond doubles', 'INT64', [1, 2], [1, 2], [3, 1], false],
  ['one label', 'INT64', [1], [0], [2], false],
  ['the same label', 'INT64', [1], [2], [2], true],
  ['texts', 'BYTES', [1, 2], ['cat', 'dog'], ['dog', 'cat'], false],
  ['the same texts', 'BYTES', [1, 2], ['cat', 'dog'], ['cat', 'dog'], true],
])('Argmax of %s', (_, datatype, shape, a, b, isSame) => {
  expect(same(datatype, shape, a, b, 'Argmax')).toBe(isSame);
});

test('Argmax: no number is at no place', () => {
  const binary = (...values: readonly number[]) => {
    const data = Buffer.from(Float32Array.from(values).buffer);
    const head = JSON.stringify({
      outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 2], parameters: { binary_data_size: data.length } }],
    });
    return { over: 'http' as const, body: Buffer.concat([Buffer.from(head), data]), headerLength: head.length };
  };
  const compared = (a: ReturnType<typeof binary>, b: ReturnType<typeof binary>) =>
    agree(
      a,
      b,
      [{ name: 'y', compare: 'Argmax' }],
      { inputs: [], outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 2] }] },
      { mostTensorBytes: 1000 },
    );
  expect(compared(binary(9, 1), binary(Number.NaN, Number.NaN))).toBe(false);
  expect(compared(binary(9, 1), binary(Number.NaN, 100))).toBe(false);
  expect(compared(binary(Number.NaN, 1), binary(2, Number.NaN))).toBe(true);
});
