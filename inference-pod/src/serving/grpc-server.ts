import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip, createInflate } from 'node:zlib';
import { type Deadline, DeadlinePassed } from '../execution/deadline.ts';
import { StartupError } from '../model/startup-error.ts';
import { shorten } from '../protocol/json-reader.ts';
import { RequestError } from '../protocol/request-error.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import { type GrpcStatus, grpcStatus, grpcStatusOf } from './grpc-status.ts';
import type { Transfer, Transfers } from './transfers.ts';

/** One call of a method, which is given one message after another. */
export interface GrpcCall {
  /** Undefined for a call without one. */
  readonly deadline: Deadline | undefined;
  readonly isCancelled: () => boolean;
}

/** Answers one message with another; a method that streams answers each of its messages in turn. */
export interface GrpcMethod {
  readonly isStreaming: boolean;
  readonly mostMessageBytes: number;
  answer(message: Buffer, call: GrpcCall): Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  /** What a stream answers to a message that was refused; undefined ends the call with the error's status. */
  refusal?(error: RequestError): readonly Uint8Array[];
}

export interface GrpcServerOptions {
  readonly port: number;
  readonly host: string | undefined;
  /** By path, such as /inference.GRPCInferenceService/ModelInfer. */
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly transfers: Transfers;
  /** A call has ended: with the status of HTTP that it would have had, after so many seconds. */
  readonly onEnd: (path: string, httpStatus: number, seconds: number) => void;
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
/** How long what nobody reads is taken from a client. */
const discardMilliseconds = 10_000;

/** @throws StartupError InvalidConfiguration when the port cannot be opened */
export function listenGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const sessions = new Set<ServerHttp2Session>();
  const streams = new Set<ServerHttp2Stream>();
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
  let isDraining = false;
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    streams.add(stream);
    stream.on('close', () => streams.delete(stream));
    answerStream(stream, headers, options, () => isDraining).catch(options.onFault);
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
          isDraining = true;
          server.close();
          for (const session of sessions) session.close();
        },
        async close(milliseconds) {
          for (let waited = 0; streams.size > 0 && waited < milliseconds; waited += pollMilliseconds) {
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
  isDraining: () => boolean,
): Promise<void> {
  const start = performance.now();
  const path = headers[':path'] ?? '';
  stream.on('error', () => undefined);
  const answer = new GrpcAnswer(stream, options.transfers);
  let failure: unknown;
  try {
    await answerMessages(stream, headers, answer, { start, isDraining }, options);
    answer.end(grpcStatus.ok, '');
  } catch (error) {
    failure = error;
    if (!(error instanceof RequestError)) options.onFault(error);
    answer.end(statusOf(error), error instanceof RequestError ? error.message : 'internal error');
  }
  const status = failure === undefined ? 200 : failure instanceof RequestError ? failure.status : 500;
  options.onEnd(path, stream.aborted ? abandoned : status, (performance.now() - start) / 1000);
}

/** The client went away before the answer. */
const abandoned = 499;

async function answerMessages(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  answer: GrpcAnswer,
  { start, isDraining }: { readonly start: number; readonly isDraining: () => boolean },
  options: GrpcServerOptions,
): Promise<void> {
  const method = methodOf(headers, options);
  const deadline = readDeadline(headers['grpc-timeout'], start);
  const call = { deadline, isCancelled: () => isGone(stream) };
  const messages = new Messages(stream, headers['grpc-encoding'], method.mostMessageBytes, options.transfers);
  const timer =
    deadline === undefined
      ? undefined
      : setTimeout(() => messages.fail(new DeadlinePassed(deadline)), deadline.at - performance.now());
  try {
    for (let message = await messages.next(); message !== undefined; message = await messages.next()) {
      await answer.write(await answerMessage(method, message, call), method.isStreaming);
      messages.answered();
      if (!method.isStreaming) return;
      if (isDraining()) throw new RequestError(503, 'the server ends: go on elsewhere');
    }
  } finally {
    clearTimeout(timer);
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

async function answerMessage(method: GrpcMethod, message: Buffer, call: GrpcCall): Promise<readonly Uint8Array[]> {
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

const prefixBytes = 5;

/** The messages of a call, each behind a prefix of five bytes: whether it is compressed, and its length. */
class Messages {
  readonly #stream: ServerHttp2Stream;
  readonly #encoding: string | undefined;
  readonly #mostBytes: number;
  readonly #transfers: Transfers;
  readonly #collected = new GrowingBuffer();
  readonly #onData = (chunk: Buffer) => this.#take(chunk);
  readonly #onOver = () => this.#over();
  /** Of the message that comes or is answered; undefined between messages. */
  #transfer: Transfer | undefined;
  #isOver = false;
  #failure: RequestError | undefined;
  #wake: (() => void) | undefined;

  constructor(
    stream: ServerHttp2Stream,
    encoding: string | string[] | undefined,
    mostBytes: number,
    transfers: Transfers,
  ) {
    this.#stream = stream;
    this.#encoding = encoding === undefined ? undefined : String(encoding);
    this.#mostBytes = mostBytes;
    this.#transfers = transfers;
    stream.on('data', this.#onData);
    stream.on('end', this.#onOver);
    stream.on('close', this.#onOver);
  }

  #begin(): Transfer {
    return this.#transfers.begin((reason) =>
      this.fail(
        reason === 'slow'
          ? new RequestError(408, 'the message comes too slowly')
          : new RequestError(503, 'the server is full: too many bytes are in flight, try again'),
      ),
    );
  }

  #take(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    this.#transfer ??= this.#begin();
    if (!this.#transfer.reserve(chunk.length)) {
      this.fail(new RequestError(503, 'the server is full: too many bytes are in flight, try again'));
      return;
    }
    this.#collected.add(chunk);
    // What comes beyond the message that is read now waits at the client.
    if (this.#collected.length > this.#mostBytes + prefixBytes) this.#stream.pause();
    this.#wake?.();
  }

  #over(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  /** Ends the waiting for messages. */
  fail(failure: RequestError): void {
    this.#failure ??= failure;
    this.#wake?.();
  }

  /** Waits for the next message. @returns undefined when there is none any more */
  async next(): Promise<Buffer | undefined> {
    if (!(await this.#has(prefixBytes))) {
      if (this.#collected.length > 0) throw new RequestError(400, 'the message ended early');
      return undefined;
    }
    const prefix = this.#collected.peek(prefixBytes);
    const isCompressed = prefix[0] !== 0;
    const length = prefix.readUInt32BE(1);
    if (length > this.#mostBytes) throw this.#tooLarge();
    this.#collected.expect(prefixBytes + length, undefined);
    if (!(await this.#has(prefixBytes + length))) throw new RequestError(400, 'the message ended early');
    const message = this.#collected.take(prefixBytes + length).subarray(prefixBytes);
    this.#transfer?.settle();
    return isCompressed ? this.#decompress(message) : message;
  }

  #tooLarge(): RequestError {
    return new RequestError(413, `the message is larger than the ${this.#mostBytes} bytes that this server accepts`);
  }

  /** The last message has been answered: the next has all the time again. */
  answered(): void {
    this.#transfer?.end();
    this.#transfer = undefined;
    if (this.#collected.length > 0) {
      this.#transfer = this.#begin();
      if (!this.#transfer.reserve(this.#collected.length)) {
        this.fail(new RequestError(503, 'the server is full: too many bytes are in flight, try again'));
      }
    }
    this.#stream.resume();
  }

  end(): void {
    this.#stream.off('data', this.#onData);
    this.#stream.off('end', this.#onOver);
    this.#stream.off('close', this.#onOver);
    this.#transfer?.end();
    this.#transfer = undefined;
    this.#collected.take(this.#collected.length);
    this.#stream.resume();
  }

  /** Counted as it grows, as everything that a client makes the pod hold. */
  async #decompress(message: Buffer): Promise<Buffer> {
    const inflater = this.#inflater();
    const whole = new GrowingBuffer();
    inflater.end(message);
    try {
      for await (const chunk of inflater as AsyncIterable<Buffer>) {
        if (whole.length + chunk.length > this.#mostBytes) throw this.#tooLarge();
        if (this.#transfer?.reserve(chunk.length) === false) {
          throw new RequestError(503, 'the server is full: too many bytes are in flight, try again');
        }
        whole.add(chunk);
      }
    } catch (error) {
      throw error instanceof RequestError ? error : new RequestError(400, `the message is not ${this.#encoding}`);
    }
    return whole.take(whole.length);
  }

  #inflater(): Duplex {
    if (this.#encoding === 'gzip') return createGunzip();
    if (this.#encoding === 'deflate') return createInflate();
    throw new RequestError(415, `the encoding ${this.#encoding} is not supported: send gzip, deflate or none`);
  }

  async #has(bytes: number): Promise<boolean> {
    while (this.#collected.length < bytes && !this.#isOver && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#collected.length >= bytes;
  }
}

/** Clients take heads of a few KiB. */
const mostMessageLength = 1000;

/** As the specification has it: everything but printable ASCII, and the percent sign. */
function percentEncoded(message: string): string {
  return message
    .slice(0, mostMessageLength)
    .toWellFormed()
    .replace(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}

/** A stream that is reset while it is paused is closed and not destroyed, and cannot be answered either. */
function isGone(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed;
}

const responseHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': 'identity,deflate,gzip',
};

/** What is sent back: messages, and at the end a status in trailers. */
class GrpcAnswer {
  readonly #stream: ServerHttp2Stream;
  readonly #transfers: Transfers;
  #trailers: Readonly<Record<string, string>> = {};
  hasBegun = false;

  constructor(stream: ServerHttp2Stream, transfers: Transfers) {
    this.#stream = stream;
    this.#transfers = transfers;
    stream.on('wantTrailers', () => {
      if (!isGone(stream)) stream.sendTrailers({ ...this.#trailers });
    });
  }

  /**
   * Sends a message, and ends the stream of a client that does not take it.
   *
   * @param waits until it has been taken, so that the next is not made before
   */
  async write(pieces: readonly Uint8Array[], waits: boolean): Promise<void> {
    if (isGone(this.#stream)) return;
    if (!this.hasBegun) this.#stream.respond(responseHeaders, { waitForTrailers: true });
    this.hasBegun = true;
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const transfer = this.#transfers.begin(() => this.#stream.close(constants.NGHTTP2_CANCEL), length);
    if (!transfer.reserve(length)) {
      transfer.end();
      throw new RequestError(503, 'the server is full: too many bytes are in flight, try again');
    }
    const prefix = Buffer.alloc(prefixBytes);
    prefix.writeUInt32BE(length, 1);
    this.#stream.cork();
    for (const piece of [prefix, ...pieces.slice(0, -1)]) this.#stream.write(piece);
    const taken = new Promise<void>((resolve) => {
      // Called when the client has taken it, or with an error when the stream is gone.
      this.#stream.write(pieces.at(-1) ?? Buffer.alloc(0), () => {
        transfer.end();
        resolve();
      });
    });
    this.#stream.uncork();
    if (waits) await taken;
  }

  /** A client may go on sending for a while before it looks at the answer. */
  #discardRest(): void {
    if (this.#stream.readableEnded) return;
    this.#stream.resume();
    const timer = setTimeout(() => this.#stream.close(constants.NGHTTP2_NO_ERROR), discardMilliseconds);
    this.#stream.once('close', () => clearTimeout(timer));
  }

  end(status: GrpcStatus, message: string): void {
    if (isGone(this.#stream)) return;
    const trailers = {
      'grpc-status': String(status),
      ...(message === '' ? {} : { 'grpc-message': percentEncoded(message) }),
    };
    if (this.hasBegun) {
      this.#trailers = trailers;
      this.#stream.end();
    } else this.#stream.respond({ ...responseHeaders, ...trailers }, { endStream: true });
    this.#discardRest();
  }
}
