import { setMaxListeners } from 'node:events';
import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Deadline, DeadlinePassed } from '../execution/deadline.ts';
import { StartupError } from '../model/startup-error.ts';
import { shorten } from '../protocol/json-reader.ts';
import { RequestError } from '../protocol/request-error.ts';
import { GrpcAnswer, isGone } from './grpc-answer.ts';
import { Messages } from './grpc-messages.ts';
import { type GrpcStatus, grpcStatus, grpcStatusOf } from './grpc-status.ts';
import type { Transfers } from './transfers.ts';

/** One call of a method, which is given one message after another. */
export interface GrpcCall {
  /** Undefined for a call without one. */
  readonly deadline: Deadline | undefined;
  readonly isCancelled: () => boolean;
  /** Such as /inference.GRPCInferenceService/ModelInfer. */
  readonly path: string;
  readonly header: (name: string) => string | undefined;
  /** Calls back once the client is gone, or the call has been answered. */
  readonly onOver: (listener: () => void) => void;
  /** The answer comes from another revision than this pod's. */
  readonly answeredBy: (revision: string) => void;
  /** A canary is asked, whoever answers in the end. */
  readonly passedOn: () => void;
}

/** How a method answers. */
export type GrpcMethod = AnsweringMethod | FollowingMethod;

interface AnyMethod {
  /** Whether a call may have several messages, each of which is answered in turn. */
  readonly isStreaming: boolean;
  readonly mostMessageBytes: number;
}

/** Answers each message with another. */
interface AnsweringMethod extends AnyMethod {
  answer(message: Buffer, call: GrpcCall): Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  /** What a stream answers to a message that was refused; undefined ends the call with the error's status. */
  refusal?(error: RequestError): readonly Uint8Array[];
}

/** Answers one message with as many as there are until `end`, which comes when nobody listens any more. */
interface FollowingMethod extends AnyMethod {
  follow(message: Buffer, end: AbortSignal): AsyncIterable<readonly Uint8Array[]>;
}

/** A call that has ended, with the status of HTTP that it would have had; times in milliseconds of performance.now(). */
export interface EndedCall {
  readonly path: string;
  readonly status: number;
  readonly start: number;
  readonly end: number;
  readonly traceparent: string | undefined;
  /** Whether no canary was asked first. */
  readonly isOwn: boolean;
}

export interface GrpcServerOptions {
  readonly port: number;
  readonly host: string | undefined;
  /** By path, such as /inference.GRPCInferenceService/ModelInfer. */
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly transfers: Transfers;
  /** That answers, as every answer says; undefined outside a cluster. */
  readonly revision: string | undefined;
  readonly onEnd: (call: EndedCall) => void;
  readonly onFault: (error: unknown) => void;
}

/** gRPC over HTTP/2 without TLS (the framing of the specification "gRPC over HTTP2"). */
export interface GrpcServer {
  readonly port: number;
  /** Tells every client to go elsewhere with its next call; a stream ends after the message in hand. */
  goAway(): void;
  /** Waits until every call is answered, but not longer than this, and closes what is left. */
  close(milliseconds: number): Promise<void>;
}

/** Streams of one connection at once. */
const mostStreams = 1024;
/** So much may be on its way to this server on a connection before it has been read; the default strangles tensors. */
const windowBytes = 4 * 2 ** 20;
const mostConnections = 8192;
const idleMilliseconds = 3_600_000;
const pollMilliseconds = 20;

/** @throws StartupError InvalidConfiguration when the port cannot be opened */
export function listenGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const sessions = new Set<ServerHttp2Session>();
  let streams = 0;
  const server: Http2Server = createServer({
    settings: { maxConcurrentStreams: mostStreams, initialWindowSize: windowBytes, enablePush: false },
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    maxHeaderListPairs: 64,
  });
  server.maxConnections = mostConnections;
  server.on('session', (session) => {
    sessions.add(session);
    session.setLocalWindowSize(windowBytes);
    session.setTimeout(idleMilliseconds, () => session.close());
    session.on('close', () => sessions.delete(session));
    // A client that breaks the protocol ends its own connection, and nothing else.
    session.on('error', () => undefined);
  });
  server.on('sessionError', () => undefined);
  const ending = new AbortController();
  // Each call listens for the end.
  setMaxListeners(0, ending.signal);
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    streams++;
    stream.on('close', () => {
      streams--;
    });
    answerStream(stream, headers, options, ending.signal).catch(options.onFault);
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new StartupError('InvalidConfiguration', `port ${options.port} cannot be opened: ${error.message}`, {
          cause: error,
        }),
      ),
    );
    server.listen({ port: options.port, host: options.host }, () => {
      const address = server.address();
      resolve({
        port: typeof address === 'object' && address !== null ? address.port : options.port,
        goAway() {
          ending.abort();
          server.close();
          for (const session of sessions) session.close();
        },
        async close(milliseconds) {
          for (let waited = 0; streams > 0 && waited < milliseconds; waited += pollMilliseconds) {
            await sleep(pollMilliseconds);
          }
          for (const session of sessions) session.destroy();
        },
      });
    });
  });
}

