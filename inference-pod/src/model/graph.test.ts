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

/** A model whose operator has a graph, whose operator has a graph, and so on. */
function nested(levels: number): Buffer {
  const field = (number: number, length: number): Buffer => {
    const varint: number[] = [];
    let rest = length;
    for (; rest >= 128; rest = Math.floor(rest / 128)) varint.push((rest % 128) + 128);
    return Buffer.from([number * 8 + 2, ...varint, rest]);
  };
  // From the innermost outwards, so that what a field has is known before its head is written.
  const pieces = [Buffer.from('If'), field(4, 2)];
  let length = 4;
  const within = (number: number) => {
    const head = field(number, length);
    pieces.push(head);
    length += head.length;
  };
  const [modelGraph, graphNode, nodeAttribute, attributeGraph] = [7, 1, 5, 6];
  within(graphNode);
  for (let level = 0; level < levels; level++)
    for (const number of [attributeGraph, nodeAttribute, graphNode]) within(number);
  within(modelGraph);
  return Buffer.concat(pieces.reverse());
}

test('graphs within graphs are read down to a depth that no model has, and what is deeper is no model', () => {
  expect(operatorsOf(nested(0))).toEqual([{ domain: '', type: 'If' }]);
  expect(operatorsOf(nested(32))).toHaveLength(33);
  expect(operatorsOf(nested(33))).toBeUndefined();
  // Deeper than the stack.
  expect(operatorsOf(nested(50_000))).toBeUndefined();
});
