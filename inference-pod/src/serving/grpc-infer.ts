import type { Logger } from 'pino';
import type { Deadline } from '../execution/deadline.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Wire } from '../protocol/wires.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import { isOrdinary, passedOnHeader, revisionHeader } from '../traffic/canary-answer.ts';
import { mostComparedBytes } from '../traffic/comparison.ts';
import type { Asked, Traffic } from '../traffic/traffic.ts';
import type { GrpcCall } from './grpc-server.ts';
import type { Lifecycle, ServedModel } from './lifecycle.ts';
import { refuseUnknown } from './model-description.ts';
import type { Transfers } from './transfers.ts';

export interface GrpcServiceOptions {
  readonly model: ModelIdentity;
  readonly lifecycle: Lifecycle;
  readonly traffic: Traffic;
  readonly telemetry: Telemetry;
  readonly transfers: Transfers;
  readonly requestTimeoutMilliseconds: number;
  readonly mostMessageBytes: number;
  readonly log: Logger;
}

/** What is asked of a model beside inferences is little more than its name. */
export const mostNameBytes = 65_536;

/** @throws RequestError 503 */
export function loadedModel({ lifecycle, model }: GrpcServiceOptions): ServedModel {
  if (lifecycle.model === undefined) throw new RequestError(503, `the model ${model.name} is still being loaded`);
  return lifecycle.model;
}

/**
 * Refuses an inference of another model, or of a version that neither this pod nor a canary has.
 *
 * @throws RequestError 404
 */
export function refuseStranger(asked: ModelIdentity, { model, traffic }: GrpcServiceOptions): void {
  if (asked.version !== '' && asked.version === traffic.share?.version) refuseUnknown({ ...asked, version: '' }, model);
  else refuseUnknown(asked, model);
}

/**
 * Answers an inference in this form, whose message is known to be for this model: here, or by a canary whose share it falls
 * into.
 *
 * @param version that the message names, '' for none
 * @throws RequestError
 */
export async function inferOrPass(
  wire: Wire,
  message: Buffer,
  version: string,
  call: GrpcCall,
  options: GrpcServiceOptions,
): Promise<readonly Uint8Array[]> {
  const { traffic, transfers } = options;
  const { header, path } = call;
  const asked = { revision: header(revisionHeader), version: version === '' ? undefined : version, header };
  const passing = traffic.begin(asked);
  if (passing === undefined) return inferAndCompare(wire, message, call, asked, options);
  // Whoever answers in the end, the request says nothing of this pod's own model.
  call.passedOn();
  const gone = new AbortController();
  call.onOver(() => gone.abort());
  const now = performance.now();
  const held = transfers.holding();
  try {
    const headers = headersToPass(call);
    const asking = { path, headers, body: message, hold: (bytes: number) => held.reserve(bytes) };
    const answer = await passing.ask('grpc', asking, deadlineOf(call, now, options), now, gone);
    if (answer !== undefined) {
      call.answeredBy(passing.revision);
      if (answer.status !== 200) throw new RequestError(answer.status, answer.body.toString());
      return [answer.body];
    }
  } finally {
    held.end();
  }
  const start = performance.now();
  try {
    const own = await inferMessage(wire, message, call, options);
    passing.judge('answered', performance.now() - start);
    return own;
  } catch (error) {
    const isRefused = error instanceof RequestError && error.status < 500;
    passing.judge(isRefused ? 'refused' : 'failed', performance.now() - start);
    throw error;
  }
}

/** What of a call's head a canary has to know. */
function headersToPass({ header }: GrpcCall): Record<string, string> {
  return Object.fromEntries(
    ['traceparent', 'tracestate'].flatMap((name) => {
      const value = header(name);
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

/** Answers here; how a canary answers is compared once the client has its answer, where the share says so. */
async function inferAndCompare(
  wire: Wire,
  message: Buffer,
  call: GrpcCall,
  { revision, version }: Asked,
  options: GrpcServiceOptions,
): Promise<readonly Uint8Array[]> {
  const { traffic, log } = options;
  const isForAnyone = wire === 'open-inference-grpc' && version === undefined && revision === undefined;
  const request = { path: call.path, headers: headersToPass(call), body: message };
  const comparison = isForAnyone ? traffic.mirror(request, 'grpc') : undefined;
  if (comparison === undefined) return inferMessage(wire, message, call, options);
  try {
    const own = await inferMessage(wire, message, call, options);
    const { signature } = loadedModel(options).scheduler.model;
    const length = own.reduce((sum, piece) => sum + piece.length, 0);
    // Nothing more is heard of a client that has gone.
    if (length <= mostComparedBytes && !call.isCancelled()) {
      const sent = new Promise<void>((resolve) => call.onOver(resolve));
      // A copy: the memory of an answer is used again once it is sent.
      const answer = { over: 'grpc', body: Buffer.concat(own), headerLength: undefined } as const;
      void comparison.with(answer, signature, log, sent);
    }
    return own;
  } finally {
    comparison.endUnlessUnderWay();
  }
}

/** A call may ask for less time than a request may take, and for no more. */
function deadlineOf({ deadline: named }: GrpcCall, now: number, options: GrpcServiceOptions): Deadline {
  const { requestTimeoutMilliseconds: milliseconds } = options;
  const own = { at: now + milliseconds, milliseconds };
  return named !== undefined && named.at < own.at ? named : own;
}

/**
 * Answers an inference in this form here.
 *
 * @throws RequestError
 */
export async function inferMessage(
  wire: Wire,
  message: Buffer,
  call: GrpcCall,
  options: GrpcServiceOptions,
): Promise<readonly Uint8Array[]> {
  const { telemetry, log } = options;
  const { scheduler } = loadedModel(options);
  const start = performance.now();
  const asked = { wire, body: message, headerLength: undefined };
  const answered = await scheduler.infer(asked, deadlineOf(call, start, options), call.isCancelled);
  if (answered === undefined) throw new RequestError(499, 'the call was cancelled');
  if (answered.seconds !== undefined) telemetry.observeInference(answered.seconds);
  if (answered.kind === 'refused' && answered.status >= 500) {
    log.warn({ reason: answered.message }, 'an inference failed');
  }
  if (answered.kind === 'refused') throw new RequestError(answered.status, answered.message);
  if (isOrdinary(call.header(passedOnHeader))) telemetry.handled((performance.now() - start) / 1000);
  return typeof answered.body === 'string' ? [Buffer.from(answered.body)] : answered.body;
}
