import { expect, test } from '@jest/globals';
import type { InputTensor } from '@slipway/handler';
import type { Datatype, TensorData } from '../protocol/datatypes.ts';
import { inputTensor, nestedJson, outputTensor } from './handler-tensors.ts';

const most = 1000;
const made = (datatype: Datatype, given: InputTensor) => inputTensor({ name: 'x', datatype, shape: [] }, given, most);

test.each<[Datatype, InputTensor, readonly number[], unknown]>([
  ['FP32', 5, [], Float32Array.of(5)],
  [
    'FP32',
    [
      [1, 2],
      [3, -0],
    ],
    [2, 2],
    Float32Array.of(1, 2, 3, -0),
  ],
  ['FP32', [Number.NaN, Number.POSITIVE_INFINITY], [2], Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY)],
  ['FP64', [1e300], [1], Float64Array.of(1e300)],
  ['FP16', [1.5, 65_504], [2], new Uint16Array(Float16Array.of(1.5, 65_504).buffer)],
  ['INT64', [1, 2n ** 63n - 1n], [2], BigInt64Array.of(1n, 2n ** 63n - 1n)],
  ['UINT64', { shape: [1], data: [2n ** 64n - 1n] }, [1], BigUint64Array.of(2n ** 64n - 1n)],
  ['BOOL', [true, 0], [2], Uint8Array.of(1, 0)],
  ['UINT8', { shape: [2, 1], data: Float64Array.of(0, 255) }, [2, 1], Uint8Array.of(0, 255)],
  ['BYTES', [['a', 'b']], [1, 2], ['a', 'b']],
  ['FP32', [[], []], [2, 0], new Float32Array(0)],
])('an input of %s is made of %j', (datatype, given, shape, data) => {
  expect(made(datatype, given)).toEqual({ datatype, shape, data });
});

test.each<[Datatype, InputTensor]>([
  ['FP32', [1e39]],
  ['FP16', [70_000]],
  ['FP64', [2n ** 2000n]],
  ['INT64', [1.5]],
  ['INT64', [2n ** 63n]],
  ['UINT64', [-1]],
  ['INT8', [128]],
  ['UINT8', [-1]],
  ['BOOL', [2]],
  ['BYTES', [1]],
  ['FP32', ['1']],
])('what %s does not have is refused', (datatype, given) => {
  expect(() => made(datatype, given)).toThrow(`which is no ${datatype}`);
});

test.each<[Datatype, readonly number[], TensorData, string]>([
  ['FP32', [1, 2], Float32Array.of(0.1, Number.NaN), '[[0.1,null]]'],
  ['FP16', [1], new Uint16Array(Float16Array.of(1.5).buffer), '[1.5]'],
  ['FP64', [], Float64Array.of(0.1), '0.1'],
  ['INT64', [1], BigInt64Array.of(9_007_199_254_740_993n), '[9007199254740993]'],
  ['UINT64', [], BigUint64Array.of(2n ** 64n - 1n), '18446744073709551615'],
  ['BOOL', [2], Uint8Array.of(1, 0), '[true,false]'],
  ['BYTES', [2, 1], ['a"', ''], '[["a\\""],[""]]'],
  ['INT32', [2, 0, 3], new Int32Array(0), '[[],[]]'],
  ['INT32', [2, 1, 2], Int32Array.of(1, 2, 3, 4), '[[[1,2]],[[3,4]]]'],
])('an output of %s %j is told in JSON', (datatype, shape, data, json) => {
  expect(nestedJson(outputTensor({ datatype, shape, data }))).toBe(json);
});
