import { StartupError } from './startup-error.ts';

/** An object is a folder or a commit here, of which none has as much. */
const mostBytes = 64 * 2 ** 20;
/** What differences may cost: a byte may be an instruction, and many of them keep a process from everything else. */
export interface DeltaBudget {
  instructions: number;
}

/** What a length of 0 stands for. */
const lengthOfZero = 0x10000;

/**
 * Makes an object of another and what is different (gitformat-pack, "Deltified representation").
 *
 * @param budget of all of a pack, from which what it takes is taken
 * @throws StartupError ModelFetchFailed for what does not fit together, or takes more than there is
 */
export function patched(base: Buffer, delta: Buffer, budget: DeltaBudget): Buffer {
  const reader = new DeltaReader(delta);
  if (reader.size() !== base.length) throw unlikeDelta();
  const size = reader.size();
  if (size > mostBytes) throw unlikeDelta();
  const whole = Buffer.alloc(size);
  let at = 0;
  while (!reader.isAtEnd) {
    budget.instructions -= 1;
    if (budget.instructions < 0) throw unlikeDelta();
    const piece = reader.piece(base);
    if (at + piece.length > size) throw unlikeDelta();
    piece.copy(whole, at);
    at += piece.length;
  }
  if (at !== size) throw unlikeDelta();
  return whole;
}

class DeltaReader {
  readonly #delta: Buffer;
  #at = 0;

  constructor(delta: Buffer) {
    this.#delta = delta;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#delta.length;
  }

  /** Seven bits of each byte, the lowest first. */
  size(): number {
    let size = 0;
    for (let unit = 1; unit < 2 ** 49; unit *= 128) {
      const byte = this.#byte();
      size += (byte & 127) * unit;
      if (byte < 128) return size;
    }
    throw unlikeDelta();
  }

  /** What comes next: of the base, or as it stands here. */
  piece(base: Buffer): Buffer {
    const instruction = this.#byte();
    if (instruction === 0) throw unlikeDelta();
    if (instruction < 128) {
      const from = this.#at;
      this.#at += instruction;
      if (this.#at > this.#delta.length) throw unlikeDelta();
      return this.#delta.subarray(from, this.#at);
    }
    const from = this.#present(instruction, 4);
    const length = this.#present(instruction >> 4, 3) || lengthOfZero;
    if (from + length > base.length) throw unlikeDelta();
    return base.subarray(from, from + length);
  }

  /** A number of which those bytes are there whose bits are set, the lowest first. */
  #present(bits: number, mostBytesOfIt: number): number {
    let value = 0;
    for (let index = 0; index < mostBytesOfIt; index++)
      if ((bits & (1 << index)) !== 0) value += this.#byte() * 256 ** index;
    return value;
  }

  #byte(): number {
    const byte = this.#delta[this.#at];
    if (byte === undefined) throw unlikeDelta();
    this.#at += 1;
    return byte;
  }
}

function unlikeDelta(): StartupError {
  return new StartupError(
    'ModelFetchFailed',
    "the server sends what is no pack of Git's: a difference in it fits nothing",
  );
}
