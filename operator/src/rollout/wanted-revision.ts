import { type Rollback, rolloutPolicyOf } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { withinCharacters } from '../api/text.ts';
import { timestamp } from '../api/time.ts';
import type { Observed } from '../observed.ts';
import { hasMissedDeadline, progressOf } from './progress.ts';
import { isHealthy, newestHealthyBut, type Revision, templateRevision } from './revision.ts';
import { findUndo, type Undo } from './undo.ts';

/** What the Deployment is to run, and why. */
export type Wanted = WantedRevision & Reason;

interface WantedRevision {
  readonly revision: Revision;
  /** The hold: for as long as the status has it, its revision is kept. */
  readonly rollback: Rollback | undefined;
  /** The value of the retry annotation that has been dealt with. */
  readonly retry: string | undefined;
  /** What a retry asked for that is not the revision that is held back. */
  readonly mistakenRetry: string | undefined;
}

type Reason =
  /** A name is taken: nothing is done, so nothing is decided. */
  | { readonly kind: 'undecided' }
  /** The spec's revision. An undo that was made before the spec asked for it is overruled. */
  | { readonly kind: 'forward'; readonly undo: Undo | undefined }
  /** The revision of a recorded hold; `lost` is the one that was held before, when somebody has deleted its record. */
  | { readonly kind: 'held'; readonly undo: Undo | undefined; readonly lost: string | undefined }
  /** Somebody has undone the Deployment to a revision that was healthy: it is held from now on. */
  | { readonly kind: 'adopted'; readonly undo: Undo }
  /** Somebody has undone the Deployment to a revision that it may not run: what it ran before is put back. */
  | { readonly kind: 'putBack'; readonly undo: Undo; readonly why: WhyPutBack }
  /** Somebody has brought the spec's revision back, which an undo had left: nothing is held any more. */
  | { readonly kind: 'ended'; readonly undo: Undo }
  /** The revision that somebody has undone to has missed its deadline: the spec's, which was healthy, is brought back. */
  | { readonly kind: 'undoFailed'; readonly from: Revision }
  /** Somebody has asked for the spec's revision again, which was held back. */
  | { readonly kind: 'retried'; readonly undo: Undo | undefined }
  /** The spec's revision has missed its deadline: the newest healthy one is held from now on. */
  | { readonly kind: 'rolledBack' };

export type WhyPutBack = 'RevertPolicy' | 'MissedDeadline' | 'NeverHealthy';

/** The undo that a decision answers: the template passes to the operator with it. */
export function undoOf(wanted: Wanted): Undo | undefined {
  return 'undo' in wanted ? wanted.undo : undefined;
}

/** Whether an undo is not followed, so that it must not look as if it had come after what it is overruled by. */
export function isUndoOverruled(wanted: Wanted): boolean {
  const undo = undoOf(wanted);
  return undo !== undefined && undo.revision !== wanted.revision;
}

interface Hold {
  readonly rollback: Rollback;
  readonly revision: Revision;
  readonly lost: string | undefined;
}

/** As long as the CRD allows. */
const maxRetryLength = 512;
const maxFieldManagerLength = 128;

/**
 * Decides which revision the Deployment is to run. Everything is found from the objects alone, so that it does not matter
 * whether the operator was there when something happened. In this order:
 *
 * 1. a name is taken: nothing is decided;
 * 2. the spec asks for another revision than the status knows: forward, whatever else was done;
 * 3. a hold is recorded and a retry of the spec's revision is asked for: retried;
 * 4. somebody has put another recorded revision there: adopted, ended or put back;
 * 5. a hold is recorded: held, unless it was an undo to what cannot serve any more: undoFailed;
 * 6. the spec's revision has missed its deadline: rolled back;
 * 7. otherwise forward: the spec's revision, which may not have been put there yet.
 *
 * @param target the revision that the spec asks for
 */
export function wantedRevision(observed: Observed, target: Revision, now: Date): Wanted {
  const { model } = observed;
  const status = model.status ?? {};
  const undo = findUndo(observed);
  const retry = retryAnnotation(observed);
  const common = { revision: target, rollback: undefined, retry, mistakenRetry: undefined };
  const forward: Wanted = { ...common, kind: 'forward', undo };
  if (observed.conflicts.length > 0) return undecided(observed, target);
  if (status.updateRevision !== target.metadata.name) return forward;

  const hold = findHold(observed) ?? replaceHold(observed, target, now);
  const asked = retry === undefined || retry === status.retry ? undefined : retry.split('@')[0];
  if (hold !== undefined && asked === target.metadata.name) return { ...common, kind: 'retried', undo };

  const mistakenRetry = hold === undefined ? undefined : asked;
  const kept: Wanted =
    hold === undefined
      ? forward
      : { retry, mistakenRetry, revision: hold.revision, rollback: hold.rollback, kind: 'held', undo, lost: hold.lost };
  if (undo !== undefined && undo.revision !== kept.revision) return answerUndo(undo, kept, observed, target, now);
  return hold === undefined ? afterDeadline(kept, observed, target, now) : afterUndo(kept, observed, target, now);
}

