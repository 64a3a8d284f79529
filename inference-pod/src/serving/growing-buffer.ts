const firstBytes = 65_536;

/** Collects bytes that come in pieces of any size, in memory that grows with them and not with their number. */
export class GrowingBuffer {
  #bytes: Buffer;
  /** Where what was not taken out begins, and ends. */
  #start = 0;
  #end = 0;

  /** @param room for what is known to come */
  constructor(room: Buffer = Buffer.alloc(0)) {
    this.#bytes = room;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** Makes room at once for what is known to come. */
  expect(bytes: number): void {
    if (this.#start + bytes > this.#bytes.length) this.#moveTo(Buffer.allocUnsafeSlow(bytes));
  }

  add(piece: Buffer): void {
    if (this.#end + piece.length > this.#bytes.length) {
      this.#moveTo(Buffer.allocUnsafeSlow(Math.max(firstBytes, 2 * (this.length + piece.length))));
    }
    piece.copy(this.#bytes, this.#end);
    this.#end += piece.length;
  }

  /** What was taken out stays where it is, in the hands of who took it. */
  #moveTo(into: Buffer): void {
    this.#end = this.#bytes.copy(into, 0, this.#start, this.#end);
    this.#start = 0;
    this.#bytes = into;
  }

  /** The first bytes: a view. */
  peek(bytes: number): Buffer {
    return this.#bytes.subarray(this.#start, this.#start + bytes);
  }

  /** Takes the first bytes out. Nothing that comes later is written over them. */
  take(bytes: number): Buffer {
    const taken = this.peek(bytes);
    this.#start += bytes;
    if (this.length === 0) this.#moveTo(Buffer.alloc(0));
    return taken;
  }
}
