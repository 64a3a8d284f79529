import express, { type Express } from 'express';
import { routes } from '../../../contract/src/ports.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import type { ServingState } from './state.ts';

/** The control port: metrics, and which model this pod serves. It is on no Service. */
export function createControlApp(telemetry: Telemetry, state: () => ServingState): Express {
  const app = express();
  app.disable('x-powered-by');
  app.get(routes.metrics, async (_request, response) => {
    response.type(telemetry.contentType).send(await telemetry.exposition());
  });
  app.get(routes.model, (_request, response) => {
    const current = state();
    const report = current.kind === 'loading' ? undefined : current.report;
    if (report === undefined) response.status(503).json({ error: 'the model is still being loaded' });
    else response.json(report);
  });
  return app;
}
