import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Deadline } from '../execution/deadline.ts';
import type { InferenceAnswer } from '../execution/inference.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import type { Wire } from '../protocol/wires.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import type { Stages } from '../telemetry/tracing.ts';
import { binaryType, compressed, encodingFor, type HttpAnswer, jsonType, refuse, send } from './answer.ts';
import { readBody } from './body.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Transfer, Transfers } from './transfers.ts';

export interface InferenceOptions {
  readonly model: ModelIdentity;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMilliseconds: number;
  readonly transfers: Transfers;
  readonly telemetry: Telemetry;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
}

/** Answers an inference whose body is in this form, and notes its stages. */
export type Inference = (request: IncomingMessage, response: ServerResponse, wire: Wire, stages?: Stages) => void;

/** Answers inferences over HTTP: `POST /v2/models/NAME/infer`, and what TensorFlow Serving has beside it. */
export function createInference(options: InferenceOptions): Inference {
  return (request, response, wire, stages = {}) => void answer(request, response, wire, stages, options);
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  wire: Wire,
  stages: Stages,
  options: InferenceOptions,
): Promise<void> {
  const { model, lifecycle, transfers, telemetry, log, requestTimeoutMilliseconds } = options;
  const start = performance.now();
  let transfer: Transfer | undefined;
  try {
    if (lifecycle.model === undefined) throw new RequestError(503, `the model ${model.name} is still being loaded`);
    const headerLength = readHeaderLength(request);
    const named = readDeadline(request, start, requestTimeoutMilliseconds);
    const arriving = readBody(request, options.maxBodyBytes, headerLength, transfers, named);
    // HTTP/1.0 knows no such answer.
    if (request.headers.expect !== undefined && request.httpVersionMinor > 0) response.writeContinue();
    const body = await arriving;
    transfer = body.transfer;
    stages.received = performance.now();
    // The server's own limit is for what it does itself, not for the upload.
    const deadline = named ?? deadlineFrom(stages.received, requestTimeoutMilliseconds);
    const call = { wire, body: body.bytes, headerLength };
    const answered = await lifecycle.model.scheduler.infer(call, deadline, () => response.destroyed);
    // Without an answer, an executor may still be reading the body.
    if (answered?.kind === 'answered') body.release();
    if (answered === undefined || response.destroyed) return;
    stages.answered = performance.now();
    if (answered.seconds !== undefined) {
      stages.computedMilliseconds = answered.seconds * 1000;
      telemetry.observeInference(answered.seconds);
    }
    if (lifecycle.state.kind === 'draining') response.setHeader('connection', 'close');
    if (answered.kind === 'refused') {
      if (answered.status >= 500) log.warn({ reason: answered.message }, 'an inference failed');
      throw new RequestError(answered.status, answered.message);
    }
    const encoding = encodingFor(request, answered.body);
    const whole = httpAnswer(answered);
    send(response, encoding === undefined ? whole : await compressed(whole, encoding), transfers);
  } catch (error) {
    refuse(request, response, error, transfers, log);
  } finally {
    transfer?.end();
  }
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
