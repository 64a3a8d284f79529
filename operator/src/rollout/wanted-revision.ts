import { type Rollback, rolloutPolicyOf } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { withinCharacters } from '../api/text.ts';
import { timestamp } from '../api/time.ts';
import type { Observed } from '../observed.ts';
import { beginCanary, type Canary, followCanary, runningRevision } from './canary.ts';
import { hasMissedDeadline, progressOf } from './progress.ts';
import { isHealthy, newestHealthyBut, type Revision, templateRevision } from './revision.ts';
import { findUndo, ranBefore, type Undo } from './undo.ts';

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
  /** The revision that the spec asks for, while it is tried beside this one or takes its place. */
  readonly canary: Canary | undefined;
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
  | { readonly kind: 'rolledBack' }
  /** The canary of the spec's revision is taken back: what served beside it is held from now on. */
  | { readonly kind: 'canaryFailed'; readonly undo: Undo | undefined }
  /** Somebody has undone what serves beside a canary to what ran before: the canary is taken back, what serves put back. */
  | { readonly kind: 'canaryUndone'; readonly undo: Undo };

export type WhyPutBack = 'RevertPolicy' | 'MissedDeadline' | 'CanaryFailed' | 'NeverHealthy' | 'CanaryUnderWay';

/** The undo that a decision answers: the template passes to the operator with it. */
export function undoOf(wanted: Wanted): Undo | undefined {
  return 'undo' in wanted ? wanted.undo : undefined;
}

/** Whether an undo is not followed, so that it must not look as if it had come after what it is overruled by. */
export function isUndoOverruled(wanted: Wanted): boolean {
  const undo = undoOf(wanted);
  return undo !== undefined && undo.revision !== wanted.revision && wanted.kind !== 'canaryUndone';
}

