/** A cache, as far as its age matters. */
export interface AgedCache {
  hasSeen(resourceVersion: string): boolean;
}

/**
 * Remembers the writes made for one object until the caches have seen them, so that no pass is decided on a view that is
 * older than the operator's own last write. (As the controllers of Kubernetes do since 1.36, KEP-5647.)
 */
export class OwnWrites {
  readonly #writes = new Map<AgedCache, string>();

  /** @param resourceVersion of the answer to the write */
  wroteAt(cache: AgedCache, resourceVersion: string): void {
    this.#writes.set(cache, resourceVersion);
  }

  /** Whether every write is in its cache. */
  get areSeen(): boolean {
    for (const [cache, resourceVersion] of this.#writes) {
      if (!cache.hasSeen(resourceVersion)) return false;
      this.#writes.delete(cache);
    }
    return true;
  }
}
