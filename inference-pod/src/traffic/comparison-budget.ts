/** Of the time of the thread that serves, so much is spent on comparisons at most: with 1 %, the slowest percent of requests is 1.4 times as slow... */
const share = 0.002;
/** ...with so many milliseconds to begin with, and kept for later when there was nothing to compare. */
const most = 20;
/** What asking costs beside the comparison, measured of small requests. */
const askingMilliseconds = 0.3;

/** How much time comparisons may take of the thread that serves, so that nobody's request waits for long behind them. */
export class ComparisonBudget {
  readonly #now: () => number;
  readonly #computed: () => number;
  #left = most;
  #last: number;

  /**
   * @param now a clock that never jumps, in milliseconds
   * @param computed for how many the thread has computed: what else the machine does meanwhile is no cost of a comparison
   */
  constructor(now: () => number, computed: () => number) {
    this.#now = now;
    this.#computed = computed;
    this.#last = now();
  }

  get isThere(): boolean {
    const now = this.#now();
    this.#left = Math.min(most, this.#left + (now - this.#last) * share);
    this.#last = now;
    return this.#left > 0;
  }

  /** A canary is asked, whatever becomes of it. */
  ask(): void {
    this.#left -= askingMilliseconds;
  }

  /** @returns what it makes; what it takes is paid for by later ones */
  spend<T>(compare: () => T): T {
    const start = this.#computed();
    try {
      return compare();
    } finally {
      this.#left -= this.#computed() - start;
    }
  }
}
