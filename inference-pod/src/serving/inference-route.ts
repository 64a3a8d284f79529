import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Deadline } from '../execution/deadline.ts';
import type { InferenceAnswer } from '../execution/inference.ts';
import type { Scheduler } from '../execution/scheduler.ts';
import { HandlerProblem, type ModelMessage, type ModelRun } from '../handler/handler.ts';
import type { RequestHead } from '../handler/handler-settings.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import { tableError } from '../protocol/table-answer.ts';
import { textRequestError } from '../protocol/text-request.ts';
import type { AnyWire, Call } from '../protocol/wires.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import type { Stages } from '../telemetry/tracing.ts';
import { isOrdinary, passedOnHeader, revisionHeader } from '../traffic/canary-answer.ts';
import type { Comparison } from '../traffic/comparison.ts';
import type { Passing } from '../traffic/passing.ts';
import type { Asked, Traffic } from '../traffic/traffic.ts';
import {
  binaryType,
  compressed,
  type ErrorForm,
  encodingFor,
  type HttpAnswer,
  jsonType,
  refuse,
  send,
} from './answer.ts';
import { type Body, readBody } from './body.ts';
import { type Lifecycle, type ServedModel, schedulersOf } from './lifecycle.ts';
import type { PictureAddresses } from './picture-addresses.ts';
import type { Transfer, Transfers } from './transfers.ts';

export interface InferenceOptions {
  readonly model: ModelIdentity;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMilliseconds: number;
  readonly transfers: Transfers;
  readonly telemetry: Telemetry;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
  readonly traffic: Traffic;
  readonly pictureAddresses: PictureAddresses;
}

/** The forms of requests: those that the model's processes read, and what only a handler does. */
export type RequestForm = AnyWire | 'handler';

/** Answers an inference whose body is in this form, and notes its stages; `version` is the one that its path names. */
export type Inference = (
  request: IncomingMessage,
  response: ServerResponse,
  form: RequestForm,
  version: string | undefined,
  stages?: Stages,
) => void;

/** Answers inferences over HTTP: `POST /v2/models/NAME/infer`, and what TensorFlow Serving has beside it. */
export function createInference(options: InferenceOptions): Inference {
  return (request, response, form, version, stages = {}) =>
    void answer(request, response, form, version, stages, options);
}

/** How a client reads what went wrong, where that is not as usual. */
const errorForms: Readonly<Partial<Record<RequestForm, ErrorForm>>> = {
  embeddings: textRequestError,
  'text-classification': textRequestError,
  entities: textRequestError,
  rerank: textRequestError,
  pictures: textRequestError,
  picture: textRequestError,
  'picture-form': textRequestError,
  table: tableError,
  'table-csv': tableError,
};

/** One request, and what is known of it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly form: RequestForm;
  readonly stages: Stages;
  readonly passing: Passing | undefined;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  form: RequestForm,
  version: string | undefined,
  stages: Stages,
  options: InferenceOptions,
): Promise<void> {
  const { model, lifecycle, transfers, log, requestTimeoutMilliseconds } = options;
  const start = performance.now();
  let transfer: Transfer | undefined;
  let comparison: Comparison | undefined;
  let held: Transfer | undefined;
  try {
    if (lifecycle.model === undefined) throw new RequestError(503, `the model ${model.name} is still being loaded`);
    const headerLength = readHeaderLength(request);
    const named = readDeadline(request, start, requestTimeoutMilliseconds);
    const passing = options.traffic.begin(askedBy(request, version));
    const arriving = readBody(request, options.maxBodyBytes, headerLength, transfers, named);
    // HTTP/1.0 knows no such answer.
    if (request.headers.expect !== undefined && request.httpVersionMinor > 0) response.writeContinue();
    const body = await arriving;
    transfer = body.transfer;
    stages.received = performance.now();
    // The server's own limit is for what it does itself, not for the upload.
    const deadline = named ?? deadlineFrom(stages.received, requestTimeoutMilliseconds);
    const exchange = { request, response, form, stages, passing };
    if (passing !== undefined) held = transfers.holding();
    const passed = held === undefined ? undefined : await pass(exchange, body.bytes, deadline, held);
    comparison = mirrored(exchange, version, body.bytes, options);
    if (passed !== undefined) body.release();
    const made = passed ?? (await inferHere(exchange, lifecycle.model, body, headerLength, deadline, options));
    if (made === undefined || response.destroyed) return;
    if (lifecycle.state.kind === 'draining') response.setHeader('connection', 'close');
    const encoding = encodingFor(request, made.body);
    const sent = encoding === undefined ? made : await compressed(made, encoding);
    held?.end();
    send(response, sent, transfers);
    compare(comparison, made, lifecycle.model.scheduler, log);
  } catch (error) {
    refuse(request, response, error, transfers, log, errorForms[form]);
  } finally {
    comparison?.endUnlessUnderWay();
    held?.end();
    transfer?.end();
  }
}

/**
 * Answers by this pod's own model.
 *
 * @returns undefined when nobody waits any more
 * @throws RequestError for what is refused
 */
