import express, { type ErrorRequestHandler, type Express } from 'express';
import { maxCallBytes } from '../../../contract/src/link.ts';
import type { LoadingProgress } from '../../../contract/src/loading-progress.ts';
import { routes } from '../../../contract/src/ports.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import type { Lifecycle } from './lifecycle.ts';
import { type PodLink, parseLinkCall } from './link.ts';

export interface ControlAppOptions {
  readonly telemetry: Telemetry;
  readonly link: PodLink;
  readonly lifecycle: Lifecycle;
  readonly loading: { readonly progress: LoadingProgress | undefined };
  /** Called each time that a caller who may know has been told which model this pod has loaded. */
  readonly onTold: () => void;
}

/** The control port: health, metrics, which model this pod serves, and the pod link. It is on no Service. */
export function createControlApp({ telemetry, link, lifecycle, loading, onTold }: ControlAppOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.get(routes.live, (_request, response) => void response.json({ live: true }));
  app.get(routes.ready, (_request, response) => {
    const ready = lifecycle.isReady;
    response.status(ready ? 200 : 503).json({ ready });
  });
  app.get(routes.metrics, async (_request, response) => {
    response.type(telemetry.contentType).send(await telemetry.exposition());
  });
  app.get(routes.model, (_request, response) => {
    const report = lifecycle.model?.report;
    if (report === undefined) response.status(503).json({ error: 'the model is still being loaded' });
    else response.json(report);
  });
  app.get(routes.loading, (_request, response) => {
    const { progress } = loading;
    if (progress === undefined) response.status(404).json({ error: 'no model is being loaded' });
    else response.json(progress);
  });
  app.post(routes.link, express.json({ limit: maxCallBytes, type: () => true }), async (request, response) => {
    const call = parseLinkCall(request.body);
    if (call === undefined) response.status(400).json({ error: 'the body is no call of the pod link' });
    else {
      const answer = await link.answer(call);
      if (answer.kind === 'figures' && answer.model !== undefined) response.once('finish', onTold);
      response.json(answer);
    }
  });
  app.use((_request, response) => void response.status(404).json({ error: 'there is nothing here' }));
  app.use(refuse);
  return app;
}

/** A body that is too large, or no JSON: express's own errors have the right status. */
const refuse: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  const status = typeof error === 'object' && error !== null && 'status' in error ? error.status : undefined;
  if (typeof status !== 'number' || status < 400 || status >= 500 || response.headersSent) return next(error);
  response.status(status).json({ error: status === 413 ? `at most ${maxCallBytes} bytes are taken` : 'not JSON' });
};
