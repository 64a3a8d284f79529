import { describe, expect, test } from '@jest/globals';
import type { PodTemplate } from '../desired/children.ts';
import { environmentValue } from '../desired/environment-value.ts';
import { taskBreaches } from './task-contract.ts';

const templateOf = (
  task?: string,
  columns?: readonly object[],
  settings: Readonly<Record<string, string>> = {},
): PodTemplate => {
  const env = [
    { name: 'SLIPWAY_MODEL_NAME', value: 'iris' },
    ...(task === undefined ? [] : [{ name: 'SLIPWAY_TASK', value: task }]),
    ...(columns === undefined
      ? []
      : [{ name: 'SLIPWAY_TASK_COLUMNS', value: environmentValue(JSON.stringify(columns)) }]),
    ...Object.entries(settings).map(([name, value]) => ({ name, value })),
  ];
  return { spec: { containers: [{ name: 'model', env }] } };
};
const matrix = { inputs: [{ name: 'rows', datatype: 'FP32', shape: [-1, 3] }] } as const;
const apart = {
  inputs: [
    { name: 'a', datatype: 'FP32', shape: [-1, 1] },
    { name: 'b', datatype: 'FP32', shape: [-1, 1] },
  ],
} as const;
const tableOf = (...columns: readonly (string | [string, ...string[]])[]) =>
  templateOf(
    'Tabular',
    columns.map((column) => {
      if (typeof column === 'string') return { name: column };
      const [name, ...categories] = column;
      return { name, categories };
    }),
  );

test.each<[string, PodTemplate, PodTemplate]>([
  ['none', templateOf(), templateOf()],
  ['one where there was none', templateOf(), templateOf('Rerank')],
  ['the same', templateOf('Rerank'), templateOf('Rerank')],
  ['names for columns that had none', templateOf('Tabular'), tableOf('a', 'b')],
  ['a column less', tableOf('a', 'b', 'c'), tableOf('a', 'c')],
  ['more words', tableOf(['a', 'x$$y']), tableOf(['a', 'y', 'x$$y'])],
  ['what is usual anyway', templateOf('Rerank'), templateOf('Rerank', undefined, { SLIPWAY_TASK_SCORING: 'Sigmoid' })],
  [
    'fewer tokens of what is cut',
    templateOf('TextClassification', undefined, { SLIPWAY_TASK_MAX_TOKENS: '512' }),
    templateOf('TextClassification', undefined, { SLIPWAY_TASK_MAX_TOKENS: '256' }),
  ],
  [
    'larger pictures',
    templateOf('ImageClassification'),
    templateOf('ImageClassification', undefined, { SLIPWAY_TASK_MAX_PIXELS: '30000000' }),
  ],
])('%s keeps the contract', (_, serving, candidate) => {
  expect(taskBreaches(serving, candidate, matrix)).toEqual([]);
});

test.each<[PodTemplate, PodTemplate, string]>([
  [templateOf('Rerank'), templateOf(), 'the task Rerank is gone'],
  [templateOf(undefined, undefined, { SLIPWAY_HANDLER: 'Enabled' }), templateOf(), 'the handler is gone'],
  [templateOf('TextClassification'), templateOf('ZeroShot'), 'the task is ZeroShot instead of TextClassification'],
  [templateOf('Tabular'), tableOf('a', ['b', 'x']), "the column 'b' takes words instead of numbers"],
  [
    templateOf('Rerank', undefined, { SLIPWAY_TASK_SCORING: 'Logits' }),
    templateOf('Rerank'),
    'the scoring is Sigmoid instead of Logits',
  ],
  [
    templateOf('TextEmbedding'),
    templateOf('TextEmbedding', undefined, { SLIPWAY_TASK_NORMALIZATION: 'Disabled' }),
    'the normalization is Disabled instead of Enabled',
  ],
  [
    templateOf('ImageClassification'),
    templateOf('ImageClassification', undefined, { SLIPWAY_TASK_MAX_PIXELS: '1024' }),
    'pictures of more than 1024 pixels are refused, and 25000000 were taken',
  ],
  [
    templateOf('TokenClassification'),
    templateOf('TokenClassification', undefined, { SLIPWAY_TASK_AGGREGATION: 'First' }),
    'the aggregation is First instead of Simple',
  ],
  [
    templateOf('TokenClassification', undefined, { SLIPWAY_TASK_MAX_TOKENS: '512' }),
    templateOf('TokenClassification', undefined, { SLIPWAY_TASK_MAX_TOKENS: '256' }),
    'texts of more than 256 tokens are refused, and 512 were taken',
  ],
  [tableOf('a'), templateOf('Tabular'), 'the columns have no names any more'],
  [tableOf('a'), tableOf('a', 'b'), "the column 'b' is new, and required"],
  [tableOf('a', 'b'), tableOf('b', 'a'), 'the columns stand in another order, by which rows without names are read'],
  [tableOf('a'), tableOf(['a', 'x']), "the column 'a' takes words instead of numbers"],
  [tableOf(['a', 'x']), tableOf('a'), "the column 'a' takes numbers instead of words"],
  [tableOf(['a', 'x', 'y', 'z']), tableOf(['a', 'y']), "the column 'a' takes no 'x', 'z' any more"],
])('%j to %j breaks it', (serving, candidate, breach) => {
  expect(taskBreaches(serving, candidate, matrix)).toEqual([breach]);
});

describe('of a model with an input for each column', () => {
  test.each([
    ['in another order', tableOf(['a', 'x'], ['b', 'y']), tableOf(['b', 'y'], ['a', 'x'])],
    ['of which something is said', templateOf('Tabular'), tableOf('b')],
  ])('columns %s keep the contract', (_, serving, candidate) => {
    expect(taskBreaches(serving, candidate, apart)).toEqual([]);
  });

  test.each([
    [tableOf(['a', 'x'], ['b', 'y']), tableOf(['a', 'x']), "the column 'b' takes numbers instead of words"],
    [tableOf(['a', 'x']), tableOf(['a', 'x'], ['b', 'y']), "the column 'b' takes words instead of numbers"],
  ])('%j to %j breaks it', (serving, candidate, breach) => {
    expect(taskBreaches(serving, candidate, apart)).toEqual([breach]);
  });
});

test('a record that somebody has broken says nothing of columns', () => {
  const broken = templateOf('Tabular', undefined, { SLIPWAY_TASK_COLUMNS: '[{"na' });
  expect(taskBreaches(broken, tableOf('a'), matrix)).toEqual([]);
});
