interface Entry<T> {
  readonly due: number;
  readonly value: T;
}

/** A binary heap of values by their due time. */
export class EarliestFirst<T> {
  readonly #entries: Entry<T>[] = [];

  get first(): Entry<T> | undefined {
    return this.#entries[0];
  }

  add(due: number, value: T): void {
    const entries = this.#entries;
    const entry = { due, value };
    let index = entries.push(entry) - 1;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = entries[parentIndex];
      if (parent === undefined || parent.due <= due) break;
      entries[index] = parent;
      index = parentIndex;
    }
    entries[index] = entry;
  }

  removeFirst(): void {
    const entries = this.#entries;
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return;
    let index = 0;
    for (;;) {
      const [left, right] = [entries[2 * index + 1], entries[2 * index + 2]];
      const isRight = left !== undefined && right !== undefined && right.due < left.due;
      const child = isRight ? right : left;
      if (child === undefined || child.due >= last.due) break;
      entries[index] = child;
      index = 2 * index + (isRight ? 2 : 1);
    }
    entries[index] = last;
  }
}
