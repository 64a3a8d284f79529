import { EarliestFirst } from './earliest-first.ts';

/** Time for the queue, so that tests can turn it. */
export interface Clock {
  now(): number;
  /** @returns a function that cancels the call */
  schedule(milliseconds: number, call: () => void): () => void;
}

export const systemClock: Clock = {
  // Not the time of day, which jumps.
  now: () => performance.now(),
  schedule(milliseconds, call) {
    const timer = setTimeout(call, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** High: something changed. Low: a first list or a resync, which must not hold up what a user does now. */
export type Priority = 'high' | 'low';

interface Item {
  due: number;
  priority: Priority;
}

const backoffMilliseconds = { first: 50, most: 60_000 };
/** So many keys of high priority are taken in a row while others wait: however much changes, a first pass and a deadline come. */
const mostHighInARow = 8;

/**
 * Keys that need work. A key is in it once: adding it again keeps the earliest due time and the highest priority. A key
 * that is being worked on waits until that is done. Adding and taking cost the same, however many keys there are.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #waiting = new Map<string, Item>();
  /** Those of the waiting that are due and not being worked on, in the order in which they came. */
  readonly #ready = { high: new Set<string>(), low: new Set<string>() };
  /** When others will be due. An entry counts only while its key waits and is due then. */
  readonly #later = new EarliestFirst<string>();
  readonly #active = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #cancelTimer: (() => void) | undefined;
  #closed = false;
  #highInARow = 0;

  constructor(clock: Clock = systemClock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Keys that wait, those that are not due yet included. */
  get depth(): number {
    return this.#waiting.size;
  }

  add(key: string, options: { readonly afterMilliseconds?: number; readonly priority?: Priority } = {}): void {
    if (this.#closed) return;
    const due = this.#clock.now() + (options.afterMilliseconds ?? 0);
    const priority = options.priority ?? 'high';
    const before = this.#waiting.get(key);
    const item = {
      due: Math.min(due, before?.due ?? due),
      priority: before?.priority === 'high' ? 'high' : priority,
    };
    this.#waiting.set(key, item);
    if (!this.#active.has(key)) this.#place(key, item);
    this.#dispatch();
  }

  /** Adds a key that failed, after a delay that doubles with each failure in a row. */
  addFailed(key: string): void {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const limit = Math.min(backoffMilliseconds.most, backoffMilliseconds.first * 2 ** (failures - 1));
    this.add(key, { afterMilliseconds: limit * (0.5 + this.#random() / 2), priority: 'low' });
  }

  /** Forgets the failures of a key that succeeded. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** Takes the next key that is due and not being worked on; undefined once the queue is closed. */
  take(): Promise<string | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#dispatch();
    });
  }

  /** Ends the work on a key. */
  done(key: string): void {
    this.#active.delete(key);
    const item = this.#waiting.get(key);
    if (item !== undefined) this.#place(key, item);
    this.#dispatch();
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #place(key: string, { due, priority }: Item): void {
    if (due > this.#clock.now()) {
      this.#later.add(due, key);
    } else {
      if (priority === 'high') this.#ready.low.delete(key);
      this.#ready[priority].add(key);
    }
  }

  #dispatch(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const now = this.#clock.now();
    this.#promote(now);
    while (this.#takers.length > 0) {
      const [key] = this.#ready[this.#nextPriority()];
      if (key === undefined) break;
      this.#ready.high.delete(key);
      this.#ready.low.delete(key);
      this.#waiting.delete(key);
      this.#active.add(key);
      this.#takers.shift()?.(key);
    }
    const later = this.#later.first;
    if (later !== undefined && this.#takers.length > 0) {
      this.#cancelTimer = this.#clock.schedule(later.due - now, () => this.#dispatch());
    }
  }

  #nextPriority(): Priority {
    const { high, low } = this.#ready;
    const isLowsTurn = low.size > 0 && (high.size === 0 || this.#highInARow >= mostHighInARow);
    this.#highInARow = isLowsTurn ? 0 : this.#highInARow + 1;
    return isLowsTurn ? 'low' : 'high';
  }

  /** Makes ready what has become due. */
  #promote(now: number): void {
    for (let first = this.#later.first; first !== undefined; first = this.#later.first) {
      const item = this.#waiting.get(first.value);
      const counts = item?.due === first.due && !this.#active.has(first.value);
      if (counts && first.due > now) return;
      this.#later.removeFirst();
      if (counts) this.#place(first.value, item);
    }
  }
}
