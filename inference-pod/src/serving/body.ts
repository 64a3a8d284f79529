import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip, createInflate } from 'node:zlib';
import { type Deadline, DeadlinePassed } from '../execution/deadline.ts';
import { alignedBuffer } from '../execution/frames.ts';
import { leaveBehind, leaveOldBehind } from '../execution/garbage.ts';
import { ReusableMemory } from '../execution/reusable-memory.ts';
import { RequestError } from '../protocol/request-error.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import type { Transfer, Transfers } from './transfers.ts';

/** A body that has arrived whole; the end of its transfer gives back the room that it took. */
export interface Body {
  readonly bytes: Buffer;
  readonly transfer: Transfer | undefined;
  /** Nobody looks at the bytes any more, nor ever will: their memory may be used again. */
  release(): void;
}

const memory = new ReusableMemory();

/**
 * Reads a request's body, and inflates it.
 *
 * @param headerLength how much of it is JSON, if tensors in binary form follow
 * @param deadline by when the answer is of no use any more, where the request has named it
 * @throws RequestError 504 when that has passed, 413 when it is larger than the limit (in bytes), 503 when other bodies take up all the room, 408
 *   when it comes too slowly, 415 for an encoding that is not known, 400 when it ends early or is not what it is said to be
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  headerLength: number | undefined,
  transfers: Transfers,
  deadline: Deadline | undefined,
): Promise<Body> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  const announced = Number(request.headers['content-length'] ?? Number.NaN);
  if (announced > maxBytes) throw tooLarge(maxBytes);
  const stream = decoded(request, encoding);
  return new Promise((resolve, reject) => {
    const collected = new Chunks(stream === request ? announced : Number.NaN, headerLength);
    let isOver = false;
    // Most bodies come in one piece, and are over before they could be watched.
    let transfer: Transfer | undefined;
    const timer =
      deadline === undefined
        ? undefined
        : setTimeout(() => fail(new DeadlinePassed(deadline)), deadline.at - performance.now());
    const fail = (error: RequestError) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      transfer?.end();
      if (stream !== request) request.unpipe();
      stream.pause();
      collected.release();
      reject(error);
    };
    stream.on('data', (chunk: Buffer) => {
      if (isOver) return;
      // Bodies of this size are bounded by the number of requests in flight. What is inflated is not what was announced.
      if (stream === request && chunk.length === announced && chunk.length <= unwatchedBytes)
        return collected.add(chunk);
      transfer ??= transfers.begin((reason) => fail(reason === 'slow' ? tooSlow() : slowest()));
      if (collected.length + chunk.length > maxBytes) fail(tooLarge(maxBytes));
      else if (!transfer.reserve(chunk.length)) fail(noRoom());
      else collected.add(chunk);
    });
    stream.on('end', () => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      transfer?.settle();
      resolve({ bytes: collected.whole(), transfer, release: () => collected.release() });
    });
    if (stream !== request) {
      stream.on('error', (error) => fail(new RequestError(400, `the body is not ${encoding}: ${error.message}`)));
    }
    request.on('close', () => {
      if (!isOver && !request.complete) fail(new RequestError(400, 'the body ended early'));
    });
  });
}

const unwatchedBytes = 65_536;

function tooSlow(): RequestError {
  return new RequestError(408, 'the body comes too slowly');
}

function noRoom(): RequestError {
  return new RequestError(503, 'the server is full: too many bytes are in flight, try again');
}

function slowest(): RequestError {
  return new RequestError(
    503,
    'the server is full: too many bytes are in flight, and this body comes slowest; try again',
  );
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

/** Room for more than this is made once a part of it has come: what is announced and never comes costs little. */
const mostCreditBytes = 2 ** 20;
const creditShare = 1 / 16;

/** A body that comes in chunks, put together with as few copies as can be. */
class Chunks {
  readonly #announced: number;
  readonly #headerLength: number | undefined;
  #collected = new GrowingBuffer();
  /** What the collected are put into, once there is room for all of them. */
  #room: Buffer | undefined;
  #only: Buffer | undefined;

  constructor(announced: number, headerLength: number | undefined) {
    this.#announced = announced;
    this.#headerLength = headerLength;
  }

  get length(): number {
    return this.#only?.length ?? this.#collected.length;
  }

  add(chunk: Buffer): void {
    if (this.length === 0 && chunk.length === this.#announced) {
      this.#only = chunk;
      return;
    }
    if (this.length === 0 && this.#announced > chunk.length) {
      this.#makeRoom(this.#announced > mostCreditBytes ? Math.ceil(this.#announced * creditShare) : this.#announced);
    }
    if (this.#room !== undefined && this.length + chunk.length > this.#room.length) this.#makeRoom(this.#announced);
    this.#collected.add(chunk);
    leaveBehind(chunk.length);
  }

  #makeRoom(bytes: number): void {
    const room = alignedBuffer(bytes, this.#headerLength, memory);
    const collected = new GrowingBuffer(room);
    collected.add(this.#collected.peek(this.length));
    this.release();
    this.#room = room;
    this.#collected = collected;
  }

  whole(): Buffer {
    return this.#only ?? this.#collected.take(this.#collected.length);
  }

  release(): void {
    const room = this.#room?.buffer;
    this.#room = undefined;
    this.#collected = new GrowingBuffer();
    if (room instanceof ArrayBuffer && !memory.give(room)) leaveOldBehind(room.byteLength);
  }
}

function tooLarge(maxBytes: number): RequestError {
  return new RequestError(413, `the body is larger than the ${maxBytes} bytes that this server accepts`);
}
