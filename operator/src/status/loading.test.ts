import { describe, expect, test } from '@jest/globals';
import type { LoadingProgress } from '../../../contract/src/loading-progress.ts';
import { observed, pod } from '../testing/test-objects.ts';
import { loadingInWords } from './loading.ts';

const told = (progress: LoadingProgress, revision = 'r') =>
  loadingInWords(observed({ pods: [pod('p', revision)], loading: new Map([['p', progress]]) }), 'r');

describe('how far a pod is', () => {
  const startTime = Date.UTC(2026, 0, 1, 12, 3, 4) / 1000;
  const common = { bytes: 1_900_000_000, totalBytes: undefined, seconds: 30.4, startTime };
  test.each<[string, LoadingProgress, string]>([
    [
      'with a file of a known size',
      { ...common, stage: 'fetching', totalBytes: 5_000_000_000 },
      ': pod p fetches the model since 12:03:04: 30 % of 5000.0 MB, about 32 MB/s',
    ],
    [
      'with a file that the store does not tell the size of',
      { ...common, stage: 'fetching' },
      ': pod p fetches the model since 12:03:04: more than 1024 MB, about 32 MB/s',
    ],
    ['with opening it', { ...common, stage: 'opening' }, ': pod p opens the model, which it began to load at 12:03:04'],
    [
      'with checking it',
      { ...common, stage: 'checking' },
      ': pod p checks the model, which it began to load at 12:03:04',
    ],
    [
      'at its very start',
      { stage: 'fetching', bytes: 0, totalBytes: 0, seconds: 0, startTime },
      ': pod p fetches the model since 12:03:04: 0 % of 0.0 MB, about 1 MB/s',
    ],
  ])('%s', (_, progress, words) => {
    expect(told(progress)).toBe(words);
  });

  test('is told in few words: hardly any of many looks is another', () => {
    const texts = Array.from({ length: 200 }, (_, look) => {
      const seconds = 10 * look + (look % 3);
      return told({ stage: 'fetching', bytes: 25e6 * seconds, totalBytes: 50e9, seconds, startTime });
    });
    expect(new Set(texts).size).toBeLessThan(14);
    const opening = Array.from({ length: 200 }, (_, look) => told({ ...common, stage: 'opening', seconds: look }));
    expect(new Set(opening).size).toBe(1);
  });

  test('is not told of a pod of another revision', () => {
    expect(told({ ...common, stage: 'opening' }, 'other')).toBe('');
  });
});
