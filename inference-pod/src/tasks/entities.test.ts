import { expect, test } from '@jest/globals';
import { entitiesOf, type LabelledToken } from './entities.ts';

/** Tokens of three characters with a space between, or none where a word goes on. */
function tokensOf(...labels: readonly string[]): readonly LabelledToken[] {
  return labels.map((told, at) => {
    const label = told.replace(/^\+/, '');
    return { label, score: 1 / (at + 1), start: 4 * at, end: 4 * at + 3, beginsWord: label === told };
  });
}
const namesOf = (labels: readonly string[], aggregation: 'Simple' | 'First' = 'Simple') =>
  entitiesOf(tokensOf(...labels), aggregation).map(({ label, start, end }) => [label, start / 4, (end + 1) / 4]);

test.each<[readonly string[], readonly (readonly [string, number, number])[]]>([
  [[], []],
  [['O', 'O'], []],
  [
    ['B-PER', 'I-PER', 'O', 'I-PER'],
    [
      ['PER', 0, 2],
      ['PER', 3, 4],
    ],
  ],
  [
    ['B-PER', 'B-PER'],
    [
      ['PER', 0, 1],
      ['PER', 1, 2],
    ],
  ],
  [
    ['I-PER', 'I-ORG'],
    [
      ['PER', 0, 1],
      ['ORG', 1, 2],
    ],
  ],
  [
    ['PLACE', 'PLACE', 'B-PLACE', 'PLACE'],
    [
      ['PLACE', 0, 2],
      ['PLACE', 2, 4],
    ],
  ],
  [['B-a-b', 'I-a-b'], [['a-b', 0, 2]]],
  [
    ['B-PER', 'E-PER', 'O', 'S-LOC', 'S-LOC'],
    [
      ['PER', 0, 2],
      ['LOC', 3, 4],
      ['LOC', 4, 5],
    ],
  ],
])('%j names %j', (labels, entities) => {
  expect(namesOf(labels)).toEqual(entities);
});

test('with First, a word is what its first token is', () => {
  expect(namesOf(['B-PER', '+O', '+B-ORG', 'O', '+B-PER'], 'First')).toEqual([['PER', 0, 3]]);
  expect(namesOf(['B-PER', '+O', '+B-ORG', 'O', '+B-PER'])).toEqual([
    ['PER', 0, 1],
    ['ORG', 2, 3],
    ['PER', 4, 5],
  ]);
});

test('the score is the mean of those that are put together', () => {
  const [entity] = entitiesOf(tokensOf('B-PER', 'I-PER'), 'Simple');
  expect(entity?.score).toBe(0.75);
});
