import { ApiError, isConflict, messageOf } from '../kube/errors.ts';

/** A view that is older than what the API server just told: the caches are behind. */
export class StaleView extends Error {
  override readonly name = 'StaleView';
}

/** What an error in a pass means. `docs/architecture.md` has the same table. */
export type Failure =
  /** The view is older than what the API server just told: the pass is made anew, once the caches have caught up. */
  | { readonly kind: 'stale'; readonly message: string }
  /** The API server does not take a write as it is: it is remembered, told in the status, and tried ever more rarely. */
  | { readonly kind: 'refused'; readonly message: string }
  /** This process leads no more: nothing is done. */
  | { readonly kind: 'deposed' }
  /** Anything else: the pass is made anew, after a delay that doubles. */
  | { readonly kind: 'failed'; readonly error: unknown };

/** Answers that the same request would get again: invalid, forbidden, too large. */
const refusals: ReadonlySet<number> = new Set([400, 403, 405, 413, 422]);

/**
 * Says what an error means.
 *
 * @param authority aborted once this process must not write any more
 */
export function failureOf(error: unknown, authority: AbortSignal): Failure {
  if (authority.aborted) return { kind: 'deposed' };
  if (error instanceof StaleView || isConflict(error)) return { kind: 'stale', message: messageOf(error) };
  if (error instanceof ApiError && refusals.has(error.status)) return { kind: 'refused', message: error.message };
  return { kind: 'failed', error };
}
