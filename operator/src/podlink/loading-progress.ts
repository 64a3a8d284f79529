import { type LoadingProgress, parseLoadingProgress } from '../../../contract/src/loading-progress.ts';
import { routes } from '../../../contract/src/ports.ts';
import { PodAnswer, type PodCall, type ReachablePod } from './pod-calls.ts';

/**
 * Asks a pod how far it is with loading its model.
 *
 * @returns undefined when it loads none, or is none of ours
 * @throws Error when it cannot be reached
 */
export async function askLoadingProgress(call: PodCall, pod: ReachablePod): Promise<LoadingProgress | undefined> {
  try {
    return parseLoadingProgress(await call(pod, routes.loading));
  } catch (error) {
    if (error instanceof PodAnswer && error.status < 500) return undefined;
    throw error;
  }
}
