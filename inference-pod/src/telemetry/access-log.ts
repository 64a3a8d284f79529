import type { Logger } from 'pino';
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

/**
 * Writes a line for so many of a hundred requests, chosen at random, and for each that the server failed at.
 *
 * @param percent 0 writes none at all
 */
export function createAccessLog(log: Logger, percent: number, random: () => number = Math.random): AccessLog {
  if (percent === 0) return undefined;
  const requests = log.child({ access: true });
  return (request) => {
    if (request.status < 500 && random() * 100 >= percent) return;
    requests.info(request, 'request');
  };
}
