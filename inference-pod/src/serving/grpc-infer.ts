import type { Logger } from 'pino';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Wire } from '../protocol/wires.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import type { GrpcCall } from './grpc-server.ts';
import type { Lifecycle, ServedModel } from './lifecycle.ts';

export interface GrpcServiceOptions {
  readonly model: ModelIdentity;
  readonly lifecycle: Lifecycle;
  readonly telemetry: Telemetry;
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
 * Answers an inference in this form, whose message is known to be for this model.
 *
 * @throws RequestError
 */
export async function inferMessage(
  wire: Wire,
  message: Buffer,
  { deadline: named, isCancelled }: GrpcCall,
  options: GrpcServiceOptions,
): Promise<readonly Uint8Array[]> {
  const { telemetry, log, requestTimeoutMilliseconds } = options;
  const { scheduler } = loadedModel(options);
  const own = { at: performance.now() + requestTimeoutMilliseconds, milliseconds: requestTimeoutMilliseconds };
  const deadline = named !== undefined && named.at < own.at ? named : own;
  const answered = await scheduler.infer({ wire, body: message, headerLength: undefined }, deadline, isCancelled);
  if (answered === undefined) throw new RequestError(499, 'the call was cancelled');
  if (answered.seconds !== undefined) telemetry.observeInference(answered.seconds);
  if (answered.kind === 'refused' && answered.status >= 500) {
    log.warn({ reason: answered.message }, 'an inference failed');
  }
  if (answered.kind === 'refused') throw new RequestError(answered.status, answered.message);
  return typeof answered.body === 'string' ? [Buffer.from(answered.body)] : answered.body;
}
