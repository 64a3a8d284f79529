import { createServer, type Server } from 'node:http';
import { pipeline } from 'node:stream/promises';
import express, { type NextFunction, type Request, type Response } from 'express';
import type { Logger } from 'pino';
import { InvalidBundle, isSha256 } from '../../contract/src/model-bundle.ts';
import { cachedModelPath } from '../../contract/src/node-cache.ts';
import { type Callers, UnknownCaller } from './callers.ts';
import type { Metrics, Outcome } from './metrics.ts';
import { Busy, type ModelKey, type ModelStore, TooLarge } from './model-store.ts';

export interface CacheServerOptions {
  readonly port: number;
  readonly host?: string | undefined;
  readonly store: ModelStore;
  readonly callers: Callers;
  readonly metrics: Metrics;
  readonly log: Logger;
}

const headersMilliseconds = 10_000;

/** Read at once: fewer and larger pieces take less processor time. */
const chunkBytes = 2 ** 18;
/** Each holds two of these. */
const mostReaders = 64;
const graceMilliseconds = 10_000;
const leastBytesPerMillisecond = 10_000;

/** Of a model that is sent either way. */
const patienceFor = (bytes: number) => Math.ceil(graceMilliseconds + bytes / leastBytesPerMillisecond);

/** Serves models to pods, each those of its own namespace. */
export function serveCache({ port, host, ...options }: CacheServerOptions): Promise<Server> {
  const server = createServer(createCacheApp(options));
  // Each has a limit by its length.
  server.requestTimeout = 0;
  server.headersTimeout = headersMilliseconds;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve(server));
  });
}

function createCacheApp({ store, callers, metrics, log }: Omit<CacheServerOptions, 'port' | 'host'>) {
  const app = express();
  let readers = 0;
  app.disable('x-powered-by');
  const path = cachedModelPath(':sha256');
  const keyOf = async ({ params, headers }: Request): Promise<ModelKey> => {
    const namespace = await callers.namespaceOf(headers.authorization);
    const { sha256 } = params;
    if (isSha256(sha256)) return { namespace, sha256 };
    throw new InvalidBundle('a model is asked for by its digest: 64 lower-case hexadecimal digits');
  };
  app.head(path, async (request, response) => {
    const key = await keyOf(request);
    const size = store.size(key);
    if (size !== undefined) response.setHeader('content-length', size);
    // Who would offer it need not send it to be told.
    response.status(size !== undefined ? 200 : store.isBusy(key) ? 409 : 404).end();
  });
  app.get(path, async (request, response) => {
    const found = await store.read(await keyOf(request));
    metrics.count(found === undefined ? 'miss' : 'hit');
    if (found === undefined) return void response.status(404).json({ error: 'this model is not kept here' });
    if (readers >= mostReaders) {
      await found.file.close();
      throw new Busy('too many are being sent models');
    }
    readers += 1;
    try {
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': found.bytes });
      const signal = AbortSignal.timeout(patienceFor(found.bytes));
      await pipeline(found.file.createReadStream({ highWaterMark: chunkBytes }), response, { signal });
    } finally {
      readers -= 1;
    }
  });
  app.put(path, async (request, response) => {
    const key = await keyOf(request);
    const length = Number(request.headers['content-length'] ?? Number.NaN);
    if (!Number.isSafeInteger(length)) throw new InvalidBundle('the header content-length is missing');
    // What is wrong with it is answered, so the connection has to last.
    const late = setTimeout(() => request.destroy(new Error('it comes too slowly')), patienceFor(length));
    await store.write(key, length, request.iterator({ destroyOnReturn: false })).finally(() => clearTimeout(late));
    metrics.count('kept');
    log.info({ ...key, bytes: length }, 'a model is kept');
    response.status(201).end();
  });
  app.delete(path, async (request, response) => {
    await store.remove(await keyOf(request));
    response.status(204).end();
  });
  app.use((_request: Request, response: Response) => {
    response.status(404).json({ error: `there is only ${path}` });
  });
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    const { status, outcome } = meaningOf(error);
    metrics.count(outcome);
    const isAway = request.socket.destroyed;
    if (outcome === 'failed' && !isAway) log.error({ err: error, path: request.path }, 'a request failed');
    if (response.headersSent || isAway) return void response.destroy();
    const message = error instanceof Error ? error.message : String(error);
    // What is still coming is not read.
    response.status(status).set('connection', 'close').json({ error: message });
  });
  return app;
}

function meaningOf(error: unknown): { readonly status: number; readonly outcome: Outcome } {
  if (error instanceof UnknownCaller) return { status: 401, outcome: 'refused' };
  if (error instanceof InvalidBundle) return { status: 400, outcome: 'refused' };
  if (error instanceof TooLarge) return { status: 413, outcome: 'refused' };
  if (error instanceof Busy) return { status: 409, outcome: 'refused' };
  return { status: 503, outcome: 'failed' };
}
