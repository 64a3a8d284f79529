import type { ChildKind } from '../desired/children.ts';

/** The API server does not take a child as the spec makes it: the same would be refused again. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly child: ChildKind;

  constructor(child: ChildKind, message: string) {
    super(message);
    this.child = child;
  }
}

/** Remembers why children were refused, until they are taken or the spec changes. */
export class Refusals {
  readonly #messages = new Map<string, Map<ChildKind, string>>();

  of(key: string): ReadonlyMap<ChildKind, string> {
    return new Map(this.#messages.get(key));
  }

  /** @returns whether this is news */
  note(key: string, { child, message }: Refused): boolean {
    const messages = this.#messages.get(key) ?? new Map<ChildKind, string>();
    const news = messages.get(child) !== message;
    this.#messages.set(key, messages.set(child, message));
    return news;
  }

  /** @returns whether the child had been refused */
  clear(key: string, child: ChildKind): boolean {
    return this.#messages.get(key)?.delete(child) === true;
  }

  forget(key: string): void {
    this.#messages.delete(key);
  }
}
