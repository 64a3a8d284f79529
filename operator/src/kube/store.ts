import { type KubeObject, keyOf } from './objects.ts';
import { isAtLeast } from './resource-version.ts';

export interface Change<T> {
  readonly before: T | undefined;
  readonly after: T | undefined;
}

type Listener<T> = (change: Change<T>) => void;

/** The cached objects of one resource, by key and by the indexes that are asked for. */
export class Store<T extends KubeObject> {
  #objects = new Map<string, T>();
  #resourceVersion: string | undefined;
  readonly #listeners: Listener<T>[] = [];
  readonly #index: (object: T) => string | undefined;
  #indexed = new Map<string, Map<string, T>>();

  /** @param index the one value that objects are looked up by beside their key, such as the uid of their owner */
  constructor(index: (object: T) => string | undefined = () => undefined) {
    this.#index = index;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  indexed(value: string): readonly T[] {
    return [...(this.#indexed.get(value)?.values() ?? [])];
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Whether the first list is in. */
  get synced(): boolean {
    return this.#resourceVersion !== undefined;
  }

  /** Whether the cache has seen everything up to a resourceVersion. */
  hasSeen(resourceVersion: string): boolean {
    return this.#resourceVersion !== undefined && isAtLeast(this.#resourceVersion, resourceVersion);
  }

  onChange(listener: Listener<T>): void {
    this.#listeners.push(listener);
  }

  /** Puts a whole list in the place of what was there, at once. */
  replace(objects: readonly T[], resourceVersion: string): void {
    const before = this.#objects;
    this.#objects = new Map(objects.map((object) => [keyOf(object), object]));
    this.#indexed = new Map();
    for (const object of objects) this.#addToIndex(object);
    this.#resourceVersion = resourceVersion;
    for (const [key, object] of this.#objects) {
      const previous = before.get(key);
      if (previous?.metadata.resourceVersion !== object.metadata.resourceVersion) this.#tell(previous, object);
    }
    for (const [key, object] of before) if (!this.#objects.has(key)) this.#tell(object, undefined);
  }

  put(object: T): void {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    if (before !== undefined) this.#removeFromIndex(before);
    this.#objects.set(key, object);
    this.#addToIndex(object);
    this.#resourceVersion = object.metadata.resourceVersion;
    this.#tell(before, object);
  }

  remove(object: KubeObject): void {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    this.#resourceVersion = object.metadata.resourceVersion;
    if (before === undefined) return;
    this.#removeFromIndex(before);
    this.#objects.delete(key);
    this.#tell(before, undefined);
  }

  /** Notes that nothing has happened up to a resourceVersion. */
  advance(resourceVersion: string): void {
    this.#resourceVersion = resourceVersion;
  }

  #addToIndex(object: T): void {
    const value = this.#index(object);
    if (value === undefined) return;
    const objects = this.#indexed.get(value) ?? new Map<string, T>();
    objects.set(keyOf(object), object);
    this.#indexed.set(value, objects);
  }

  #removeFromIndex(object: T): void {
    const value = this.#index(object);
    if (value === undefined) return;
    const objects = this.#indexed.get(value);
    objects?.delete(keyOf(object));
    if (objects?.size === 0) this.#indexed.delete(value);
  }

  #tell(before: T | undefined, after: T | undefined): void {
    for (const listener of this.#listeners) listener({ before, after });
  }
}
