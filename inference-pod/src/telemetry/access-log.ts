import { pino } from 'pino';
import { shorten } from '../protocol/json-reader.ts';
import type { RequestRoute } from './routes.ts';

/** One request that has ended, however it did. */
export interface EndedRequest {
  readonly method: string;
  /** Without its query, which may hold secrets. */
  readonly path: string;
  readonly route: RequestRoute;
  /** The status of HTTP. */
  readonly status: number;
  readonly seconds: number;
}

/** Undefined writes nothing. */
export type AccessLog = ((request: EndedRequest) => void) | undefined;

/** Lines that nobody takes from standard output are kept up to this, and then lost: they must not hold up the pod. */
const mostBufferedBytes = 1_000_000;
const flushMilliseconds = 500;

/**
 * Writes a line for so many of a hundred requests, chosen at random, and for each that the server failed at.
 *
 * @param fields what every line has
 * @param percent 0 writes none at all
 */
export function createAccessLog(
  fields: Readonly<Record<string, string | undefined>>,
  percent: number,
  random: () => number = Math.random,
): AccessLog {
  if (percent === 0) return undefined;
  const destination = { dest: 1, sync: false, maxLength: mostBufferedBytes, periodicFlush: flushMilliseconds };
  const base = { component: 'inference-pod', ...fields, access: true };
  const requests = pino({ base }, pino.destination(destination));
  return (request) => {
    if (request.status < 500 && random() * 100 >= percent) return;
    requests.info({ ...request, path: shorten(request.path) }, 'request');
  };
}
