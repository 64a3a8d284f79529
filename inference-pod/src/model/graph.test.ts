import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { areCheapByShape } from '../execution/cheap-operators.ts';
import { operatorsOf } from './graph.ts';

const models = join(import.meta.dirname, '../../test/models');
const examples = join(import.meta.dirname, '../../../examples/models');
const typesOf = (path: string) => [
  ...new Set(operatorsOf(readFileSync(path))?.map(({ domain, type }) => `${domain}.${type}`)),
];

test.each([
  [join(examples, 'iris/1.onnx'), ['ai.onnx.ml.Scaler', 'ai.onnx.ml.LinearClassifier', 'ai.onnx.ml.Normalizer'], true],
  [join(examples, 'digits/1.onnx'), ['.Conv', '.Relu', '.MaxPool', '.Flatten', '.Gemm', '.Softmax', '.ArgMax'], true],
  // What it does as often as it is told stands in a graph within its loop.
  [join(models, 'slow.onnx'), ['.ConstantOfShape', '.MatMul', '.Identity', '.Loop', '.ReduceSum'], false],
  [join(models, 'wide.onnx'), ['.ConstantOfShape'], false],
])('%s', (path, types, isCheap) => {
  expect(typesOf(path).sort()).toEqual([...types].sort());
  expect(areCheapByShape(operatorsOf(readFileSync(path)) ?? [])).toBe(isCheap);
});

test('an operator that is not known is not cheap', () => {
  expect(areCheapByShape([{ domain: 'com.example', type: 'Relu' }])).toBe(false);
  expect(areCheapByShape([{ domain: '', type: 'constructor' }])).toBe(false);
});

test('any bytes are read or refused', () => {
  const bytes = readFileSync(join(examples, 'iris/1.onnx'));
  const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
      const changed = Buffer.from(bytes);
      for (const [at, byte] of changes) changed[at] = byte;
      operatorsOf(changed);
    }),
    { numRuns: 2000 },
  );
});
