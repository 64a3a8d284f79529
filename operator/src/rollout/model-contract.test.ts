import { expect, test } from '@jest/globals';
import type { ModelSignature, TensorDescription } from '../../../contract/src/link.ts';
import { contractBreaches } from './model-contract.ts';

const tensor = (name: string, datatype = 'FP32', shape: readonly number[] = [-1, 4]): TensorDescription => ({
  name,
  datatype,
  shape,
});
const signature = (inputs: TensorDescription[], outputs: TensorDescription[]): ModelSignature => ({ inputs, outputs });
const serving = signature([tensor('X')], [tensor('label', 'INT64', [-1]), tensor('scores', 'FP32', [-1, 3])]);
const [label, scores] = serving.outputs as [TensorDescription, TensorDescription];

test.each<[string, ModelSignature, string[]]>([
  ['the same', serving, []],
  ['one more output', signature([tensor('X')], [label, scores, tensor('extra')]), []],
  ['another order', signature([tensor('X')], [scores, label]), []],
  ['an input of any width', signature([tensor('X', 'FP32', [-1, -1])], [label, scores]), []],
  ['an output of a fixed batch', signature([tensor('X')], [tensor('label', 'INT64', [1]), scores]), []],
  [
    'an output of any width',
    signature([tensor('X')], [label, tensor('scores', 'FP32', [-1, -1])]),
    ["the output 'scores' has any size in dimension 1 instead of 3"],
  ],
  ['no input', signature([], [label, scores]), ["the input 'X' is gone"]],
  [
    'a renamed input',
    signature([tensor('features')], [label, scores]),
    ["the input 'X' is gone, or is called 'features' now", "the input 'features' is new, and required"],
  ],
  [
    'a renamed output',
    signature([tensor('X')], [label, tensor('probabilities', 'FP32', [-1, 3])]),
    ["the output 'scores' is gone, or is called 'probabilities' now"],
  ],
  ['a removed output', signature([tensor('X')], [label]), ["the output 'scores' is gone"]],
  ['a new input', signature([tensor('X'), tensor('mask')], [label, scores]), ["the input 'mask' is new, and required"]],
  ['another type', signature([tensor('X', 'FP64')], [label, scores]), ["the input 'X' is FP64 instead of FP32"]],
  [
    'a narrowed dimension',
    signature([tensor('X', 'FP32', [1, 4])], [label, scores]),
    ["the input 'X' has 1 in dimension 0 instead of any size"],
  ],
  [
    'another width',
    signature([tensor('X', 'FP32', [-1, 5])], [label, tensor('scores', 'FP32', [-1, 2])]),
    ["the input 'X' has 5 in dimension 1 instead of 4", "the output 'scores' has 2 in dimension 1 instead of 3"],
  ],
  [
    'another rank',
    signature([tensor('X', 'FP32', [4])], [label, scores]),
    ["the input 'X' has 1 dimensions instead of 2"],
  ],
])('%s', (_, candidate, breaches) => {
  expect(contractBreaches(serving, candidate)).toEqual(breaches);
});
