import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip, createInflate } from 'node:zlib';
import { alignedBuffer } from '../execution/frames.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Transfers } from './transfers.ts';

/** A body that has arrived whole; `release` gives back the room that it took. */
export interface Body {
  readonly bytes: Buffer;
  readonly release: () => void;
}

/**
 * Reads a request's body, and inflates it.
 *
 * @param headerLength how much of it is JSON, if tensors in binary form follow
 * @throws RequestError 413 when it is larger than the limit (in bytes), 503 when other bodies take up all the room, 408
 *   when it comes too slowly, 415 for an encoding that is not known, 400 when it ends early or is not what it is said to be
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  headerLength: number | undefined,
  transfers: Transfers,
): Promise<Body> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  const announced = Number(request.headers['content-length'] ?? Number.NaN);
  if (announced > maxBytes) throw tooLarge(maxBytes);
  const stream = decoded(request, encoding);
  return new Promise((resolve, reject) => {
    const transfer = transfers.begin((reason) =>
      fail(
        reason === 'slow'
          ? new RequestError(408, 'the body comes too slowly')
          : new RequestError(
              503,
              'the server is full: too many bytes are in flight, and this body comes slowest; try again',
            ),
      ),
    );
    const collected = new Chunks(stream === request ? announced : Number.NaN, headerLength);
    let isOver = false;
    const fail = (error: RequestError) => {
      if (isOver) return;
      isOver = true;
      transfer.end();
      if (stream !== request) request.unpipe();
      stream.pause();
      reject(error);
    };
    stream.on('data', (chunk: Buffer) => {
      if (isOver) return;
      if (collected.length + chunk.length > maxBytes) return fail(tooLarge(maxBytes));
      if (!transfer.reserve(chunk.length)) {
        return fail(new RequestError(503, 'the server is full: too many bytes are in flight, try again'));
      }
      collected.add(chunk);
    });
    stream.once('end', () => {
      if (isOver) return;
      isOver = true;
      resolve({ bytes: collected.whole(), release: () => transfer.end() });
    });
    if (stream !== request) {
      stream.once('error', (error) => fail(new RequestError(400, `the body is not ${encoding}: ${error.message}`)));
    }
    const early = () => fail(new RequestError(400, 'the body ended early'));
    request.once('error', early);
    request.once('close', () => {
      if (!request.complete) early();
    });
  });
}

function decoded(request: IncomingMessage, encoding: string): Readable {
  switch (encoding.toLowerCase()) {
    case 'identity':
      return request;
    case 'gzip':
    case 'x-gzip':
      return request.pipe(createGunzip());
    case 'deflate':
      return request.pipe(createInflate());
    default:
      throw new RequestError(415, `the content encoding ${encoding} is not supported: send gzip, deflate or none`);
  }
}

/** Chunks of a body, put together with as few copies as can be. */
class Chunks {
  readonly #announced: number;
  readonly #headerLength: number | undefined;
  readonly #chunks: Buffer[] = [];
  #whole: Buffer | undefined;
  length = 0;

  constructor(announced: number, headerLength: number | undefined) {
    this.#announced = announced;
    this.#headerLength = headerLength;
  }

  add(chunk: Buffer): void {
    if (this.length === 0 && chunk.length < this.#announced) {
      this.#whole = alignedBuffer(this.#announced, this.#headerLength);
    }
    if (this.#whole === undefined) this.#chunks.push(chunk);
    else chunk.copy(this.#whole, this.length);
    this.length += chunk.length;
  }

  whole(): Buffer {
    if (this.#whole !== undefined) return this.#whole.subarray(0, this.length);
    const [first] = this.#chunks;
    if (first !== undefined && this.#chunks.length === 1) return first;
    const whole = alignedBuffer(this.length, this.#headerLength);
    let offset = 0;
    for (const chunk of this.#chunks) offset += chunk.copy(whole, offset);
    return whole;
  }
}

function tooLarge(maxBytes: number): RequestError {
  return new RequestError(413, `the body is larger than the ${maxBytes} bytes that this server accepts`);
}