async function answerStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  options: GrpcServerOptions,
  ending: AbortSignal,
): Promise<void> {
  const start = performance.now();
  const path = headers[':path'] ?? '';
  stream.on('error', () => undefined);
  const answer = new GrpcAnswer(stream, options.transfers, options.revision);
  let failure: unknown;
  try {
    await answerMessages(stream, headers, answer, { start, ending }, options);
    answer.end(grpcStatus.ok, '');
  } catch (error) {
    failure = error;
    if (!(error instanceof RequestError)) options.onFault(error);
    answer.end(statusOf(error), error instanceof RequestError ? error.message : 'internal error');
  }
  const status = failure === undefined ? 200 : failure instanceof RequestError ? failure.status : 500;
  const traceparent = headers['traceparent'];
  options.onEnd({
    path,
    status: stream.aborted ? abandoned : status,
    start,
    end: performance.now(),
    traceparent: typeof traceparent === 'string' ? traceparent : undefined,
    isOwn: answer.isOwn,
  });
}

/** The client went away before the answer. */
const abandoned = 499;

async function answerMessages(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  answer: GrpcAnswer,
  { start, ending }: { readonly start: number; readonly ending: AbortSignal },
  options: GrpcServerOptions,
): Promise<void> {
  const method = methodOf(headers, options);
  const deadline = readDeadline(headers['grpc-timeout'], start);
  const call: GrpcCall = {
    deadline,
    isCancelled: () => isGone(stream),
    path: headers[':path'] ?? '',
    header(name) {
      const value = headers[name];
      return typeof value === 'string' ? value : undefined;
    },
    onOver: (listener) => stream.once('close', listener),
    answeredBy(revision) {
      answer.revision = revision;
    },
    passedOn() {
      answer.isOwn = false;
    },
  };
  const messages = new Messages(stream, headers['grpc-encoding'], method.mostMessageBytes, options.transfers);
  // A call with nothing in hand does not hold up the end.
  const onEnding = () => {
    if (!messages.hasBegun) messages.fail(endsError());
  };
  ending.addEventListener('abort', onEnding);
  const timer =
    deadline === undefined
      ? undefined
      : setTimeout(() => messages.fail(new DeadlinePassed(deadline)), deadline.at - performance.now());
  try {
    for (let message = await messages.next(); message !== undefined; message = await messages.next()) {
      if ('follow' in method) {
        // There is no other message: what comes is thrown away, and is not held.
        messages.end();
        await followMessage(method, message, stream, answer, ending, deadline);
        return;
      }
      await answer.write(await answerMessage(method, message, call), method.isStreaming);
      messages.answered();
      if (!method.isStreaming) return;
      if (ending.aborted) throw endsError();
      // Nobody waits for an answer to what is left.
      if (call.isCancelled()) return;
    }
  } finally {
    clearTimeout(timer);
    ending.removeEventListener('abort', onEnding);
    messages.end();
  }
  if (!method.isStreaming) throw new RequestError(400, 'the call has no message');
}

function statusOf(error: unknown): GrpcStatus {
  if (error instanceof Unimplemented) return grpcStatus.unimplemented;
  return error instanceof RequestError ? grpcStatusOf(error.status) : grpcStatus.internal;
}

/** There is no such method. */
class Unimplemented extends RequestError {
  constructor(path: string) {
    super(404, `there is no method ${shorten(path)}`);
  }
}

function methodOf(headers: IncomingHttpHeaders, { methods }: GrpcServerOptions): GrpcMethod {
  const path = headers[':path'] ?? '';
  if (headers[':method'] !== 'POST' || !headers['content-type']?.startsWith('application/grpc')) {
    throw new RequestError(415, 'this port speaks gRPC only');
  }
  const method = methods.get(path);
  if (method === undefined) throw new Unimplemented(path);
  return method;
}

function endsError(): RequestError {
  return new RequestError(503, 'the server ends: go on elsewhere');
}

/** @throws RequestError when the deadline has passed, or the server ends */
async function followMessage(
  method: FollowingMethod,
  message: Buffer,
  stream: ServerHttp2Stream,
  answer: GrpcAnswer,
  ending: AbortSignal,
  deadline: Deadline | undefined,
): Promise<void> {
  const gone = new AbortController();
  const onClose = () => gone.abort();
  stream.once('close', onClose);
  // It may have gone before, while its message was inflated.
  if (isGone(stream)) gone.abort();
  const late = new AbortController();
  const timer = deadline === undefined ? undefined : setTimeout(() => late.abort(), deadline.at - performance.now());
  try {
    const end = AbortSignal.any([ending, gone.signal, late.signal]);
    for await (const pieces of method.follow(message, end)) await answer.write(pieces, true);
  } finally {
    clearTimeout(timer);
    stream.off('close', onClose);
  }
  throw deadline !== undefined && late.signal.aborted ? new DeadlinePassed(deadline) : endsError();
}

async function answerMessage(method: AnsweringMethod, message: Buffer, call: GrpcCall): Promise<readonly Uint8Array[]> {
  try {
    return await method.answer(message, call);
  } catch (error) {
    if (method.refusal === undefined || !(error instanceof RequestError)) throw error;
    return method.refusal(error);
  }
}

const timeoutUnits: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** @returns undefined for a call without one */
function readDeadline(header: string | string[] | undefined, start: number): Deadline | undefined {
  if (header === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? [];
  if (digits === undefined || unit === undefined) throw new RequestError(400, 'grpc-timeout is no timeout');
  // Longer ones are none: a timer takes no more.
  const milliseconds = Math.min(2 ** 31 - 1, Math.max(1, Number(digits) * (timeoutUnits[unit] ?? 1)));
  return { at: start + milliseconds, milliseconds };
}
