import { type Dispatcher, request } from 'undici';
import type { ModelReport } from '../../../contract/src/model-report.ts';
import { ports, routes } from '../../../contract/src/ports.ts';
import type { KubeClient } from '../kube/client.ts';

/** A pod that can be asked. */
export interface ReachablePod {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
}

/** Calls a path of a pod's control port. */
export type PodCall = (pod: ReachablePod, path: string) => Promise<unknown>;

const timeoutMilliseconds = 2000;
/** A report is far smaller: a pod may run any image. */
const maxReportBytes = 65_536;

/**
 * Asks a pod which model it serves.
 *
 * @throws Error when it cannot be reached, or is none of ours
 */
export async function askModelReport(call: PodCall, pod: ReachablePod): Promise<ModelReport> {
  return parseReport(await call(pod, routes.model));
}

/** From inside the cluster pods are reached by their addresses. */
export function directCall(dispatcher?: Dispatcher): PodCall {
  return async ({ ip }, path) => {
    const host = ip.includes(':') ? `[${ip}]` : ip;
    const response = await request(`http://${host}:${ports.control}${path}`, {
      // The whole call, the connection included.
      signal: AbortSignal.timeout(timeoutMilliseconds),
      ...(dispatcher === undefined ? {} : { dispatcher }),
    });
    if (response.statusCode !== 200) {
      await response.body.dump();
      throw new Error(`the pod answered ${response.statusCode}`);
    }
    let text = '';
    for await (const chunk of response.body) {
      text += String(chunk);
      if (text.length > maxReportBytes) throw new Error('the pod answered more than a report');
    }
    return JSON.parse(text);
  };
}

/** From outside the cluster pods are reached through the API server. */
export function proxiedCall(client: KubeClient): PodCall {
  return ({ namespace, name }, path) =>
    client.call('GET', `/api/v1/namespaces/${namespace}/pods/${name}:${ports.control}/proxy${path}`, {
      timeoutMilliseconds,
    });
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
