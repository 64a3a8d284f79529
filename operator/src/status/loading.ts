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

function inWords({ stage, bytes, totalBytes, seconds }: LoadingProgress): string {
  const since = `${Math.round(seconds)} s`;
  switch (stage) {
    case 'fetching': {
      const whole = totalBytes === undefined ? '' : ` of ${megabytes(totalBytes)}`;
      return `fetches the model: ${megabytes(bytes)}${whole} in ${since}, ${megabytes(bytes / Math.max(1, seconds))}/s`;
    }
    case 'opening':
      return `opens the model, ${since} after it began to load it`;
    case 'checking':
      return `checks the model, ${since} after it began to load it`;
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
