import type { ReusableMemory } from './reusable-memory.ts';

/**
 * What the serving process and an executor say to one another over a socket pair: frames of a fixed head and a body.
 * Numbers are little-endian.
 */
export interface Frame {
  readonly job: number;
  /** Of a call, the place of its wire; of an answer, its status. */
  readonly code: number;
  /** How many frames that belong to the same batch follow. */
  readonly following: number;
  /** How much of the body is JSON; undefined when all is. */
  readonly headerLength: number | undefined;
  /** Of an answer: the time that the model itself took; undefined if it was not run. */
  readonly seconds: number | undefined;
  /** Of an answer: for how long it has kept the executor busy, in seconds. */
  readonly busySeconds: number;
  /** Of a call: until nobody waits for the answer any more; 0 of an answer. */
  readonly leftMilliseconds: number;
  readonly bodyLength: number;
}

export const headBytes = 44;

/** The file descriptor of the socket, of the process that is told what to do. */
export const workerChannel = 3;

/** The job of the first message to a process, and from it. */
export const openedJob = 0;

const lastJobNumber = 0xffff_fffe;

/** Numbers of jobs have 32 bits; then they begin again, long after those of the first are done. */
export function jobAfter(job: number): number {
  return (job % lastJobNumber) + 1;
}

export function writeHead(frame: Frame): Buffer {
  const head = Buffer.allocUnsafe(headBytes);
  head.writeUInt32LE(frame.bodyLength, 0);
  head.writeUInt32LE(frame.job, 4);
  head.writeUInt16LE(frame.code, 8);
  head.writeUInt16LE(frame.following, 10);
  head.writeDoubleLE(frame.headerLength ?? -1, 12);
  head.writeDoubleLE(frame.seconds ?? -1, 20);
  head.writeDoubleLE(frame.busySeconds, 28);
  head.writeDoubleLE(frame.leftMilliseconds, 36);
  return head;
}

/** @param offset where the head begins, all of which is there */
export function readHead(bytes: Buffer, offset: number): Frame {
  const headerLength = bytes.readDoubleLE(offset + 12);
  const seconds = bytes.readDoubleLE(offset + 20);
  return {
    bodyLength: bytes.readUInt32LE(offset),
    job: bytes.readUInt32LE(offset + 4),
    code: bytes.readUInt16LE(offset + 8),
    following: bytes.readUInt16LE(offset + 10),
    headerLength: headerLength < 0 ? undefined : headerLength,
    seconds: seconds < 0 ? undefined : seconds,
    busySeconds: bytes.readDoubleLE(offset + 28),
    leftMilliseconds: bytes.readDoubleLE(offset + 36),
  };
}

/** The first message to a process: its settings, as JSON. */
export function openingMessage(settings: object): Buffer {
  const body = Buffer.from(JSON.stringify(settings));
  const rest = { following: 0, headerLength: undefined, seconds: undefined, busySeconds: 0, leftMilliseconds: 0 };
  return Buffer.concat([writeHead({ job: openedJob, code: 0, ...rest, bodyLength: body.length }), body]);
}

/** A frame with its body. */
export interface Message {
  readonly frame: Frame;
  readonly body: Buffer;
}

/**
 * Room for a body whose tensors in binary form, which begin behind the header, then lie where typed arrays can be laid
 * over them.
 */
export function alignedBuffer(length: number, headerLength: number | undefined, memory: ReusableMemory): Buffer {
  const shift = headerLength === undefined ? 0 : (8 - (headerLength % 8)) % 8;
  return Buffer.from(memory.take(length + shift), shift, length);
}

/** A process has said more at once than it may. */
export class FrameTooLarge extends Error {
  override readonly name = 'FrameTooLarge';
}

/** Puts frames together from the chunks in which a stream brings them. */
export class FrameParser {
  readonly #onMessage: (message: Message) => void;
  readonly #mostBytes: number;
  #pending: Buffer = Buffer.alloc(0);
  #frame: Frame | undefined;
  #body: Buffer | undefined;
  #filled = 0;

  /** @param mostBytes of the body of one frame */
  constructor(onMessage: (message: Message) => void, mostBytes = Number.POSITIVE_INFINITY) {
    this.#onMessage = onMessage;
    this.#mostBytes = mostBytes;
  }

  /** @throws FrameTooLarge before it takes the memory */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) rest = this.#frame === undefined ? this.#takeHead(rest) : this.#takeBody(this.#frame, rest);
  }

  #takeHead(chunk: Buffer): Buffer {
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    if (bytes.length < headBytes) {
      this.#pending = Buffer.from(bytes);
      return bytes.subarray(bytes.length);
    }
    this.#pending = bytes.subarray(0, 0);
    const frame = readHead(bytes, 0);
    if (frame.bodyLength > this.#mostBytes)
      throw new FrameTooLarge(`it has said ${frame.bodyLength} bytes at once, and may say ${this.#mostBytes}`);
    const rest = bytes.subarray(headBytes);
    if (rest.length >= frame.bodyLength) {
      this.#onMessage({ frame, body: rest.subarray(0, frame.bodyLength) });
      return rest.subarray(frame.bodyLength);
    }
    this.#frame = frame;
    this.#body = Buffer.allocUnsafeSlow(frame.bodyLength);
    this.#filled = 0;
    return rest;
  }

  #takeBody(frame: Frame, chunk: Buffer): Buffer {
    const body = this.#body ?? Buffer.alloc(0);
    const taken = chunk.copy(body, this.#filled);
    this.#filled += taken;
    if (this.#filled === frame.bodyLength) {
      this.#frame = undefined;
      this.#body = undefined;
      this.#onMessage({ frame, body });
    }
    return chunk.subarray(taken);
  }
}
