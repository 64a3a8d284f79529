/** How much may be read in ways that take long, by a reader that others wait for. */
export class Patience {
  #left: number;

  /** @param elements how many of those that have no quick way */
  constructor(elements: number) {
    this.#left = elements;
  }

  /** @throws OutOfPatience */
  spend(elements = 1): void {
    this.#left -= elements;
    if (this.#left < 0) throw new OutOfPatience();
  }
}

/** A request has to be read elsewhere: it is no error of the request. */
export class OutOfPatience extends Error {
  constructor() {
    super('the request takes too long to be read here');
    this.name = 'OutOfPatience';
  }
}
