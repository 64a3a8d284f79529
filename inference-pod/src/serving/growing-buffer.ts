import { alignedBuffer } from '../execution/frames.ts';

const firstBytes = 65_536;

/** Collects bytes that come in pieces of any size, in memory that grows with them and not with their number. */
export class GrowingBuffer {
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /**
   * Makes room at once for what is known to come.
   *
   * @param headerLength where tensors in binary form begin, see `alignedBuffer`
   */
  expect(bytes: number, headerLength: number | undefined): void {
    if (bytes > this.#bytes.length) this.#move(alignedBuffer(bytes, headerLength));
  }

  add(piece: Buffer): void {
    const needed = this.#length + piece.length;
    if (needed > this.#bytes.length) this.#move(Buffer.allocUnsafeSlow(Math.max(firstBytes, 2 * needed)));
    piece.copy(this.#bytes, this.#length);
    this.#length = needed;
  }

  #move(into: Buffer): void {
    this.#bytes.copy(into, 0, 0, this.#length);
    this.#bytes = into;
  }

  /** The first bytes: a view. */
  peek(bytes: number): Buffer {
    return this.#bytes.subarray(0, bytes);
  }

  /** Takes the first bytes out; what is left, which is usually nothing, moves to new memory. */
  take(bytes: number): Buffer {
    const taken = this.#bytes.subarray(0, bytes);
    const left = this.#bytes.subarray(bytes, this.#length);
    this.#bytes = Buffer.from(left);
    this.#length = left.length;
    return taken;
  }
}
