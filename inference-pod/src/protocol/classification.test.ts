import { describe, expect, test } from '@jest/globals';
import { classify } from './classification.ts';
import type { Tensor } from './datatypes.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor => ({
  datatype: 'FP32',
  shape,
  data: Float32Array.from(values),
});

describe('classification', () => {
  test.each<[string, Tensor, number, readonly number[], readonly string[]]>([
    ['the highest first', floats([3], [0.5, 2, 1]), 2, [2], ['2.000000:1', '1.000000:2']],
    ['each row by itself', floats([2, 2], [1, 2, 4, 3]), 1, [2, 1], ['2.000000:1', '4.000000:0']],
    ['of equals the first', floats([3], [1, 1, 1]), 3, [3], ['1.000000:0', '1.000000:1', '1.000000:2']],
    ['NaN as the lowest', floats([2], [Number.NaN, -5]), 2, [2], ['-5.000000:1', 'nan:0']],
    ['no more than there are', floats([2], [1, 2]), 2 ** 53, [2], ['2.000000:1', '1.000000:0']],
    ['of a scalar', floats([], [7]), 1, [1], ['7.000000:0']],
    [
      'all digits of large integers',
      { datatype: 'INT64', shape: [2], data: BigInt64Array.of(2n ** 60n, 2n ** 60n + 1n) },
      1,
      [1],
      ['1152921504606846977:1'],
    ],
  ])('tells %s', (_name, tensor, most, shape, data) => {
    expect(classify('y', tensor, most)).toEqual({ datatype: 'BYTES', shape, data });
  });

  test('of a million values is told, of more refused', () => {
    const values = new Float32Array(1_000_001);
    const told = classify('y', { datatype: 'FP32', shape: [1000, 1000], data: values.subarray(1) }, 1);
    expect(told).toMatchObject({ shape: [1000, 1] });
    expect(told.data).toHaveLength(1000);
    for (const shape of [[1_000_001], [1_000_001, 1], [1, 1_000_001]]) {
      expect(() => classify('y', { datatype: 'FP32', shape, data: values }, 1)).toThrow(
        expect.objectContaining({ status: 400, message: expect.stringContaining('more than 1000000') }),
      );
    }
  });

  test('of rows that have no values takes no time, however many they are', () => {
    expect(classify('y', floats([2 ** 40, 0], []), 1)).toEqual({ datatype: 'BYTES', shape: [2 ** 40, 0], data: [] });
  });

  test.each<[string, Tensor]>([
    ['texts', { datatype: 'BYTES', shape: [1], data: ['a'] }],
    ['booleans', { datatype: 'BOOL', shape: [1], data: Uint8Array.of(1) }],
  ])('of %s is refused', (_name, tensor) => {
    expect(() => classify('y', tensor, 1)).toThrow(
      expect.objectContaining({ status: 400, message: expect.stringContaining('needs numbers') }),
    );
  });
});