function retryAnnotation({ model }: Observed): string | undefined {
  const retry = model.metadata.annotations?.[annotations.retry];
  return retry === undefined ? undefined : withinCharacters(retry, maxRetryLength);
}

function undecided(observed: Observed, target: Revision): Wanted {
  const { rollback, retry } = observed.model.status ?? {};
  const revision = findHold(observed)?.revision ?? target;
  return { revision, rollback, retry, mistakenRetry: undefined, kind: 'undecided' };
}

function findHold({ model, revisions }: Observed): Hold | undefined {
  const rollback = model.status?.rollback;
  const revision = revisions.find(({ metadata }) => metadata.name === rollback?.toRevision);
  return rollback === undefined || revision === undefined ? undefined : { rollback, revision, lost: undefined };
}

/** Somebody has deleted the record of the held revision: the spec's revision is no less held back. */
function replaceHold({ model, revisions }: Observed, target: Revision, now: Date): Hold | undefined {
  const lost = model.status?.rollback;
  const revision = newestHealthyBut(target, revisions);
  if (lost === undefined || revision === undefined) return undefined;
  const rollback = { ...lost, toRevision: revision.metadata.name, time: timestamp(now) };
  return { rollback, revision, lost: lost.toRevision };
}

function answerUndo(undo: Undo, kept: Wanted, { model }: Observed, target: Revision, now: Date): Wanted {
  const { revision, fieldManager } = undo;
  const { retry, mistakenRetry } = kept;
  const putBack = (why: WhyPutBack): Wanted => ({
    revision: kept.revision,
    rollback: kept.rollback,
    retry,
    mistakenRetry,
    kind: 'putBack',
    undo,
    why,
  });
  if (rolloutPolicyOf(model.spec).externalUndo === 'Revert') return putBack('RevertPolicy');
  if (revision === target) {
    if (kept.rollback?.trigger !== 'Undo') return putBack('MissedDeadline');
    return { revision, rollback: undefined, retry, mistakenRetry, kind: 'ended', undo };
  }
  if (!isHealthy(revision)) return putBack('NeverHealthy');
  const rollback: Rollback = {
    fromRevision: target.metadata.name,
    toRevision: revision.metadata.name,
    // What the rollback of a failed revision has held back stays held back, whatever is chosen in its place.
    trigger: kept.rollback?.trigger ?? 'Undo',
    fieldManager: withinCharacters(fieldManager, maxFieldManagerLength),
    time: timestamp(now),
  };
  return { revision, rollback, retry, mistakenRetry, kind: 'adopted', undo };
}

/**
 * A new revision that has failed is left for the newest healthy one. One that was complete in this rollout and fails now,
 * after a restart, say, is not the cause: nothing is gained by another. One that has never had a pod is still new.
 */
function afterDeadline(kept: Wanted, observed: Observed, target: Revision, now: Date): Wanted {
  if (!hasFailed(observed, target, now)) return kept;
  const revision = newestHealthyBut(target, observed.revisions);
  if (revision === undefined) return kept;
  const rollback: Rollback = {
    fromRevision: target.metadata.name,
    toRevision: revision.metadata.name,
    trigger: 'ProgressDeadline',
    time: timestamp(now),
  };
  const { retry, mistakenRetry } = kept;
  return { revision, rollback, retry, mistakenRetry, kind: 'rolledBack' };
}

/** Somebody has undone to a revision whose bytes are gone, say: what served before is better than nothing. */
function afterUndo(held: Wanted, observed: Observed, target: Revision, now: Date): Wanted {
  const isUndone = held.rollback?.trigger === 'Undo' && isHealthy(target);
  if (!isUndone || !hasFailed(observed, held.revision, now)) return held;
  const { retry, mistakenRetry } = held;
  return { revision: target, rollback: undefined, retry, mistakenRetry, kind: 'undoFailed', from: held.revision };
}

/** Whether a revision that is rolled out has missed its deadline, and the policy is to leave it. */
function hasFailed({ model, deployment }: Observed, revision: Revision, now: Date): boolean {
  const { status = {}, spec } = model;
  const isRolledOut = templateRevision(deployment?.spec.template) === revision.metadata.name;
  if (deployment === undefined || !isRolledOut || rolloutPolicyOf(spec).onFailure !== 'Rollback') return false;
  // Whoever paused it decides how it goes on.
  if (deployment.spec.paused === true) return false;
  // As things are now: much may have happened since the last status.
  const progress = progressOf({ deployment, before: status, revision, isNew: false, now });
  const { startTime } = status.rollout ?? {};
  const started = startTime === undefined ? progress : { ...progress, startTime };
  return progress.completeTime === undefined && hasMissedDeadline(deployment, started, now);
}
