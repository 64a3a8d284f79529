import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';
import { StartupError } from '../model/startup-error.ts';
import { RequestError } from '../protocol/request-error.ts';
import { type GrpcStatus, grpcStatus, grpcStatusOf } from './grpc-status.ts';
import type { Transfer, Transfers } from './transfers.ts';

/** One call of a method, which is given one message after another. */
export interface GrpcCall {
  /** Milliseconds from its beginning; undefined for a call without a deadline. */
  readonly timeout: number | undefined;
  readonly isCancelled: () => boolean;
}

/** Answers one message with another; a method that streams answers each of its messages in turn. */
export interface GrpcMethod {
  readonly isStreaming: boolean;
  answer(message: Buffer, call: GrpcCall): Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  /** What a stream answers to a message that was refused; undefined ends the call with the error's status. */
  refusal?(error: RequestError): readonly Uint8Array[];
}

export interface GrpcServerOptions {
  readonly port: number;
  readonly host: string | undefined;
  /** By path, such as /inference.GRPCInferenceService/ModelInfer. */
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly mostMessageBytes: number;
  readonly transfers: Transfers;
  /** A call has ended: with the status of HTTP that it would have had, after so many seconds. */
  readonly onEnd: (path: string, httpStatus: number, seconds: number) => void;
  readonly onFault: (error: unknown) => void;
}

/** gRPC over HTTP/2 without TLS (the framing of the specification "gRPC over HTTP2"). */
export interface GrpcServer {
  readonly port: number;
  /** Tells every client to go elsewhere with its next call. */
  goAway(): void;
  /** Waits until every call is answered, but not for long, and closes what is left. */
  close(): Promise<void>;
}

/** Streams of one connection at once. */
const mostStreams = 1024;
/** So much may be on its way to this server on a connection before it has been read; the default strangles tensors. */
const windowBytes = 4 * 2 ** 20;
const mostConnections = 8192;
const idleMilliseconds = 3_600_000;
/** How long calls that never end hold up the end of the server. */
const unfinishedMilliseconds = 5000;
const pollMilliseconds = 20;
/** How long what nobody reads is taken from a client. */
const discardMilliseconds = 10_000;

