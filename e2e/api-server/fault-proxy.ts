import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dump } from 'js-yaml';
import { type Dispatcher, request } from 'undici';
import { openConnection } from '../../operator/src/kube/kubeconfig.ts';
import { operatorKubeconfig } from './test-cluster.ts';

/** A request on its way to the API server. */
export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  /** The plural of the resource, such as deployments. */
  readonly resource: string;
  readonly query: URLSearchParams;
  readonly isWatch: boolean;
  /** A change of something that lasts: neither an Event nor the Lease. */
  readonly isWrite: boolean;
}

/** What becomes of a request. */
export type Fate =
  | { readonly kind: 'pass' }
  /** The API server never sees it; this is the answer. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly message?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The API server never sees it, and the connection breaks. */
  | { readonly kind: 'cut' }
  /** The API server deals with it, and the connection breaks before the answer arrives. */
  | { readonly kind: 'lose-answer' }
  /** The API server never sees it, and no answer ever comes. */
  | { readonly kind: 'stall' };

/** A write that the API server has answered, whether the answer arrived or not. */
export interface AnsweredWrite {
  readonly method: string;
  readonly resource: string;
  readonly status: number;
}

/** Stands between a client and the API server, and lets things go wrong. */
export interface FaultProxy {
  /** A kubeconfig by which clients go through the proxy. */
  readonly kubeconfig: string;
  readonly requests: readonly ProxiedRequest[];
  readonly writes: readonly AnsweredWrite[];
  /** Connections that clients have opened so far. */
  readonly connections: number;
  /** Decides on each request; passes all of them at first. May change the query. */
  decide: (request: ProxiedRequest) => Fate | Promise<Fate>;
  /** Decides on each line of a watch: whether it is passed on. */
  passEvent: (request: ProxiedRequest, line: string) => boolean;
  /** Breaks the connections of all watches, or of those of one resource. */
  cutWatches(resource?: string): void;
  /** Breaks all connections, and takes no more. */
  close(): Promise<void>;
}

interface OpenWatch {
  readonly resource: string;
  readonly response: ServerResponse;
}

/** @param kubeconfig with whose rights requests are passed on; the operator's by default */
export async function startFaultProxy(kubeconfig = operatorKubeconfig()): Promise<FaultProxy> {
  const connect = openConnection({ kubeconfig });
  const requests: ProxiedRequest[] = [];
  const writes: AnsweredWrite[] = [];
  const watches = new Set<OpenWatch>();
  let connections = 0;
  const closed = new AbortController();

  const forward = async (proxied: ProxiedRequest, incoming: IncomingMessage, signal: AbortSignal) => {
    const { server, dispatcher, headers } = await connect();
    const { host: _, connection: __, 'content-length': ___, 'transfer-encoding': ____, ...own } = incoming.headers;
    const hasBody = proxied.method !== 'GET';
    const query = proxied.query.toString();
    const answer = await request(`${server}${proxied.path}${query === '' ? '' : `?${query}`}`, {
      method: proxied.method as Dispatcher.HttpMethod,
      dispatcher,
      headers: { ...own, ...headers },
      bodyTimeout: 0,
      signal,
      ...(hasBody ? { body: await readAll(incoming) } : {}),
    });
    if (proxied.isWrite) {
      writes.push({ method: proxied.method, resource: proxied.resource, status: answer.statusCode });
    }
    return answer;
  };

  const passOn = async (proxied: ProxiedRequest, answer: Dispatcher.ResponseData, response: ServerResponse) => {
    response.writeHead(answer.statusCode, { 'content-type': 'application/json', ...retryAfter(answer) });
    if (!proxied.isWatch) return void response.end(await answer.body.text());
    const open = { resource: proxied.resource, response };
    watches.add(open);
    response.flushHeaders();
    let rest = '';
    try {
      for await (const chunk of answer.body) {
        const lines = (rest + String(chunk)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (proxy.passEvent(proxied, line)) response.write(`${line}\n`);
      }
    } finally {
      watches.delete(open);
      response.end();
    }
  };

  const handle = async (incoming: IncomingMessage, response: ServerResponse) => {
    const proxied = describe(incoming);
    requests.push(proxied);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, closed.signal]);
    const fate = await proxy.decide(proxied);
    switch (fate.kind) {
      case 'pass':
        return passOn(proxied, await forward(proxied, incoming, signal), response);
      case 'lose-answer': {
        const answer = await forward(proxied, incoming, closed.signal);
        await answer.body.text();
        return void response.destroy();
      }
      case 'cut':
        return void response.destroy();
      case 'answer':
        response.writeHead(fate.status, { 'content-type': 'application/json', ...fate.headers });
        return void response.end(
          JSON.stringify({ kind: 'Status', code: fate.status, message: fate.message ?? 'a fault of the test' }),
        );
      case 'stall':
        return undefined;
    }
  };

  const http = createServer((incoming, response) => {
    // A client that is gone, and an API server that is, are what this is for.
    handle(incoming, response).catch(() => response.destroy());
  });
  http.on('connection', () => {
    connections++;
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const folder = await mkdtemp(join(tmpdir(), 'slipway-fault-proxy-'));
  const ownKubeconfig = join(folder, 'kubeconfig');
  await writeFile(ownKubeconfig, kubeconfigFor(`http://127.0.0.1:${(http.address() as AddressInfo).port}`));

  const proxy: FaultProxy = {
    kubeconfig: ownKubeconfig,
    requests,
    writes,
    get connections() {
      return connections;
    },
    decide: () => ({ kind: 'pass' }),
    passEvent: () => true,
    cutWatches(resource) {
      for (const open of watches) if (resource === undefined || open.resource === resource) open.response.destroy();
    },
    async close() {
      closed.abort();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
  return proxy;
}

function describe({ method = 'GET', url = '/' }: IncomingMessage): ProxiedRequest {
  const { pathname, searchParams: query } = new URL(url, 'http://proxy');
  const segments = pathname.split('/').filter((segment) => segment !== '');
  const rest = segments.slice(segments[0] === 'api' ? 2 : 3);
  const resource = (rest[0] === 'namespaces' && rest.length > 2 ? rest[2] : rest[0]) ?? '';
  const isWatch = query.get('watch') === 'true';
  const isWrite = method !== 'GET' && resource !== 'events' && resource !== 'leases';
  return { method, path: pathname, resource, query, isWatch, isWrite };
}

function retryAfter({ headers }: Dispatcher.ResponseData): Record<string, string> {
  const value = headers['retry-after'];
  return typeof value === 'string' ? { 'retry-after': value } : {};
}

async function readAll(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function kubeconfigFor(server: string): string {
  return dump({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'proxy', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'proxy', user: {} }],
    contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'proxy' } }],
    'current-context': 'proxy',
  });
}
