/** What a pod does before its model can be asked. */
export const loadingStages = ['fetching', 'opening', 'checking'] as const;
export type LoadingStage = (typeof loadingStages)[number];

/** How far that is; a pod tells it on the control port. */
export interface LoadingProgress {
  readonly stage: LoadingStage;
  /** Of the model file, so far. */
  readonly bytes: number;
  /** Of the whole file, where the store tells it. */
  readonly totalBytes: number | undefined;
  /** Since the pod began to load. */
  readonly seconds: number;
  /** When that was, by the pod's clock: seconds since 1970. */
  readonly startTime: number;
}

/**
 * Reads what a pod tells, which may run any image.
 *
 * @returns undefined for what is none
 */
export function parseLoadingProgress(value: unknown): LoadingProgress | undefined {
  if (typeof value !== 'object' || value === null || !('stage' in value && 'bytes' in value)) return undefined;
  const stage = loadingStages.find((known) => known === value.stage);
  const { bytes } = value;
  const seconds = 'seconds' in value ? value.seconds : undefined;
  const startTime = 'startTime' in value ? value.startTime : undefined;
  const totalBytes = 'totalBytes' in value ? value.totalBytes : undefined;
  if (stage === undefined || !isAmount(bytes) || !isAmount(seconds) || !isAmount(startTime)) return undefined;
  if (totalBytes !== undefined && !isAmount(totalBytes)) return undefined;
  return { stage, bytes, totalBytes, seconds, startTime };
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