async function inferHere(
  exchange: Exchange,
  served: ServedModel,
  body: Body,
  headerLength: number | undefined,
  deadline: Deadline,
  { lifecycle, telemetry, log, ...options }: InferenceOptions,
): Promise<HttpAnswer | undefined> {
  const { request, response, form, stages, passing } = exchange;
  const start = performance.now();
  const made =
    form === 'handler'
      ? await byHandler(exchange, served, body, deadline)
      : form === 'pictures'
        ? await byPictures(exchange, served.scheduler, body, deadline, options)
        : await byModel({ wire: form, body: body.bytes, headerLength }, served.scheduler, body, deadline, response);
  const milliseconds = performance.now() - start;
  if (made !== undefined) passing?.judge(outcomeOf(made.answer.status), milliseconds);
  if (made === undefined || response.destroyed) return undefined;
  stages.answered = performance.now();
  if (made.seconds !== undefined) {
    stages.computedMilliseconds = made.seconds * 1000;
    telemetry.observeInference(made.seconds);
  }
  if ('body' in made.answer) {
    if (passing === undefined && isOrdinary(headerOf(request, passedOnHeader))) telemetry.handled(milliseconds / 1000);
    return made.answer;
  }
  if (lifecycle.state.kind === 'draining') response.setHeader('connection', 'close');
  if (made.answer.status >= 500) log.warn({ reason: reasonOf(made.answer) }, 'an inference failed');
  throw made.answer;
}

function reasonOf(error: RequestError): string {
  return error instanceof HandlerProblem ? error.reason : error.message;
}

/** An answer, or why there is none, and the time that the model itself took. */
interface Made {
  readonly answer: HttpAnswer | RequestError;
  readonly seconds: number | undefined;
}

async function byModel(
  call: Call,
  scheduler: Scheduler,
  body: Body,
  deadline: Deadline,
  response: ServerResponse,
): Promise<Made | undefined> {
  const answered = await scheduler.infer(call, deadline, () => response.destroyed);
  // Without an answer, an executor may still be reading the body.
  if (answered?.kind === 'answered') body.release();
  if (answered === undefined) return undefined;
  const { seconds } = answered;
  return answered.kind === 'answered'
    ? { answer: httpAnswer(answered), seconds }
    : { answer: new RequestError(answered.status, answered.message), seconds };
}

/** Pictures that the body names by their addresses are fetched first. */
async function byPictures(
  { response }: Exchange,
  scheduler: Scheduler,
  body: Body,
  deadline: Deadline,
  { pictureAddresses, transfers }: Pick<InferenceOptions, 'pictureAddresses' | 'transfers'>,
): Promise<Made | undefined> {
  const held = transfers.holding();
  const gone = new AbortController();
  const onClose = () => gone.abort();
  response.once('close', onClose);
  try {
    const bytes = await pictureAddresses.fetched(body.bytes, deadline, held, gone.signal);
    const call = { wire: 'pictures', body: bytes, headerLength: undefined } as const;
    return await byModel(call, scheduler, body, deadline, response);
  } catch (error) {
    if (response.destroyed) return undefined;
    throw error;
  } finally {
    response.off('close', onClose);
    held.end();
  }
}

async function byHandler(
  { request, response }: Exchange,
  served: ServedModel,
  body: Body,
  deadline: Deadline,
): Promise<Made | undefined> {
  const { handler } = served;
  if (handler === undefined) throw new RequestError(404, 'the model has no handler');
  let seconds: number | undefined;
  const run = async ({ model = -1, ...asked }: ModelRun): Promise<ModelMessage | undefined> => {
    // It has been read.
    body.release();
    const asks = schedulersOf(served)[model];
    if (asks === undefined) throw new HandlerProblem(500, 'the handler asks for a model that is not there');
    const call = { ...asked, wire: 'open-inference' } as const;
    const answered = await asks.infer(call, deadline, () => response.destroyed);
    if (answered === undefined) return undefined;
    seconds = (seconds ?? 0) + (answered.seconds ?? 0);
    if (answered.kind === 'refused') {
      const what = answered.status < 500 ? 'refuses what its handler has made' : 'failed at what its handler has made';
      throw new HandlerProblem(500, `the model ${what} of the request: ${answered.message}`);
    }
    const { body: given } = answered;
    const bytes = typeof given === 'string' ? Buffer.from(given) : Buffer.concat(given);
    return { body: bytes, headerLength: answered.headerLength };
  };
  try {
    const head = requestHead(request);
    const given = await handler.answer(head, body.bytes, deadline, () => response.destroyed, run);
    return given === undefined ? undefined : { answer: { ...given, body: [given.body] }, seconds };
  } catch (error) {
    if (!(error instanceof HandlerProblem)) throw error;
    return { answer: error, seconds };
  }
}

