/** A cache, as far as its age matters. */
export interface AgedCache {
  hasSeen(resourceVersion: string): boolean;
}

/**
 * Remembers the writes made for each key until the caches have seen them, so that no pass is decided on a view that is
 * older than the operator's own last write. (As the controllers of Kubernetes do since 1.36, KEP-5647.)
 */
export class Consistency {
  readonly #writes = new Map<string, Map<AgedCache, string>>();

  /** @param resourceVersion of the answer to the write */
  wroteAt(key: string, cache: AgedCache, resourceVersion: string): void {
    const writes = this.#writes.get(key) ?? new Map<AgedCache, string>();
    writes.set(cache, resourceVersion);
    this.#writes.set(key, writes);
  }

  /** Whether every write for a key is in its cache. */
  isCurrent(key: string): boolean {
    const writes = this.#writes.get(key);
    if (writes === undefined) return true;
    for (const [cache, resourceVersion] of writes) {
      if (!cache.hasSeen(resourceVersion)) return false;
      writes.delete(cache);
    }
    this.#writes.delete(key);
    return true;
  }
}
