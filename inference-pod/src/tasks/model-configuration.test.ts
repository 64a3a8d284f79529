import { expect, test } from '@jest/globals';
import { configurationIn, InvalidConfiguration } from './model-configuration.ts';

const read = (value: unknown) => configurationIn(JSON.stringify(value));

test.each([
  [{ 0: 'a', 1: 'b' }, undefined, 'Softmax'],
  [{ 0: 'a', 1: 'b' }, 'single_label_classification', 'Softmax'],
  [{ 0: 'a', 1: 'b' }, 'multi_label_classification', 'Sigmoid'],
  [{ 0: 'a' }, undefined, 'Sigmoid'],
  [{ 0: 'a' }, 'regression', 'Logits'],
])('%j of a model for %s', (id2label, problem_type, scoring) => {
  expect(read({ id2label, problem_type })).toEqual({ labels: Object.values(id2label), scoring });
});

test('labels stand in the order of their numbers', () => {
  const { labels } = read({
    id2label: { 10: 'k', 2: 'c', 1: 'b', 0: 'a', 3: 'd', 4: 'e', 5: 'f', 6: 'g', 7: 'h', 8: 'i', 9: 'j' },
  });
  expect(labels.join('')).toBe('abcdefghijk');
});

test.each([
  [7, 'no JSON object'],
  [null, 'no JSON object'],
  [{}, "no 'id2label'"],
  [{ id2label: {} }, 'does not give a name'],
  [{ id2label: { 1: 'a' } }, 'does not give a name'],
  [{ id2label: { 0: 'a', 2: 'b' } }, 'does not give a name'],
  [{ id2label: { 0: '' } }, 'does not give a name'],
  [{ id2label: { 0: 7 } }, 'does not give a name'],
])('%j is refused', (value, message) => {
  expect(() => read(value)).toThrow(message);
});

test('what is no JSON is refused', () => {
  expect(() => configurationIn('{')).toThrow(InvalidConfiguration);
});
