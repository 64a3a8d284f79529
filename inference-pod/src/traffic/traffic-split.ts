/**
 * Which requests are passed on: one at a random position of each block of as many as the share says. So their number is off
 * by at most one at any time, and a client that sends in a rhythm meets both tracks. Above half, the one that is not passed
 * on is chosen so.
 */
export class TrafficSplit {
  readonly #random: () => number;
  #percent = -1;
  /** Of this block, counted from when the percentage was set. */
  #block = 0;
  #position = 0;
  #length = 0;
  #chosen = 0;

  /** @param random from 0 to 1, 1 excluded */
  constructor(random: () => number) {
    this.#random = random;
  }

  /**
   * @param percent from 0 to 100, whole
   * @returns whether this request is passed on
   */
  next(percent: number): boolean {
    const fewer = Math.min(percent, 100 - percent);
    if (fewer === 0) return percent === 100;
    if (percent !== this.#percent) {
      this.#percent = percent;
      this.#begin(0, fewer);
    } else if (this.#position === this.#length) this.#begin((this.#block + 1) % fewer, fewer);
    const isChosen = this.#position === this.#chosen;
    this.#position++;
    return isChosen === (percent === fewer);
  }

  /** A hundred requests are as many blocks as are chosen of them. */
  #begin(block: number, fewer: number): void {
    this.#block = block;
    this.#position = 0;
    this.#length = Math.ceil(((block + 1) * 100) / fewer) - Math.ceil((block * 100) / fewer);
    this.#chosen = Math.floor(this.#random() * this.#length);
  }
}
