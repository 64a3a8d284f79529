import { expect, test } from '@jest/globals';
import { parseLoadingProgress } from './loading-progress.ts';

const progress = { stage: 'fetching', bytes: 10, totalBytes: 20, seconds: 1.5, startTime: 1_700_000_000 };

test('what a pod of ours tells of its loading is read, and nothing else of it', () => {
  expect(parseLoadingProgress({ ...progress, more: 'x' })).toEqual(progress);
  expect(parseLoadingProgress({ stage: 'opening', bytes: 10, seconds: 2, startTime: 5 })).toEqual({
    stage: 'opening',
    bytes: 10,
    totalBytes: undefined,
    seconds: 2,
    startTime: 5,
  });
});

test.each<[string, unknown]>([
  ['nothing', null],
  ['a text', 'fetching'],
  ['another stage', { ...progress, stage: '__proto__' }],
  ['bytes that are none', { ...progress, bytes: '10' }],
  ['fewer bytes than none', { ...progress, bytes: -1 }],
  ['a size that is none', { ...progress, totalBytes: 'x'.repeat(10_000) }],
  ['time that is none', { ...progress, seconds: Number.NaN }],
  ['a start that is none', { ...progress, startTime: 'x' }],
])('what another image may tell is not taken: %s', (_, told) => {
  expect(parseLoadingProgress(told)).toBeUndefined();
});
