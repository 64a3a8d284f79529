import { type LoadingProgress, parseLoadingProgress } from '../../../contract/src/loading-progress.ts';
import { routes } from '../../../contract/src/ports.ts';
import type { PodCall, ReachablePod } from './pod-calls.ts';

/**
 * Asks a pod how far it is with loading its model.
 *
 * @returns undefined when it loads none, is none of ours, or cannot be reached: it may only be starting
 */
export async function askLoadingProgress(call: PodCall, pod: ReachablePod): Promise<LoadingProgress | undefined> {
  try {
    return parseLoadingProgress(await call(pod, routes.loading));
  } catch {
    // Nothing hangs on it: there is nothing to tell.
    return undefined;
  }
}