/** Whether an undo is followed from now on, which the status will say for good. */
export function isUndoFollowed({ kind }: Wanted): boolean {
  return kind === 'adopted' || kind === 'ended' || kind === 'canaryUndone';
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
 * 4. somebody has put another recorded revision there: adopted, ended or put back, or a canary is undone;
 * 5. a hold is recorded: held, unless it was an undo to what cannot serve any more: undoFailed;
 * 6. the canary of the spec's revision is to be taken back, or that has missed its deadline: rolled back;
 * 7. otherwise forward: the spec's revision, which may not have been put there yet, or what serves beside its canary.
 *
 * @param target the revision that the spec asks for, or has asked for before while that waits to be rolled out
 * @param isAsked whether it is the former
 */
export function wantedRevision(observed: Observed, target: Revision, isAsked: boolean, now: Date): Wanted {
  const { model } = observed;
  const status = model.status ?? {};
  const undo = findUndo(observed);
  const retry = retryAnnotation(observed);
  const anew = () => ({
    ...putting(target, beginCanary(observed, target, now)),
    rollback: undefined,
    retry,
    mistakenRetry: undefined,
  });
  if (observed.conflicts.length > 0) return undecided(observed, target);
  if (status.updateRevision !== target.metadata.name) return { ...anew(), kind: 'forward', undo };

  const hold = findHold(observed) ?? replaceHold(observed, target, now);
  const asked = retry === undefined || retry === status.retry ? undefined : retry.split('@')[0];
  const hasFailedCanary = status.rollout?.canary?.state === 'Failed';
  if ((hold !== undefined || hasFailedCanary) && asked === target.metadata.name)
    return { ...anew(), kind: 'retried', undo };

  const mistakenRetry = hold === undefined ? undefined : asked;
  return hold === undefined
    ? withoutHold(observed, target, isAsked, { undo, retry, mistakenRetry }, now)
    : withHold(hold, observed, target, { undo, retry, mistakenRetry }, now);
}

/** What a decision takes along. */
interface Along {
  readonly undo: Undo | undefined;
  readonly retry: string | undefined;
  readonly mistakenRetry: string | undefined;
}

function withHold(
  { revision, rollback, lost }: Hold,
  observed: Observed,
  target: Revision,
  along: Along,
  now: Date,
): Wanted {
  const { undo } = along;
  // An undo that was answered already is still there until its template is put back.
  const isAnswered = undo !== undefined && isAnsweredBy(rollback, undo, observed);
  const { undone: _, undoneGeneration: __, ...settled } = rollback;
  // What is seen of the Deployment may be older than what is seen of the status.
  const isPutBack = (observed.deployment?.metadata.generation ?? 0) > (rollback.undoneGeneration ?? 0);
  const kept = isAnswered || (rollback.undone !== undefined && !isPutBack) ? rollback : settled;
  const held: Wanted = { ...along, revision, rollback: kept, canary: undefined, kind: 'held', undo, lost };
  if (undo !== undefined && undo.revision !== revision && !isAnswered)
    return answerUndo(undo, held, observed, target, now);
  return afterUndo(held, observed, target, now);
}

/** The same undo that is made once more is another generation of the Deployment. */
function isAnsweredBy({ undone, undoneGeneration }: Rollback, { revision }: Undo, { deployment }: Observed): boolean {
  const isIt = undoneGeneration === undefined || undoneGeneration === deployment?.metadata.generation;
  return isIt && revision.metadata.name === undone;
}

function withoutHold(observed: Observed, target: Revision, isAsked: boolean, along: Along, now: Date): Wanted {
  const { undo } = along;
  const outcome = followCanary(observed, target, isAsked, now);
  if (outcome.kind === 'failed') {
    const { stable, trigger, message } = outcome;
    const rollback = { ...rollbackTo(stable, target, trigger, now), message };
    return { ...along, revision: stable, rollback, canary: undefined, kind: 'canaryFailed' };
  }
  const canary = outcome.kind === 'under way' ? outcome.canary : undefined;
  const kept: Wanted = { ...along, ...putting(target, canary), rollback: undefined, kind: 'forward' };
  if (undo !== undefined && undo.revision !== kept.revision) return answerUndo(undo, kept, observed, target, now);
  return afterDeadline(kept, observed, target, now);
}

/** What the serving Deployment runs while a revision is tried beside it, takes its place, or needs no trial. */
function putting(target: Revision, canary: Canary | undefined) {
  return { revision: canary === undefined || canary.record.state === 'Promoting' ? target : canary.stable, canary };
}

function rollbackTo(revision: Revision, target: Revision, trigger: Rollback['trigger'], now: Date): Rollback {
  const [fromRevision, toRevision] = [target.metadata.name, revision.metadata.name];
  return { fromRevision, toRevision, trigger, time: timestamp(now) };
}

function retryAnnotation({ model }: Observed): string | undefined {
  const retry = model.metadata.annotations?.[annotations.retry];
  return retry === undefined ? undefined : withinCharacters(retry, maxRetryLength);
}

function undecided(observed: Observed, target: Revision): Wanted {
  const { rollback, retry } = observed.model.status ?? {};
  const running = observed.revisions.find(({ metadata }) => metadata.name === runningRevision(observed));
  const revision = findHold(observed)?.revision ?? running ?? target;
  const record = observed.model.status?.rollout?.canary;
  const tried = observed.revisions.find(({ metadata }) => metadata.name === record?.revision);
  const canary =
    record === undefined || running === undefined || tried === undefined
      ? undefined
      : { target: tried, stable: running, record };
  return { revision, rollback, canary, retry, mistakenRetry: undefined, kind: 'undecided' };
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

function answerUndo(undo: Undo, kept: Wanted, observed: Observed, target: Revision, now: Date): Wanted {
  const { model } = observed;
  const { revision, fieldManager } = undo;
  const { retry, mistakenRetry, canary } = kept;
  const isBeside = canary !== undefined && canary.record.state !== 'Promoting';
  const putBack = (why: WhyPutBack): Wanted => ({
    revision: kept.revision,
    rollback: kept.rollback,
    canary,
    retry,
    mistakenRetry,
    kind: 'putBack',
    undo,
    why,
  });
  if (rolloutPolicyOf(model.spec).externalUndo === 'Revert') return putBack('RevertPolicy');
  const by = { fieldManager: withinCharacters(fieldManager, maxFieldManagerLength) };
  if (revision === target) {
    if (isBeside) return putBack('CanaryUnderWay');
    const trigger = kept.rollback?.trigger;
    if (trigger === 'GateFailed' || trigger === 'Aborted') return putBack('CanaryFailed');
    if (trigger !== 'Undo') return putBack('MissedDeadline');
    return { revision, rollback: undefined, canary: undefined, retry, mistakenRetry, kind: 'ended', undo };
  }
  if (isBeside && ranBefore(observed, undo, canary.stable)) {
    // What a user wants back while a canary is tried is what serves beside it, which is there already.
    const undone = { undone: revision.metadata.name, undoneGeneration: observed.deployment?.metadata.generation ?? 0 };
    const rollback = { ...rollbackTo(canary.stable, target, 'Undo', now), ...by, ...undone };
    return { revision: canary.stable, rollback, canary: undefined, retry, mistakenRetry, kind: 'canaryUndone', undo };
  }
  if (!isHealthy(revision)) return putBack('NeverHealthy');
  // What the rollback of a failed revision has held back stays held back, whatever is chosen in its place.
  const trigger = kept.rollback?.trigger ?? 'Undo';
  const rollback: Rollback = { ...rollbackTo(revision, target, trigger, now), ...by };
  return { revision, rollback, canary: undefined, retry, mistakenRetry, kind: 'adopted', undo };
}

/**
 * A new revision that has failed is left for the newest healthy one. One that was complete in this rollout and fails now,
 * after a restart, say, is not the cause: nothing is gained by another. One that has never had a pod is still new.
 */
function afterDeadline(kept: Wanted, observed: Observed, target: Revision, now: Date): Wanted {
  if (!hasFailed(observed, target, now)) return kept;
  const revision = newestHealthyBut(target, observed.revisions);
  if (revision === undefined) return kept;
  const rollback = rollbackTo(revision, target, 'ProgressDeadline', now);
  const { retry, mistakenRetry } = kept;
  return { revision, rollback, canary: undefined, retry, mistakenRetry, kind: 'rolledBack' };
}

/** Somebody has undone to a revision whose bytes are gone, say: what served before is better than nothing. */
function afterUndo(held: Wanted, observed: Observed, target: Revision, now: Date): Wanted {
  const isUndone = held.rollback?.trigger === 'Undo' && isHealthy(target);
  if (!isUndone || !hasFailed(observed, held.revision, now)) return held;
  const { retry, mistakenRetry } = held;
  const from = held.revision;
  return { revision: target, rollback: undefined, canary: undefined, retry, mistakenRetry, kind: 'undoFailed', from };
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
