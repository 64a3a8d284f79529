import { Agent, request } from 'undici';
import { maxAnswerBytes } from '../../../contract/src/link.ts';
import { ports } from '../../../contract/src/ports.ts';
import type { KubeClient } from '../kube/client.ts';
import { ApiError } from '../kube/errors.ts';

/** A pod that can be called. */
export interface ReachablePod {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
}

/**
 * Calls a path of a pod's control port: a GET, or a POST of a body.
 *
 * @throws PodAnswer for an answer other than 200; the error of the network for none
 */
export type PodCall = (pod: ReachablePod, path: string, body?: object) => Promise<unknown>;

/** A pod has answered with another status than 200. */
export class PodAnswer extends Error {
  override readonly name = 'PodAnswer';
  readonly status: number;

  constructor(status: number) {
    super(`the pod answered ${status}`);
    this.status = status;
  }
}

const timeoutMilliseconds = 2000;

/** From inside the cluster pods are reached by their addresses. */
export function directCall(port: number = ports.control): PodCall {
  // One connection to a pod, which is called every few seconds, is kept.
  const dispatcher = new Agent({ connections: 1, keepAliveTimeout: 30_000 });
  return async ({ ip }, path, body) => {
    const host = ip.includes(':') ? `[${ip}]` : ip;
    const response = await request(`http://${host}:${port}${path}`, {
      // The whole call, the connection included.
      signal: AbortSignal.timeout(timeoutMilliseconds),
      dispatcher,
      ...(body === undefined
        ? {}
        : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    if (response.statusCode !== 200) {
      await response.body.dump();
      throw new PodAnswer(response.statusCode);
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes) throw new Error(`the pod answered more than ${maxAnswerBytes} bytes`);
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString());
  };
}

/** From outside the cluster pods are reached through the API server. */
export function proxiedCall(client: KubeClient): PodCall {
  return async ({ namespace, name }, path, body) => {
    const proxy = `/api/v1/namespaces/${namespace}/pods/${name}:${ports.control}/proxy${path}`;
    try {
      return await client.call(body === undefined ? 'GET' : 'POST', proxy, {
        timeoutMilliseconds,
        // The whole call, as for a direct one; and the pod does not say when it is repeated.
        signal: AbortSignal.timeout(timeoutMilliseconds),
        maxBytes: maxAnswerBytes,
        attempts: 1,
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      if (error instanceof ApiError) throw new PodAnswer(error.status);
      throw error;
    }
  };
}
