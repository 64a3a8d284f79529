/** Something that is under way, and where it is kept. */
export interface Member<T> {
  readonly value: T;
  /** -1 once it is out. */
  place: number;
}

/**
 * What is under way, in no order. Adding and removing cost the same, however many there are.
 *
 * A Set or a Map would do but for its garbage. V8 makes its table anew every few hundred changes, and each old table points
 * to the next: once one of them is in the old generation, so is in time all that was ever in those after it, until
 * everything is collected. Measured with one request in it at a time of 5,000 a second: 44 MB a second.
 */
export class UnderWay<T> {
  readonly #members: Member<T>[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(value: T): Member<T> {
    const member = { value, place: this.#members.length };
    this.#members.push(member);
    return member;
  }

  /** @returns whether it was still there */
  remove(member: Member<T>): boolean {
    const { place } = member;
    if (place === -1) return false;
    member.place = -1;
    const last = this.#members.pop();
    if (last === undefined || last === member) return true;
    last.place = place;
    this.#members[place] = last;
    return true;
  }

  /** All of them, as they are now. */
  get values(): readonly T[] {
    return this.#members.map(({ value }) => value);
  }
}