/** @throws StartupError InvalidConfiguration when the port cannot be opened */
export function listenGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const sessions = new Set<ServerHttp2Session>();
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
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    void answerStream(stream, headers, options);
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
          server.close();
          for (const session of sessions) session.close();
        },
        async close() {
          for (let waited = 0; sessions.size > 0 && waited < unfinishedMilliseconds; waited += pollMilliseconds) {
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
): Promise<void> {
  const start = performance.now();
  const path = headers[':path'] ?? '';
  stream.on('error', () => undefined);
  const answer = new GrpcAnswer(stream);
  let failure: unknown;
  try {
    await answerMessages(stream, path, headers, answer, options);
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
  path: string,
  headers: IncomingHttpHeaders,
  answer: GrpcAnswer,
  options: GrpcServerOptions,
): Promise<void> {
  const method = methodOf(path, headers, options);
  const call = { timeout: readTimeout(headers['grpc-timeout']), isCancelled: () => stream.destroyed };
  const messages = new Messages(stream, headers['grpc-encoding'], options);
  try {
    for (let message = await messages.next(); message !== undefined; message = await messages.next()) {
      await answer.write(await answerMessage(method, message, call));
      messages.answered();
      if (!method.isStreaming) return;
    }
  } finally {
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
    super(404, `there is no method ${path}`);
  }
}

function methodOf(path: string, headers: IncomingHttpHeaders, { methods }: GrpcServerOptions): GrpcMethod {
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

/** @returns milliseconds */
function readTimeout(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? [];
  if (digits === undefined || unit === undefined) throw new RequestError(400, 'grpc-timeout is no timeout');
  return Math.max(1, Number(digits) * (timeoutUnits[unit] ?? 1));
}

const prefixBytes = 5;
const gunzipped = promisify(gunzip);
const inflated = promisify(inflate);

/** The messages of a call, each behind a prefix of five bytes: whether it is compressed, and its length. */
class Messages {
  readonly #stream: ServerHttp2Stream;
  readonly #encoding: string | undefined;
  readonly #options: GrpcServerOptions;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #isOver = false;
  #failure: RequestError | undefined;
  #wake: (() => void) | undefined;
  #transfer: Transfer;

  constructor(stream: ServerHttp2Stream, encoding: string | string[] | undefined, options: GrpcServerOptions) {
    this.#stream = stream;
    this.#encoding = encoding === undefined ? undefined : String(encoding);
    this.#options = options;
    this.#transfer = this.#begin();
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('end', () => this.#over());
    stream.on('close', () => this.#over());
  }

  #begin(): Transfer {
    return this.#options.transfers.begin((reason) =>
      this.#fail(
        reason === 'slow'
          ? new RequestError(408, 'the message comes too slowly')
          : new RequestError(503, 'the server is full: too many bytes are in flight, try again'),
      ),
    );
  }

  #take(chunk: Buffer): void {
    if (!this.#transfer.reserve(chunk.length)) {
      this.#fail(new RequestError(503, 'the server is full: too many bytes are in flight, try again'));
      return;
    }
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    // What comes beyond the message that is read now waits at the client.
    if (this.#length > this.#options.mostMessageBytes + prefixBytes) this.#stream.pause();
    this.#wake?.();
  }

  #over(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  #fail(failure: RequestError): void {
    this.#failure ??= failure;
    this.#wake?.();
  }

  /** Waits for the next message. @returns undefined when there is none any more */
  async next(): Promise<Buffer | undefined> {
    if (!(await this.#has(prefixBytes))) {
      if (this.#length > 0) throw new RequestError(400, 'the message ended early');
      return undefined;
    }
    const prefix = this.#peek(prefixBytes);
    const length = prefix.readUInt32BE(1);
    if (length > this.#options.mostMessageBytes) {
      throw new RequestError(
        413,
        `the message is larger than the ${this.#options.mostMessageBytes} bytes that this server accepts`,
      );
    }
    if (!(await this.#has(prefixBytes + length))) throw new RequestError(400, 'the message ended early');
    const message = this.#cut(prefixBytes + length).subarray(prefixBytes);
    return prefix[0] === 0 ? message : this.#decompress(message);
  }

  /** The last message has been answered: the next has all the time again. */
  answered(): void {
    this.#transfer.end();
    this.#transfer = this.#begin();
    this.#transfer.reserve(this.#length);
    this.#stream.resume();
  }

  end(): void {
    this.#transfer.end();
    this.#stream.resume();
  }

  async #decompress(message: Buffer): Promise<Buffer> {
    const limit = { maxOutputLength: this.#options.mostMessageBytes };
    try {
      if (this.#encoding === 'gzip') return await gunzipped(message, limit);
      if (this.#encoding === 'deflate') return await inflated(message, limit);
    } catch (error) {
      const isTooLarge = error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
      throw isTooLarge
        ? new RequestError(
            413,
            `the message is larger than the ${limit.maxOutputLength} bytes that this server accepts`,
          )
        : new RequestError(400, `the message is not ${this.#encoding}`);
    }
    throw new RequestError(415, `the encoding ${this.#encoding} is not supported: send gzip, deflate or none`);
  }

  async #has(bytes: number): Promise<boolean> {
    while (this.#length < bytes && !this.#isOver && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#length >= bytes;
  }

  #peek(bytes: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks;
    return first.length >= bytes ? first.subarray(0, bytes) : this.#join().subarray(0, bytes);
  }

  #cut(bytes: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks;
    const whole = first.length >= bytes ? first : this.#join();
    this.#chunks[0] = whole.subarray(bytes);
    if (whole.length === bytes) this.#chunks.shift();
    this.#length -= bytes;
    return whole.subarray(0, bytes);
  }

  #join(): Buffer {
    const whole = Buffer.concat(this.#chunks);
    this.#chunks.splice(0, this.#chunks.length, whole);
    return whole;
  }
}

/** As the specification has it: everything but printable ASCII, and the percent sign. */
function percentEncoded(message: string): string {
  return message.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}

const responseHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': 'identity,deflate,gzip',
};

/** What is sent back: messages, and at the end a status in trailers. */
class GrpcAnswer {
  readonly #stream: ServerHttp2Stream;
  #trailers: Readonly<Record<string, string>> = {};
  hasBegun = false;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
    stream.on('wantTrailers', () => stream.sendTrailers({ ...this.#trailers }));
  }

  /** Waits until the client has room for more. */
  async write(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#stream.destroyed) return;
    if (!this.hasBegun) this.#stream.respond(responseHeaders, { waitForTrailers: true });
    this.hasBegun = true;
    const prefix = Buffer.alloc(prefixBytes);
    prefix.writeUInt32BE(
      pieces.reduce((sum, { length }) => sum + length, 0),
      1,
    );
    this.#stream.cork();
    this.#stream.write(prefix);
    let isFull = false;
    for (const piece of pieces) isFull = !this.#stream.write(piece);
    this.#stream.uncork();
    if (isFull && !this.#stream.destroyed) {
      await new Promise<void>((resolve) => {
        this.#stream.once('drain', resolve);
        this.#stream.once('close', resolve);
      });
    }
  }

  /** A client may go on sending for a while before it looks at the answer. */
  #discardRest(): void {
    if (this.#stream.readableEnded) return;
    this.#stream.resume();
    const timer = setTimeout(() => this.#stream.close(constants.NGHTTP2_NO_ERROR), discardMilliseconds);
    this.#stream.once('close', () => clearTimeout(timer));
  }

  end(status: GrpcStatus, message: string): void {
    if (this.#stream.destroyed) return;
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
