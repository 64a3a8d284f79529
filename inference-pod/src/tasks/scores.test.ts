import { expect, test } from '@jest/globals';
import { scoresOf } from './scores.ts';

const logits = Float32Array.of(1, 2, 3);

test('shares sum to 1, however large the numbers are', () => {
  expect(Array.from(scoresOf(logits, 'Softmax'), (score) => score.toFixed(4))).toEqual(['0.0900', '0.2447', '0.6652']);
  expect(Array.from(scoresOf(Float32Array.of(1e30, -1e30, 1e30), 'Softmax'))).toEqual([0.5, 0, 0.5]);
});

test('each score by itself is between 0 and 1', () => {
  expect(Array.from(scoresOf(Float32Array.of(-1e30, 0, 1e30), 'Sigmoid'))).toEqual([0, 0.5, 1]);
});

test('the numbers of the model are left as they are', () => {
  expect(scoresOf(logits, 'Logits')).toBe(logits);
});
