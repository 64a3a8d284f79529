const firstBytes = 65_536;

/** Collects bytes that come in pieces of any size, in memory that grows with them and not with their number. */
export class GrowingBuffer {
  #bytes: Buffer;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** @param room for what is known to come */
  constructor(room: Buffer = Buffer.alloc(0)) {
    this.#bytes = room;
  }

  /** Makes room at once for what is known to come. */
  expect(bytes: number): void {
    if (bytes > this.#bytes.length) this.#move(Buffer.allocUnsafeSlow(bytes));
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
