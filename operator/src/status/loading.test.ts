import { describe, expect, test } from '@jest/globals';
import type { LoadingProgress } from '../../../contract/src/loading-progress.ts';
import { observed, pod } from '../testing/test-objects.ts';
import { loadingInWords } from './loading.ts';

const told = (progress: LoadingProgress, revision = 'r') =>
  loadingInWords(observed({ pods: [pod('p', revision)], loading: new Map([['p', progress]]) }), 'r');

describe('how far a pod is', () => {
  const common = { bytes: 1_500_000_000, totalBytes: undefined, seconds: 30.4 };
  test.each<[string, LoadingProgress, string]>([
    [
      'with a file of a known size',
      { ...common, stage: 'fetching', totalBytes: 5_000_000_000 },
      ': pod p fetches the model: 1500.0 MB of 5000.0 MB in 30 s, 49.3 MB/s',
    ],
    [
      'with a file that the store does not tell the size of',
      { ...common, stage: 'fetching' },
      ': pod p fetches the model: 1500.0 MB in 30 s, 49.3 MB/s',
    ],
    ['with opening it', { ...common, stage: 'opening' }, ': pod p opens the model, 30 s after it began to load it'],
    ['with checking it', { ...common, stage: 'checking' }, ': pod p checks the model, 30 s after it began to load it'],
    [
      'at its very start',
      { stage: 'fetching', bytes: 0, totalBytes: undefined, seconds: 0 },
      ': pod p fetches the model: 0.0 MB in 0 s, 0.0 MB/s',
    ],
  ])('%s', (_, progress, words) => {
    expect(told(progress)).toBe(words);
  });

  test('is not told of a pod of another revision', () => {
    expect(told({ ...common, stage: 'opening' }, 'other')).toBe('');
  });
});
