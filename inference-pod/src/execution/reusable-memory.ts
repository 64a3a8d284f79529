import { leaveOldBehind } from './garbage.ts';

/** Less comes cheaply from the allocator. */
const leastBytes = 65_536;
/** More is not kept: it goes back to the machine. */
const mostBytes = 8 * 2 ** 20;
const mostPieces = 256;
/** What nobody has wanted for so long is given back. */
const idleMilliseconds = 10_000;

/**
 * Memory for large bodies that is used again. New memory of that size is mapped page by page by the kernel, and garbage of
 * it makes V8 collect everything: together they cost as much as all else that is done for a tensor of 600 KB.
 *
 * What is made new takes the place of what lies unused, so that never more is held than was once in use at the same time.
 * Whoever gives memory back must be sure that nobody looks at it any more.
 */
export class ReusableMemory {
  /** The oldest first. */
  readonly #free: { readonly memory: ArrayBuffer; readonly since: number }[] = [];
  #kept = 0;
  #idle: NodeJS.Timeout | undefined;

  /** Bytes that lie unused. */
  get kept(): number {
    return this.#kept;
  }

  /** At least so many bytes, of any content, that begin where any typed array can be laid over them. */
  take(bytes: number): ArrayBuffer {
    // The last that was given back is the likeliest to be in a cache of the processor.
    const place = this.#free.findLastIndex(
      ({ memory: { byteLength } }) => byteLength >= bytes && byteLength <= 2 * bytes,
    );
    const [found] = place === -1 ? [] : this.#free.splice(place, 1);
    if (found !== undefined) {
      this.#kept -= found.memory.byteLength;
      return found.memory;
    }
    this.#makeRoom(bytes);
    // Memory of its own, which is not filled with zeros first.
    return Buffer.allocUnsafeSlow(bytes).buffer;
  }

  /** @returns false for more than is kept, which is garbage then; less than is worth keeping is none to speak of */
  give(memory: ArrayBuffer): boolean {
    const { byteLength } = memory;
    if (byteLength < leastBytes) return true;
    if (byteLength > mostBytes || this.#free.length >= mostPieces) return false;
    this.#free.push({ memory, since: performance.now() });
    this.#kept += byteLength;
    this.#idle ??= setTimeout(() => this.#sweep(), idleMilliseconds).unref();
    this.#idle.refresh();
    this.#sweep();
    return true;
  }

  #sweep(): void {
    const before = performance.now() - idleMilliseconds;
    for (let oldest = this.#free[0]; oldest !== undefined && oldest.since <= before; oldest = this.#free[0]) {
      this.#free.shift();
      this.#kept -= oldest.memory.byteLength;
      leaveOldBehind(oldest.memory.byteLength);
    }
  }

  #makeRoom(bytes: number): void {
    for (let freed = 0; freed < bytes; ) {
      const oldest = this.#free.shift();
      if (oldest === undefined) return;
      freed += oldest.memory.byteLength;
      this.#kept -= oldest.memory.byteLength;
    }
  }
}
