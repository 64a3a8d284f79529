import type { ChildKind } from '../desired/children.ts';

/**
 * Remembers the children that could not be made because an object of the name is there already, though no cache shows it:
 * it is somebody else's, or ours and somebody took its label away. The next pass asks which.
 */
export class OccupiedNames {
  readonly #kinds = new Map<string, Set<ChildKind>>();

  has(key: string, child: ChildKind): boolean {
    return this.#kinds.get(key)?.has(child) === true;
  }

  note(key: string, child: ChildKind): void {
    this.#kinds.set(key, (this.#kinds.get(key) ?? new Set()).add(child));
  }

  clear(key: string, child: ChildKind): void {
    this.#kinds.get(key)?.delete(child);
  }

  forget(key: string): void {
    this.#kinds.delete(key);
  }
}
