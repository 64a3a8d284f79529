import { type Member, UnderWay } from '../execution/under-way.ts';

/** Bytes that the pod holds for clients that send or read slowly, within one budget and at a minimum rate. */
export interface Transfer {
  /**
   * Counts bytes against the budget. When it is used up, the slowest transfer is ended that is slower than this one.
   *
   * @returns false when there is no room for them
   */
  reserve(bytes: number): boolean;
  /** It is whole: nobody waits for its client any more, but what it holds is held until its end. */
  settle(): void;
  /** Gives back what was counted. */
  end(): void;
}

export interface TransferLimits {
  /** What all transfers may hold together. */
  readonly mostBytes: number;
  /** A transfer that is slower on average is ended... */
  readonly leastBytesPerSecond: number;
  /** ...but none before so long. */
  readonly graceMilliseconds: number;
}

class Held implements Transfer {
  readonly start: number;
  readonly abort: (reason: 'slow' | 'full') => void;
  readonly expected: number;
  readonly #transfers: Transfers;
  readonly member: Member<Held>;
  bytes = 0;
  isSettled = false;

  constructor(
    transfers: Transfers,
    all: UnderWay<Held>,
    start: number,
    expected: number,
    abort: (reason: 'slow' | 'full') => void,
  ) {
    this.#transfers = transfers;
    this.member = all.add(this);
    this.start = start;
    this.expected = expected;
    this.abort = abort;
  }

  reserve(bytes: number): boolean {
    return this.#transfers.reserve(this, bytes);
  }

  settle(): void {
    this.isSettled = true;
  }

  end(): void {
    this.#transfers.end(this);
  }
}

const sweepMilliseconds = 1000;
/** A transfer that has just begun is no slow one. */
const youngMilliseconds = 1000;

/** All uploads, and all answers that their clients have not read yet. */
export class Transfers {
  readonly #limits: TransferLimits;
  readonly #now: () => number;
  readonly #held = new UnderWay<Held>();
  #bytes = 0;

  /** @param now a clock that never jumps, in milliseconds */
  constructor(limits: TransferLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
    setInterval(() => this.sweep(), sweepMilliseconds).unref();
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * @param expected the bytes that have to pass until it ends, where they are known at its start
   * @param abort ends it: it was too slow, or the room is needed
   */
  begin(abort: (reason: 'slow' | 'full') => void, expected = 0): Transfer {
    return new Held(this, this.#held, this.#now(), expected, abort);
  }

  /** Of what nobody sends or reads slowly: it has a part of the budget and no minimum rate. */
  holding(): Transfer {
    const held = this.begin(() => undefined);
    held.settle();
    return held;
  }

  reserve(held: Held, bytes: number): boolean {
    if (held.member.place === -1) return false;
    while (this.#bytes + bytes > this.#limits.mostBytes) {
      const slowest = this.#slowest(held);
      if (slowest === undefined) return false;
      this.end(slowest);
      slowest.abort('full');
    }
    this.#bytes += bytes;
    held.bytes += bytes;
    return true;
  }

  end(held: Held): void {
    if (!this.#held.remove(held.member)) return;
    this.#bytes -= held.bytes;
    held.bytes = 0;
  }

  /** Ends the transfers that are below the minimum rate. */
  sweep(): void {
    const { graceMilliseconds, leastBytesPerSecond } = this.#limits;
    for (const held of this.#held.values) {
      if (held.isSettled) continue;
      const bytes = Math.max(held.bytes, held.expected);
      const allowed = graceMilliseconds + (bytes / leastBytesPerSecond) * 1000;
      if (this.#now() - held.start <= allowed) continue;
      this.end(held);
      held.abort('slow');
    }
  }

  /** The slowest of the others that hold something, if it is slower than this one. */
  #slowest(than: Held): Held | undefined {
    let slowest: Held | undefined;
    let least = this.#rate(than);
    for (const held of this.#held.values) {
      if (held === than || held.isSettled || held.bytes === 0 || this.#now() - held.start < youngMilliseconds) continue;
      const rate = this.#rate(held);
      if (rate < least) [slowest, least] = [held, rate];
    }
    return slowest;
  }

  /** Bytes in a millisecond. One that has just begun is taken for quick. */
  #rate({ bytes, start }: Held): number {
    const age = this.#now() - start;
    return age < youngMilliseconds ? Number.POSITIVE_INFINITY : bytes / age;
  }
}
