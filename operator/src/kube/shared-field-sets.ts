import type { FieldSet } from './objects.ts';

/**
 * Keeps one of equal field sets: what is applied to objects of a kind is the same for most of them, and a set takes more
 * memory than the fields that it names.
 */
export class SharedFieldSets {
  readonly #sets = new Map<string, WeakRef<FieldSet>>();
  readonly #unused = new FinalizationRegistry<string>((text) => {
    if (this.#sets.get(text)?.deref() === undefined) this.#sets.delete(text);
  });

  share(fields: FieldSet): FieldSet {
    const text = JSON.stringify(fields);
    const known = this.#sets.get(text)?.deref();
    if (known !== undefined) return known;
    this.#sets.set(text, new WeakRef(fields));
    this.#unused.register(fields, text);
    return fields;
  }
}
