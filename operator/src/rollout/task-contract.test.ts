import { expect, test } from '@jest/globals';
import type { PodTemplate } from '../desired/children.ts';
import { taskBreaches } from './task-contract.ts';

const templateOf = (task?: string, columns?: readonly object[]): PodTemplate => {
  const env = [
    { name: 'SLIPWAY_MODEL_NAME', value: 'iris' },
    ...(task === undefined ? [] : [{ name: 'SLIPWAY_TASK', value: task }]),
    ...(columns === undefined ? [] : [{ name: 'SLIPWAY_TASK_COLUMNS', value: JSON.stringify(columns) }]),
  ];
  return { spec: { containers: [{ name: 'model', env }] } };
};
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
  ['more words', tableOf(['a', 'x']), tableOf(['a', 'y', 'x'])],
])('%s keeps the contract', (_, serving, candidate) => {
  expect(taskBreaches(serving, candidate)).toEqual([]);
});

test.each<[PodTemplate, PodTemplate, string]>([
  [templateOf('Rerank'), templateOf(), 'the task Rerank is gone'],
  [templateOf('TextClassification'), templateOf('ZeroShot'), 'the task is ZeroShot instead of TextClassification'],
  [tableOf('a'), templateOf('Tabular'), 'the columns have no names any more'],
  [tableOf('a'), tableOf('a', 'b'), "the column 'b' is new, and required"],
  [tableOf('a', 'b'), tableOf('b', 'a'), 'the columns stand in another order, by which rows without names are read'],
  [tableOf('a'), tableOf(['a', 'x']), "the column 'a' takes words instead of numbers"],
  [tableOf(['a', 'x']), tableOf('a'), "the column 'a' takes numbers instead of words"],
  [tableOf(['a', 'x', 'y', 'z']), tableOf(['a', 'y']), "the column 'a' takes no 'x', 'z' any more"],
])('%j to %j breaks it', (serving, candidate, breach) => {
  expect(taskBreaches(serving, candidate)).toEqual([breach]);
});
