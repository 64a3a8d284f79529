import type { Server } from 'node:http';
import express from 'express';
import type { Metrics } from './metrics.ts';

export interface HealthOptions {
  readonly port: number;
  readonly metrics: Metrics;
  /** Whether the caches are synced. */
  readonly ready: () => boolean;
}

/** Serves /healthz, /readyz and /metrics. */
export function serveHealth({ port, metrics, ready }: HealthOptions): Promise<Server> {
  const app = express();
  app.disable('x-powered-by');
  app.get('/healthz', (_request, response) => {
    response.send('ok');
  });
  app.get('/readyz', (_request, response) => {
    response.status(ready() ? 200 : 503).send(ready() ? 'ok' : 'the caches are not synced yet');
  });
  app.get('/metrics', async (_request, response) => {
    response.type(metrics.contentType).send(await metrics.exposition());
  });
  return new Promise((resolve, reject) => {
    const server = app.listen(port, (error) => (error === undefined ? resolve(server) : reject(error)));
  });
}
