import type { ModelReport } from '../../../contract/src/model-report.ts';
import { routes } from '../../../contract/src/ports.ts';
import type { PodCall, ReachablePod } from './pod-calls.ts';

/**
 * Asks a pod which model it serves.
 *
 * @throws Error when it cannot be reached, or is none of ours
 */
export async function askModelReport(call: PodCall, pod: ReachablePod): Promise<ModelReport> {
  return parseReport(await call(pod, routes.model));
}

function parseReport(value: unknown): ModelReport {
  if (typeof value === 'object' && value !== null && 'name' in value && 'version' in value && 'digest' in value) {
    const { name, version, digest } = value;
    if (
      typeof name === 'string' &&
      typeof version === 'string' &&
      typeof digest === 'string' &&
      /^sha256:[a-f0-9]{64}$/.test(digest)
    ) {
      return { name, version, digest };
    }
  }
  throw new Error('the pod reports no model: its image is not an inference image of Slipway');
}
