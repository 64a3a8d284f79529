import { readSync, writevSync } from 'node:fs';
import { alignedBuffer, headBytes, type Message, readHead } from './frames.ts';
import { leaveBehind } from './garbage.ts';
import { ReusableMemory } from './reusable-memory.ts';

/** Linux takes so many pieces in one call. */
const mostVectors = 1024;
const noBytes = new Uint8Array();

/** Frames over a file descriptor, read and written while the thread waits: an executor has nothing else to do. */
export class FrameChannel {
  readonly #descriptor: number;
  readonly #buffer = Buffer.allocUnsafeSlow(65_536);
  readonly #memory = new ReusableMemory();
  #start = 0;
  #end = 0;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Waits for a whole batch. @returns undefined when the other side is gone */
  readBatch(): readonly Message[] | undefined {
    const batch: Message[] = [];
    for (;;) {
      const message = this.#read();
      if (message === undefined) return undefined;
      batch.push(message);
      if (message.frame.following === 0) return batch;
    }
  }

  /** Nobody looks at the bodies of a batch any more: each has its answer, which is written. */
  release(batch: readonly Message[]): void {
    for (const { body } of batch) {
      if (body.buffer instanceof ArrayBuffer) this.#memory.give(body.buffer);
      // The tensors that were made of it are about as large.
      leaveBehind(body.length);
    }
  }

  #read(): Message | undefined {
    if (!this.#fill(headBytes)) return undefined;
    const frame = readHead(this.#buffer, this.#start);
    this.#start += headBytes;
    const body = alignedBuffer(frame.bodyLength, frame.headerLength, this.#memory);
    let filled = this.#buffer.copy(body, 0, this.#start, Math.min(this.#end, this.#start + body.length));
    this.#start += filled;
    while (filled < body.length) {
      const read = readSome(this.#descriptor, body, filled);
      if (read === 0) return undefined;
      filled += read;
    }
    return { frame, body };
  }

  /** Waits until at least so many bytes are in the buffer. */
  #fill(bytes: number): boolean {
    if (this.#end - this.#start >= bytes) return true;
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    while (this.#end < bytes) {
      const read = readSome(this.#descriptor, this.#buffer, this.#end);
      if (read === 0) return false;
      this.#end += read;
    }
    return true;
  }

  /** Waits until all is written. */
  write(pieces: readonly Uint8Array[]): void {
    const left = pieces.filter(({ length }) => length > 0);
    let index = 0;
    let offset = 0;
    while (index < left.length) {
      const next = left.slice(index, index + mostVectors);
      if (offset > 0) next[0] = (next[0] ?? noBytes).subarray(offset);
      let written = writevSync(this.#descriptor, next);
      for (let piece = left[index]; piece !== undefined && written > 0; piece = left[index]) {
        const rest = piece.length - offset;
        if (written < rest) {
          offset += written;
          break;
        }
        written -= rest;
        offset = 0;
        index++;
      }
    }
  }
}

/** Reads into the rest of a buffer, again when a signal came in between. @returns 0 at the end */
function readSome(descriptor: number, into: Buffer, from: number): number {
  for (;;) {
    try {
      return readSync(descriptor, into, from, into.length - from, null);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EINTR')) throw error;
    }
  }
}
