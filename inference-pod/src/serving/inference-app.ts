import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express';
import type { Logger } from 'pino';
import { routes } from '../../../contract/src/ports.ts';
import type { Executor } from '../model/executor.ts';
import { type ModelIdentity, modelMetadata } from '../protocol/open-inference.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import type { Admission } from './admission.ts';
import { readBody } from './body.ts';
import type { ServingState } from './state.ts';

export interface InferenceAppOptions {
  readonly model: ModelIdentity;
  readonly revision: string | undefined;
  readonly maxBodyBytes: number;
  readonly admission: Admission;
  readonly telemetry: Telemetry;
  readonly log: Logger;
  readonly state: () => ServingState;
}

/** The Open Inference Protocol v2 over REST. */
export function createInferenceApp(options: InferenceAppOptions): Express {
  const { model, state, telemetry } = options;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('case sensitive routing', true);
  app.use((request, response, next) => {
    if (state().kind === 'draining') response.setHeader('connection', 'close');
    if (options.revision !== undefined) response.setHeader('x-slipway-revision', options.revision);
    telemetry.observe(request, response);
    next();
  });

  app.get(routes.live, (_request, response) => answer(response, 200, { live: true }));
  app.get(routes.ready, (_request, response) => {
    const ready = state().kind === 'serving';
    answer(response, ready ? 200 : 503, { ready });
  });
  app.get('/v2', (_request, response) =>
    answer(response, 200, { name: 'slipway', version: serverVersion, extensions: [] }),
  );

  const paths = (suffix: string) => [`/v2/models/:name${suffix}`, `/v2/models/:name/versions/:version${suffix}`];
  const known: RequestHandler = (request, _response, next) => {
    refuseUnknown(request, model);
    next();
  };
  app.get(paths('/ready'), known, (_request, response) => {
    const ready = state().kind === 'serving';
    answer(response, ready ? 200 : 503, { name: model.name, ready });
  });
  app.get(paths(''), known, (_request, response) => {
    answer(response, 200, modelMetadata(model, loaded(state(), model).signature));
  });
  app.post(paths('/infer'), known, (request, response) => infer(request, response, options));

  app.use((request) => {
    throw new RequestError(
      404,
      `there is no ${request.method} ${request.path}; the model is at /v2/models/${model.name}`,
    );
  });
  app.use(errorHandler(options.log));
  return app;
}

/** The version of the protocol's server that `GET /v2` tells. */
const serverVersion = '0.1.0';

async function infer(request: Request, response: Response, options: InferenceAppOptions): Promise<void> {
  const executor = loaded(options.state(), options.model);
  refuseEncodings(request);
  const place = options.admission.enter();
  if (place === undefined) {
    response.setHeader('retry-after', '1');
    throw new RequestError(503, 'the server is full: too many requests are in flight, try again');
  }
  try {
    const body = await readBody(request, options.maxBodyBytes, place);
    place.arrived();
    const answered = await executor.infer(body, () => response.destroyed);
    if (answered === undefined) return;
    const { status, body: json, seconds } = answered;
    if (seconds !== undefined) options.telemetry.observeInference(seconds);
    if (status >= 500) options.log.warn({ answer: Buffer.from(json).toString() }, 'an inference failed');
    if (options.state().kind === 'draining') response.setHeader('connection', 'close');
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': json.length }).end(json);
  } finally {
    place.leave();
  }
}

function loaded(state: ServingState, model: ModelIdentity): Executor {
  const executor = state.kind === 'loading' ? undefined : state.executor;
  if (executor === undefined) throw new RequestError(503, `the model ${model.name} is still being loaded`);
  return executor;
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

/** Anything else is read as JSON whatever its content type says, as clients that set none expect. */
function refuseEncodings(request: Request): void {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity')
    throw new RequestError(415, `the content encoding ${encoding} is not supported: send plain JSON`);
  const binary =
    request.headers['inference-header-content-length'] !== undefined ||
    request.is('application/octet-stream') === 'application/octet-stream';
  if (binary) {
    throw new RequestError(415, 'binary tensor data is not supported by this server: send JSON');
  }
}

function errorHandler(log: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (hasBody(request) && !request.complete) discardRest(request);
    if (error instanceof RequestError) {
      if (error.status === 503) response.setHeader('retry-after', response.getHeader('retry-after') ?? '1');
      answer(response, error.status, { error: error.message });
    } else if (error instanceof URIError) {
      answer(response, 400, { error: 'the path is not valid URL encoding' });
    } else {
      log.error({ err: error }, 'a request failed');
      answer(response, 500, { error: 'internal error' });
    }
  };
}

/** How long the rest of a body is read and thrown away. */
const discardMilliseconds = 10_000;

/**
 * A body that was refused before it was read: clients send it whole before they look at the answer, and would lose the
 * answer if the connection were reset under them. So the rest is discarded, for a while; an answer that said that the
 * connection closes would close it at once.
 */
function discardRest(request: Request): void {
  request.resume();
  const timer = setTimeout(() => request.destroy(), discardMilliseconds);
  request.once('close', () => clearTimeout(timer));
}

function hasBody({ headers }: Request): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function answer(response: Response, status: number, body: object): void {
  const json = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': json.length }).end(json);
}
