import { shorten } from '../protocol/json-reader.ts';
import { ProtobufReader, ProtobufWriter } from '../protocol/protobuf.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { GrpcMethod } from './grpc-server.ts';
import type { Lifecycle } from './lifecycle.ts';

/** The states of HealthCheckResponse. */
const serving = 1;
const notServing = 2;

/** A name has to fit in. */
const mostHealthBytes = 4096;

/** The services whose health can be asked for; '' is that of the server. */
const services = new Set(['', 'inference.GRPCInferenceService']);

/** grpc.health.v1.Health, but for Watch: readiness is asked for, not listened to. */
export function healthMethods(lifecycle: Lifecycle): ReadonlyMap<string, GrpcMethod> {
  const answer = (message: Buffer) => {
    const service = serviceOf(message);
    if (!services.has(service)) throw new RequestError(404, `there is no service '${shorten(service)}'`);
    return new ProtobufWriter().number(1, lifecycle.isReady ? serving : notServing).finish();
  };
  return new Map([['/grpc.health.v1.Health/Check', { isStreaming: false, mostMessageBytes: mostHealthBytes, answer }]]);
}

function serviceOf(message: Buffer): string {
  const reader = new ProtobufReader(message);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === 1) return reader.text();
    reader.skip();
  }
  return '';
}
