import type { RequestListener } from 'node:http';
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express';
import type { Logger } from 'pino';
import { routes } from '../../../contract/src/ports.ts';
import { type ModelIdentity, modelMetadata, serverMetadata } from '../protocol/open-inference.ts';
import { RequestError } from '../protocol/request-error.ts';
import { jsonAnswer, refuse, send } from './answer.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Transfers } from './transfers.ts';

export interface InferenceAppOptions {
  readonly model: ModelIdentity;
  readonly lifecycle: Lifecycle;
  readonly transfers: Transfers;
  readonly log: Logger;
  readonly infer: RequestListener;
}

/** What the Open Inference Protocol v2 has over REST beside inferences, and the refusal of everything else. */
export function createInferenceApp({ model, lifecycle, transfers, log, infer }: InferenceAppOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('case sensitive routing', true);
  const answer =
    (read: () => object, status: () => number = () => 200): RequestHandler =>
    (_request, response) =>
      send(response, jsonAnswer(status(), read()), transfers);
  const readiness = () => (lifecycle.isReady ? 200 : 503);

  app.get(
    routes.live,
    answer(() => ({ live: true })),
  );
  app.get(
    routes.ready,
    answer(() => ({ ready: lifecycle.isReady }), readiness),
  );
  app.get(
    '/v2',
    answer(() => serverMetadata),
  );

  const paths = (suffix: string) => [`/v2/models/:name${suffix}`, `/v2/models/:name/versions/:version${suffix}`];
  const known: RequestHandler = (request, _response, next) => {
    refuseUnknown(request, model);
    next();
  };
  app.get(
    paths('/ready'),
    known,
    answer(() => ({ name: model.name, ready: lifecycle.isReady }), readiness),
  );
  app.get(
    paths(''),
    known,
    answer(() => {
      if (lifecycle.model === undefined) throw new RequestError(503, `the model ${model.name} is still being loaded`);
      return modelMetadata(model, lifecycle.model.scheduler.model.signature);
    }),
  );
  app.post(paths('/infer'), known, infer);

  app.use((request) => {
    throw new RequestError(
      404,
      `there is no ${request.method} ${request.path}; the model is at /v2/models/${model.name}`,
    );
  });
  const refused: ErrorRequestHandler = (error: unknown, request, response, _next) =>
    refuse(request, response, error, transfers, log);
  app.use(refused);
  return app;
}

function refuseUnknown(request: Request, model: ModelIdentity): void {
  const { name, version } = request.params;
  if (name !== model.name) throw new RequestError(404, `there is no model '${name}' here, only '${model.name}'`);
  if (version !== undefined && version !== model.version) {
    throw new RequestError(
      404,
      `there is no version '${version}' of the model '${model.name}' here, only '${model.version}'`,
    );
  }
}
