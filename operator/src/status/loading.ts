import type { LoadingProgress } from '../../../contract/src/loading-progress.ts';
import { annotations } from '../api/names.ts';
import type { Observed } from '../observed.ts';

/**
 * What a pod of a revision is busy with before it can serve, as the end of a sentence; '' while none tells.
 *
 * @param revision the name of the revision that is rolled out
 */
export function loadingInWords({ pods, loading }: Observed, revision: string): string {
  for (const { metadata } of pods) {
    const progress = loading.get(metadata.name);
    if (progress === undefined || metadata.annotations?.[annotations.revision] !== revision) continue;
    return `: pod ${metadata.name} ${inWords(progress)}`;
  }
  return '';
}

/** Nothing in it changes from look to look, or else each would be a write. */
function inWords({ stage, bytes, totalBytes, seconds, startTime }: LoadingProgress): string {
  const since = new Date(startTime * 1000).toISOString().slice(11, 19);
  switch (stage) {
    case 'fetching': {
      const rate = `about ${roughly(bytes / Math.max(1, seconds))}/s`;
      const part = totalBytes === undefined ? `more than ${roughly(bytes)}` : shareOf(bytes, totalBytes);
      return `fetches the model since ${since}: ${part}, ${rate}`;
    }
    case 'opening':
      return `opens the model, which it began to load at ${since}`;
    case 'checking':
      return `checks the model, which it began to load at ${since}`;
  }
}

/** In tenths. */
function shareOf(bytes: number, totalBytes: number): string {
  const tenths = Math.floor(Math.min(1, bytes / Math.max(1, totalBytes)) * 10);
  return `${tenths * 10} % of ${(totalBytes / 1e6).toFixed(1)} MB`;
}

/** To the power of two below it. */
function roughly(bytes: number): string {
  const megabytes = bytes / 1e6;
  return megabytes < 1 ? '1 MB' : `${2 ** Math.floor(Math.log2(megabytes))} MB`;
}
