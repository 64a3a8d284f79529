import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { constants, deflate, gzip } from 'node:zlib';
import type { Logger } from 'pino';
import { Overload } from '../execution/scheduler.ts';
import type { AnswerBody } from '../protocol/json-text.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Transfers } from './transfers.ts';

/** An answer as it goes over the wire. */
export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body: AnswerBody;
}

export const jsonType = 'application/json';
export const binaryType = 'application/octet-stream';

export function jsonAnswer(status: number, body: object): HttpAnswer {
  return { status, contentType: jsonType, body: JSON.stringify(body) };
}

/** How the clients of a protocol read what went wrong. */
export type ErrorForm = (status: number, message: string) => object;

const usualForm: ErrorForm = (_status, message) => ({ error: message });

/** The answer for a request that was refused; undefined for an error that is a fault of this program. */
function refusalAnswer(error: unknown, inForm: ErrorForm): HttpAnswer | undefined {
  if (error instanceof URIError) return jsonAnswer(400, inForm(400, 'the path is not valid URL encoding'));
  if (!(error instanceof RequestError)) return undefined;
  const answer = jsonAnswer(error.status, inForm(error.status, error.message));
  if (error.status !== 503) return answer;
  return { ...answer, headers: { 'retry-after': error instanceof Overload ? error.retryAfterSeconds : 1 } };
}

/**
 * Sends an answer, and ends the connection of a client that does not read it.
 */
export function send(response: ServerResponse, answer: HttpAnswer, transfers: Transfers): void {
  if (response.destroyed) return;
  const { status, contentType, headers, body } = answer;
  const length = lengthOf(body);
  response.writeHead(status, { 'content-type': contentType, 'content-length': length, ...headers });
  if (typeof body === 'string') response.end(body);
  else {
    for (const piece of body) response.write(piece);
    response.end();
  }
  // What the system has taken is none of this process's business any more. An answer that waits for those before it on the
  // same connection has no socket yet.
  if (response.writableFinished || response.socket?.writableLength === 0) return;
  const abort = () => response.req.socket.destroy();
  const transfer = transfers.begin(abort, length);
  response.once('close', () => transfer.end());
  if (!transfer.reserve(length)) abort();
}

function lengthOf(body: AnswerBody): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.reduce((sum, { length }) => sum + length, 0);
}

/** Smaller answers gain nothing. */
const leastCompressedBytes = 4096;
const deflateQuickly = { level: constants.Z_BEST_SPEED };
const gzipped = promisify(gzip);
const deflated = promisify(deflate);

/** How an answer is to be compressed, as the client has said that it takes it; undefined for not at all. */
export function encodingFor({ headers }: IncomingMessage, body: AnswerBody): Encoding | undefined {
  const accepted = headers['accept-encoding'];
  return accepted === undefined || lengthOf(body) < leastCompressedBytes ? undefined : acceptedEncoding(accepted);
}

export async function compressed(answer: HttpAnswer, encoding: Encoding): Promise<HttpAnswer> {
  const whole = typeof answer.body === 'string' ? answer.body : Buffer.concat(answer.body);
  const body = encoding === 'gzip' ? await gzipped(whole, deflateQuickly) : await deflated(whole, deflateQuickly);
  return { ...answer, headers: { ...answer.headers, 'content-encoding': encoding }, body: [body] };
}

type Encoding = 'gzip' | 'deflate';

/** The encoding to answer in, of those that a header names; undefined for none. */
function acceptedEncoding(header: string): Encoding | undefined {
  const accepted = header.split(',').flatMap((part) => {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    return parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter)) ? [] : [name];
  });
  if (accepted.includes('gzip')) return 'gzip';
  return accepted.includes('deflate') ? 'deflate' : undefined;
}

/** Answers a request that could not be answered as it was, or that this program failed at. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  transfers: Transfers,
  log: Logger,
  inForm: ErrorForm = usualForm,
): void {
  const refusal = refusalAnswer(error, inForm);
  if (refusal === undefined) log.error({ err: error }, 'a request failed');
  if (response.headersSent) {
    response.destroy();
    return;
  }
  discardRest(request);
  send(response, refusal ?? jsonAnswer(500, inForm(500, 'internal error')), transfers);
}

/** How long the rest of a body is read and thrown away. */
const discardMilliseconds = 10_000;

/**
 * A body that was refused before it was read: clients send it whole before they look at the answer, and would lose the
 * answer if the connection were reset under them. So the rest is discarded, for a while; an answer that said that the
 * connection closes would close it at once.
 */
function discardRest(request: IncomingMessage): void {
  if (!hasBody(request) || request.complete) return;
  request.resume();
  const timer = setTimeout(() => request.destroy(), discardMilliseconds);
  request.once('close', () => clearTimeout(timer));
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
