import { setTimeout as sleep } from 'node:timers/promises';
import { shorten } from '../protocol/json-reader.ts';
import { ProtobufReader, ProtobufWriter } from '../protocol/protobuf.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { GrpcMethod } from './grpc-server.ts';
import type { Lifecycle } from './lifecycle.ts';

/** The states of HealthCheckResponse. */
const serving = 1;
const notServing = 2;
const serviceUnknown = 3;

/** A name has to fit in. */
const mostHealthBytes = 4096;
/** Who watches is told of a change so soon. */
const watchMilliseconds = 250;
const mostWatches = 1024;

/**
 * grpc.health.v1.Health.
 *
 * @param services those whose health can be asked for, beside '', which is the server
 */
export function healthMethods(lifecycle: Lifecycle, services: readonly string[]): ReadonlyMap<string, GrpcMethod> {
  const known = new Set(['', ...services]);
  const state = () => (lifecycle.isReady ? serving : notServing);
  const check = (message: Buffer) => {
    const service = serviceOf(message);
    if (!known.has(service)) throw new RequestError(404, `there is no service '${shorten(service)}'`);
    return answer(state());
  };
  let watches = 0;
  async function* watch(message: Buffer, end: AbortSignal) {
    if (watches >= mostWatches) throw new RequestError(503, `there are ${mostWatches} watches already`);
    watches++;
    try {
      const service = serviceOf(message);
      let told: number | undefined;
      while (!end.aborted) {
        const now = known.has(service) ? state() : serviceUnknown;
        if (now !== told) yield answer(now);
        told = now;
        await sleep(watchMilliseconds, undefined, { signal: end }).catch(() => undefined);
      }
    } finally {
      watches--;
    }
  }
  const common = { isStreaming: false, mostMessageBytes: mostHealthBytes };
  return new Map<string, GrpcMethod>([
    ['/grpc.health.v1.Health/Check', { ...common, answer: check }],
    ['/grpc.health.v1.Health/Watch', { ...common, follow: watch }],
  ]);
}

function answer(state: number): readonly Uint8Array[] {
  return new ProtobufWriter().number(1, state).finish();
}

function serviceOf(message: Buffer): string {
  const reader = new ProtobufReader(message);
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === 1) return reader.text();
    reader.skip();
  }
  return '';
}