function requestHead({ headers, url = '' }: IncomingMessage): RequestHead {
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  const start = url.indexOf('?');
  return { contentType: type.trim().toLowerCase(), query: start === -1 ? '' : url.slice(start) };
}

function outcomeOf(status: number): 'answered' | 'refused' | 'failed' {
  if (status < 400) return 'answered';
  return status < 500 ? 'refused' : 'failed';
}

/** Who is to answer, as far as a request says. */
function askedBy(request: IncomingMessage, version: string | undefined): Asked {
  const header = (name: string) => headerOf(request, name);
  return { revision: header(revisionHeader), version, header };
}

function headerOf({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** What of a request's head a canary has to know; its body is sent as it is once it is inflated. */
const passedHeaders = ['content-type', 'inference-header-content-length', 'traceparent', 'tracestate'];

function headersToPass({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    passedHeaders.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' ? [[name, value] as const] : [];
    }),
  );
}

/**
 * @param held what a canary has answered, until that is sent
 * @returns what a canary has answered; undefined when this pod is to answer after all
 */
async function pass(
  { request, response, stages, passing }: Exchange,
  body: Buffer,
  deadline: Deadline,
  held: Transfer,
): Promise<HttpAnswer | undefined> {
  if (passing === undefined) return undefined;
  stages.passedOnTo = passing.revision;
  const headers = headersToPass(request);
  const gone = new AbortController();
  const onClose = () => gone.abort();
  response.once('close', onClose);
  const asked = { path: request.url ?? '', headers, body, hold: (bytes: number) => held.reserve(bytes) };
  const answer = await passing.ask('http', asked, deadline, performance.now(), gone);
  response.off('close', onClose);
  if (answer === undefined) return undefined;
  stages.answered = performance.now();
  response.setHeader(revisionHeader, passing.revision);
  const { status, contentType, headerLength } = answer;
  const rest = headerLength === undefined ? {} : { headers: { 'inference-header-content-length': headerLength } };
  return { status, contentType, ...rest, body: [answer.body] };
}

/** How the canary's answer to a request that this pod answers is compared; undefined when it is not asked. */
function mirrored(
  { request, form, passing }: Exchange,
  version: string | undefined,
  body: Buffer,
  { traffic }: InferenceOptions,
): Comparison | undefined {
  const isForAnyone = version === undefined && request.headers[revisionHeader] === undefined;
  if (passing !== undefined || form !== 'open-inference' || !isForAnyone) return undefined;
  return traffic.mirror({ path: request.url ?? '', headers: headersToPass(request), body }, 'http');
}

/** Whoever asked has its answer already, and does not wait for this. */
function compare(
  comparison: Comparison | undefined,
  { headers, body }: HttpAnswer,
  { model }: Scheduler,
  log: Logger,
): void {
  if (comparison === undefined) return;
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.concat(body);
  const headerLength = headers?.['inference-header-content-length'];
  const length = headerLength === undefined ? undefined : Number(headerLength);
  void comparison.with({ over: 'http', body: bytes, headerLength: length }, model.signature, log);
}

function httpAnswer({ body, headerLength }: Extract<InferenceAnswer, { readonly kind: 'answered' }>): HttpAnswer {
  if (headerLength === undefined) return { status: 200, contentType: jsonType, body };
  const headers = { 'inference-header-content-length': headerLength };
  return { status: 200, contentType: binaryType, headers, body };
}

function readHeaderLength({ headers }: IncomingMessage): number | undefined {
  const text = headers['inference-header-content-length'];
  if (text === undefined) return undefined;
  const length = Number(text);
  if (typeof text === 'string' && /^\d{1,10}$/.test(text)) return length;
  throw badRequest(`the header inference-header-content-length must be a number of bytes, not ${JSON.stringify(text)}`);
}

const timeoutHeader = 'x-request-timeout-ms';

/** @returns undefined when the request names none */
function readDeadline({ headers }: IncomingMessage, start: number, most: number): Deadline | undefined {
  const text = headers[timeoutHeader];
  if (text === undefined) return undefined;
  const timeout = Number(text);
  if (typeof text === 'string' && /^\d{1,9}$/.test(text) && timeout > 0) {
    return deadlineFrom(start, Math.min(timeout, most));
  }
  throw badRequest(`the header ${timeoutHeader} must be a whole number of milliseconds, not ${JSON.stringify(text)}`);
}

function deadlineFrom(start: number, milliseconds: number): Deadline {
  return { at: start + milliseconds, milliseconds };
}
