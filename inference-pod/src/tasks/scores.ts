import type { Scoring } from './task.ts';

/** What a model gives for its labels, or for one, as scores. */
export function scoresOf(logits: Float32Array, scoring: Scoring): Float32Array {
  switch (scoring) {
    case 'Softmax':
      return softmax(logits);
    case 'Sigmoid':
      return logits.map(sigmoid);
    case 'Logits':
      return logits;
  }
}

/** Shares that sum to 1; the largest is taken off first, so that none is without end. */
export function softmax(logits: Float32Array): Float32Array {
  const most = logits.reduce((largest, logit) => Math.max(largest, logit), Number.NEGATIVE_INFINITY);
  const powers = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
