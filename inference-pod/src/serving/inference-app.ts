import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express';
import type { Logger } from 'pino';
import { routes } from '../../../contract/src/ports.ts';
import { modelList } from '../protocol/embeddings.ts';
import { type ModelIdentity, modelMetadata, serverMetadata } from '../protocol/open-inference.ts';
import { openApiDocument } from '../protocol/openapi.ts';
import { handlerPath } from '../protocol/openapi-handler.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Column } from '../protocol/tables.ts';
import { isVersion, modelStatus, predictMetadata } from '../protocol/tensorflow-metadata.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import { jsonAnswer, refuse, send } from './answer.ts';
import type { Inference } from './inference-route.ts';
import type { Lifecycle } from './lifecycle.ts';
import { modelConfigurationJson, modelStatistics, refuseUnknown } from './model-description.ts';
import { servePage } from './page.ts';
import { type TaskRoute, wireOf } from './task-routes.ts';
import type { Transfers } from './transfers.ts';

export interface InferenceAppOptions {
  readonly model: ModelIdentity;
  readonly lifecycle: Lifecycle;
  readonly transfers: Transfers;
  readonly telemetry: Telemetry;
  readonly log: Logger;
  readonly infer: Inference;
  /** Whether people are given a page at `/`. */
  readonly hasPage: boolean;
  /** What is taken beside tensors, and where. */
  readonly task: TaskRoute | undefined;
  /** Whether what people have written for it takes requests. */
  readonly hasHandler: boolean;
  /** What is said of the columns of a table. */
  readonly columns: readonly Column[] | undefined;
}

/** What the Open Inference Protocol v2 has over REST beside inferences, and the refusal of everything else. */
export function createInferenceApp({
  model,
  lifecycle,
  transfers,
  telemetry,
  log,
  infer,
  hasPage,
  task,
  hasHandler,
  columns,
}: InferenceAppOptions): Express {
  const startSeconds = Math.floor(Date.now() / 1000);
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('case sensitive routing', true);
  const answer =
    (read: () => object, status: () => number = () => 200): RequestHandler =>
    (_request, response) =>
      send(response, jsonAnswer(status(), read()), transfers);
  const readiness = () => (lifecycle.isReady ? 200 : 503);

  // A path with a method behind the model's name would be taken for the name of a model, so they come last.
  const refusals: (() => void)[] = [];
  const get = (path: string | string[], ...handlers: RequestHandler[]) => {
    app.get(path, handlers);
    refusals.unshift(() => app.all(path, only('GET, HEAD')));
  };
  const post = (path: string | string[], ...handlers: RequestHandler[]) => {
    app.post(path, handlers);
    refusals.unshift(() => app.all(path, only('POST')));
  };
  get(
    routes.live,
    answer(() => ({ live: true })),
  );
  get(
    routes.ready,
    answer(() => ({ ready: lifecycle.isReady }), readiness),
  );
  get(
    '/v2',
    answer(() => serverMetadata),
  );

  const paths = (suffix: string) => [`/v2/models/:name${suffix}`, `/v2/models/:name/versions/:version${suffix}`];
  const known: RequestHandler = (request, _response, next) => {
    const { name = '', version = '' } = request.params;
    refuseUnknown({ name: String(name), version: String(version) }, model);
    next();
  };
  get(
    paths('/ready'),
    known,
    answer(() => ({ name: model.name, ready: lifecycle.isReady }), readiness),
  );
  const loaded = () => {
    if (lifecycle.model === undefined) throw new RequestError(503, `the model ${model.name} is still being loaded`);
    return lifecycle.model.scheduler.model;
  };
  const statistics = answer(() => ({ model_stats: [modelStatistics(model, telemetry.statistics())] }));
  get('/v2/models/stats', statistics);
  get(paths('/stats'), known, statistics);
  get(
    paths('/config'),
    known,
    answer(() => modelConfigurationJson(model, loaded().signature, lifecycle.model?.scheduler.batching)),
  );
  // Read-only: the one model of this pod.
  post(
    '/v2/repository/index',
    answer(() => [{ name: model.name, version: model.version, state: lifecycle.isReady ? 'READY' : 'UNAVAILABLE' }]),
  );
  get(
    paths(''),
    known,
    answer(() => modelMetadata(model, loaded().signature)),
  );
  /** A path that names another version was refused before. */
  const ownVersion = ({ params }: Request) =>
    params['version'] === undefined && params['label'] === undefined ? undefined : model.version;
  post(paths('/infer'), known, (request, response) => infer(request, response, 'open-inference', ownVersion(request)));

  // TensorFlow Serving's REST API, which KServe's first protocol shares.
  const tensorflowPaths = (suffix: string) =>
    ['', '/versions/:version', '/labels/:label'].map((which) => `/v1/models/:name${which}${suffix}`);
  const knownToTensorflow: RequestHandler = (request, _response, next) => {
    const { name = '', version = '', label = '' } = request.params;
    if (namesMethod(request)) {
      next('route');
      return;
    }
    const asked = isVersion(String(version), model.version) ? model.version : String(version);
    refuseUnknown({ name: String(name), version: asked || String(label) }, model);
    next();
  };
  get(
    tensorflowPaths(''),
    knownToTensorflow,
    answer(() => modelStatus(model, lifecycle.isReady)),
  );
  get(
    tensorflowPaths('/metadata'),
    knownToTensorflow,
    answer(() => predictMetadata(model, loaded().signature)),
  );
  for (const method of ['predict', 'classify', 'regress'] as const) {
    post(tensorflowPaths(`\\:${method}`), knownToTensorflow, (request, response) =>
      infer(request, response, method, ownVersion(request)),
    );
  }

  // As OpenAI's clients look for it.
  get(
    '/v1/models',
    answer(() => modelList(model.name, startSeconds)),
  );
  if (task !== undefined)
    post([...task.paths], (request, response) => infer(request, response, wireOf(task, request), undefined));

  if (hasHandler) post(handlerPath, (request, response) => infer(request, response, 'handler', undefined));

  get(
    '/openapi.json',
    answer(() =>
      openApiDocument(model, loaded().signature, task === undefined ? undefined : { ...task, columns }, hasHandler),
    ),
  );
  if (hasPage) servePage(get, model, transfers);
  for (const refuseOthers of refusals) refuseOthers();

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

/** What stands behind a colon is a method of a model: NAME:predict is no name, but a path of its own. */
function namesMethod({ params }: Request): boolean {
  return Object.values(params).some((part) => String(part).includes(':'));
}

/** Refuses every other method of a path. */
function only(allowed: string): RequestHandler {
  return (request, response, next) => {
    if (namesMethod(request)) {
      next('route');
      return;
    }
    response.setHeader('allow', allowed);
    throw new RequestError(405, `${request.path} takes ${allowed}, not ${request.method}`);
  };
}
