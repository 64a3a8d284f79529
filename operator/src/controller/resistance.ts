import type { ChildKind } from '../desired/children.ts';
import { findDifference } from '../desired/difference.ts';
import type { LiveChild } from '../observed.ts';
import { canonical } from '../rollout/revision.ts';

interface Attempt {
  readonly live: string;
  readonly desired: string;
}

/**
 * Remembers applies that changed nothing, or that a policy of the cluster changed back.
 * Such an apply is not repeated until the object or the wanted state changes: otherwise the two would never stop.
 */
export class Resistance {
  readonly #attempts = new Map<string, Map<ChildKind, Attempt>>();

  of(key: string): ReadonlyMap<ChildKind, string> {
    return new Map(Array.from(this.#attempts.get(key) ?? [], ([child, { desired }]) => [child, desired]));
  }

  /**
   * Notes the answer to an apply.
   *
   * @param before the object in the cache when it was applied
   */
  note(
    key: string,
    child: ChildKind,
    desired: object,
    before: LiveChild<unknown> | undefined,
    answer: LiveChild<unknown>,
  ): void {
    const changed = before?.metadata.resourceVersion !== answer.metadata.resourceVersion;
    if (changed && findDifference(desired, answer, answer.applied) === undefined) {
      this.#forgetChild(key, child);
      return;
    }
    const attempts = this.#attempts.get(key) ?? new Map<ChildKind, Attempt>();
    attempts.set(child, { live: fingerprint(answer), desired: canonical(desired) });
    this.#attempts.set(key, attempts);
  }

  /** Forgets an attempt once the object is another than the answer was. */
  objectChanged(key: string, child: ChildKind, live: LiveChild<unknown> | undefined): void {
    const attempt = this.#attempts.get(key)?.get(child);
    if (attempt !== undefined && (live === undefined || fingerprint(live) !== attempt.live))
      this.#forgetChild(key, child);
  }

  /** Forgets all attempts of a model whose spec has changed. */
  forget(key: string): void {
    this.#attempts.delete(key);
  }

  #forgetChild(key: string, child: ChildKind): void {
    const attempts = this.#attempts.get(key);
    attempts?.delete(child);
    if (attempts?.size === 0) this.#attempts.delete(key);
  }
}

/** Of what an apply can change; not of the status, which changes all the time. */
function fingerprint({ metadata, spec }: LiveChild<unknown>): string {
  return canonical({ spec, labels: metadata.labels, owners: metadata.ownerReferences });
}
