import { type Dispatcher, request } from 'undici';
import type { ModelReport } from '../../../contract/src/model-report.ts';
import { ports, routes } from '../../../contract/src/ports.ts';
import type { KubeClient } from '../kube/client.ts';

/** A pod that can be asked. */
export interface ReachablePod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly ip: string;
  /** Of the model container: a restarted one may have loaded other bytes. */
  readonly restarts: number;
}

/** Asks pods which model they serve. The answer of a running container never changes, so each is asked once. */
export interface ModelReports {
  /** The report of a pod; undefined while it cannot be had. */
  get(pod: ReachablePod): Promise<ModelReport | undefined>;
  forget(uid: string): void;
}

/** Calls a path of a pod's control port. */
type Call = (pod: ReachablePod, path: string) => Promise<unknown>;

const timeoutMilliseconds = 2000;
/** A pod that could not be asked is not asked again for so long. */
const retryMilliseconds = 15_000;
/** A report is far smaller: a pod may run any image. */
const maxReportBytes = 65_536;

export function createModelReports(call: Call, onError: (pod: ReachablePod, error: unknown) => void): ModelReports {
  const reports = new Map<
    string,
    { readonly restarts: number; readonly report?: ModelReport; readonly retryAt: number }
  >();
  return {
    async get(pod) {
      const known = reports.get(pod.uid);
      if (known?.restarts === pod.restarts && (known.report !== undefined || performance.now() < known.retryAt))
        return known.report;
      try {
        const report = parseReport(await call(pod, routes.model));
        reports.set(pod.uid, { restarts: pod.restarts, report, retryAt: 0 });
        return report;
      } catch (error) {
        reports.set(pod.uid, { restarts: pod.restarts, retryAt: performance.now() + retryMilliseconds });
        onError(pod, error);
        return undefined;
      }
    },
    forget: (uid) => reports.delete(uid),
  };
}

/** From inside the cluster pods are reached by their addresses. */
export function directCall(dispatcher?: Dispatcher): Call {
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
export function proxiedCall(client: KubeClient): Call {
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
