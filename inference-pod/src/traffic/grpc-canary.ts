import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { messageOf } from '../model/error-message.ts';
import {
  AnswerBytes,
  addressedTo,
  type CanaryAnswer,
  type CanaryRequest,
  NoRoom,
  revisionHeader,
} from './canary-answer.ts';

const prefixBytes = 5;
const windowBytes = 4 * 2 ** 20;
const idleMilliseconds = 30_000;
const connectMilliseconds = 1000;

/** The status of HTTP that means the same as one of gRPC; whatever else there is is a failure of the server. */
const statuses: ReadonlyMap<string, number> = new Map([
  ['0', 200],
  ['3', 400],
  ['4', 504],
  ['5', 404],
  ['8', 413],
  ['11', 400],
  ['12', 415],
  ['14', 503],
]);

/** Asks canaries over gRPC, one message each; a connection is kept for as long as it is used. */
export class GrpcCanaries {
  readonly #sessions = new Map<string, ClientHttp2Session>();
  /** How many calls wait for an answer on each. */
  readonly #waiting = new Map<ClientHttp2Session, number>();
  /** Those that take no more calls. */
  readonly #left = new WeakSet<ClientHttp2Session>();
  readonly #mostAnswerBytes: number;

  constructor(mostAnswerBytes: number) {
    this.#mostAnswerBytes = mostAnswerBytes;
  }

  /** Never rejects. */
  async ask(host: string, request: CanaryRequest): Promise<CanaryAnswer> {
    try {
      const session = this.#sessionTo(host);
      return await this.#call(session, host, request).finally(this.#wait(session));
    } catch (error) {
      return error instanceof NoRoom ? { kind: 'full' } : { kind: 'none', reason: messageOf(error) };
    }
  }

  #sessionTo(host: string): ClientHttp2Session {
    const known = this.#sessions.get(host);
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect(`http://${host}`, { settings: { enablePush: false, initialWindowSize: windowBytes } });
    const forget = () => {
      if (this.#sessions.get(host) === session) this.#sessions.delete(host);
    };
    // Each call ends with an error of its own.
    session.on('error', () => undefined);
    session.on('close', forget);
    // Whoever goes takes no more calls.
    session.on('goaway', forget);
    // Calls have deadlines of their own.
    session.setTimeout(idleMilliseconds, () => {
      if (this.#waiting.get(session) === undefined) session.destroy();
    });
    const connecting = setTimeout(() => session.destroy(new Error(`${host} takes no connection`)), connectMilliseconds);
    connecting.unref();
    session.once('connect', () => clearTimeout(connecting));
    session.once('close', () => clearTimeout(connecting));
    session.unref();
    this.#sessions.set(host, session);
    return session;
  }

  /** Calls that come later have a connection of their own: this one may be what is stuck. */
  #leave(session: ClientHttp2Session, host: string): void {
    if (this.#sessions.get(host) === session) this.#sessions.delete(host);
    this.#left.add(session);
  }

  /** @returns what ends the waiting */
  #wait(session: ClientHttp2Session): () => void {
    this.#waiting.set(session, (this.#waiting.get(session) ?? 0) + 1);
    return () => {
      const left = (this.#waiting.get(session) ?? 1) - 1;
      if (left > 0) this.#waiting.set(session, left);
      else {
        this.#waiting.delete(session);
        // Frames that cannot be written would keep it, and what they hold, for ever.
        if (this.#left.has(session)) session.destroy();
      }
    };
  }

  #call(session: ClientHttp2Session, host: string, request: CanaryRequest): Promise<CanaryAnswer> {
    const { path, headers, body, revision, why, hold, signal } = request;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new Error('it is too late'));
      const stream = session.request({
        ...headers,
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...addressedTo(revision, why),
      });
      /** A stream whose frames cannot be written does not close either, so nobody waits for that. */
      const giveUp = (error: Error) => {
        reject(error);
        stream.close(constants.NGHTTP2_CANCEL);
      };
      const onAbort = () => {
        giveUp(new Error('it did not answer in time'));
        this.#leave(session, host);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const bytes = new AnswerBytes(this.#mostAnswerBytes + prefixBytes, hold);
      let answered: IncomingHttpHeaders = {};
      let trailers: IncomingHttpHeaders = {};
      stream.on('response', (told) => {
        answered = told;
      });
      stream.on('trailers', (told) => {
        trailers = told;
      });
      stream.on('data', (piece: Buffer) => {
        try {
          bytes.add(piece);
        } catch (error) {
          giveUp(error instanceof Error ? error : new Error(String(error)));
        }
      });
      stream.on('error', reject);
      stream.on('close', () => {
        signal.removeEventListener('abort', onAbort);
        const code = trailers['grpc-status'] ?? answered['grpc-status'];
        if (code === undefined) reject(new Error('the call was cut off'));
        else if (answered[revisionHeader] !== revision) reject(new Error(`${host} is not of revision ${revision}`));
        else
          resolve(
            answerOf(String(code), bytes.whole, String(trailers['grpc-message'] ?? answered['grpc-message'] ?? '')),
          );
      });
      const prefix = Buffer.alloc(prefixBytes);
      prefix.writeUInt32BE(body.length, 1);
      stream.write(prefix);
      stream.end(body);
    });
  }
}

/** @param data the one message behind its prefix */
function answerOf(code: string, data: Buffer, message: string): CanaryAnswer {
  const status = statuses.get(code) ?? 500;
  const isWhole = data.length >= prefixBytes && data[0] === 0 && data.readUInt32BE(1) === data.length - prefixBytes;
  if (status === 200 && !isWhole) return { kind: 'none', reason: 'the answer is not one message' };
  const body = status === 200 ? data.subarray(prefixBytes) : Buffer.from(decoded(message));
  return { kind: 'answer', status, contentType: 'application/grpc', headerLength: undefined, body };
}

/** As the specification has it, percent-encoded; whatever is not is told as it is. */
function decoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}
