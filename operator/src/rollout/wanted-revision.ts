import { type Rollback, rolloutPolicyOf } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { timestamp } from '../api/time.ts';
import type { EventRecord } from '../kube/events.ts';
import type { Observed } from '../observed.ts';
import { missedDeadline } from './deadline.ts';
import { isHealthy, newestFirst, type Revision, templateRevision } from './revision.ts';
import { findUndo, type Undo } from './undo.ts';

/** What the Deployment is to run, and why that is another revision than the spec asks for, if it is. */
export interface Wanted {
  readonly revision: Revision;
  /** The hold: for as long as the status has it, its revision is kept. */
  readonly rollback: Rollback | undefined;
  /** The value of the retry annotation that has been dealt with. */
  readonly retry: string | undefined;
  /** Whether the revision is tried again, so that its time starts anew. */
  readonly retrying: boolean;
  /** An undo that this answers; the template passes to the operator with it. */
  readonly undo: Undo | undefined;
  readonly events: readonly EventRecord[];
}

interface Hold {
  readonly rollback: Rollback;
  readonly revision: Revision;
  readonly events?: readonly EventRecord[];
}

/** As long as the CRD allows. */
const maxRetryLength = 512;

/**
 * Decides which revision the Deployment is to run. Everything is found from the objects alone, so that it does not matter
 * whether the operator was there when something happened:
 *
 * - the spec asks for another revision than the status knows: forward, whatever else was done;
 * - a hold is recorded: the held revision, until a retry is asked for or somebody undoes the undo;
 * - somebody has put another recorded revision there: it is adopted, recorded as a hold, if it was healthy once;
 * - the rollout has missed its deadline: back to the newest healthy revision, recorded as a hold;
 * - otherwise the spec's revision, which may not have been put there yet.
 *
 * @param target the revision that the spec asks for
 */
export function wantedRevision(observed: Observed, target: Revision, now: Date): Wanted {
  const { model } = observed;
  const status = model.status ?? {};
  const undo = findUndo(observed);
  const retry = model.metadata.annotations?.[annotations.retry]?.slice(0, maxRetryLength);
  const forward: Wanted = { revision: target, rollback: undefined, retry, retrying: false, undo, events: [] };
  if (observed.conflicts.length > 0) return undecided(observed, forward);
  if (status.updateRevision !== target.metadata.name) return { ...forward, events: supersededEvents(undo, target) };

  const hold = findHold(observed) ?? replaceHold(observed, target, now);
  const asked = retry === undefined || retry === status.retry ? undefined : retry.split('@')[0];
  if (hold !== undefined && asked === target.metadata.name)
    return { ...forward, retrying: true, events: [retryEvent(target)] };
  const mistaken = hold !== undefined && asked !== undefined ? [mistakenRetryEvent(asked, target)] : [];

  const kept: Wanted =
    hold === undefined
      ? forward
      : { ...forward, revision: hold.revision, rollback: hold.rollback, events: [...mistaken, ...(hold.events ?? [])] };
  if (undo !== undefined && undo.revision !== kept.revision) return answerUndo(undo, kept, observed, target, now);
  return hold === undefined ? afterDeadline(kept, observed, target, now) : kept;
}

/** While a name is taken nothing can be done, so nothing is said to be. */
function undecided(observed: Observed, forward: Wanted): Wanted {
  const { rollback, retry } = observed.model.status ?? {};
  const revision = findHold(observed)?.revision ?? forward.revision;
  return { ...forward, revision, rollback, retry };
}

/** Somebody has deleted the record of the held revision: the spec's revision is no less held back. */
function replaceHold({ model, revisions }: Observed, target: Revision, now: Date): Hold | undefined {
  const lost = model.status?.rollback;
  const revision = newestHealthyBut(target, revisions);
  if (lost === undefined || revision === undefined) return undefined;
  const message = `the record of revision ${lost.toRevision}, which was kept, is gone: ${inWords(revision)} is kept in its place`;
  const rollback = { ...lost, toRevision: revision.metadata.name, time: timestamp(now) };
  return { rollback, revision, events: [{ type: 'Warning', reason: 'RolledBack', message }] };
}

function newestHealthyBut(target: Revision, revisions: readonly Revision[]): Revision | undefined {
  return newestFirst(revisions).find((candidate) => candidate !== target && isHealthy(candidate));
}

function findHold({ model, revisions }: Observed): Hold | undefined {
  const rollback = model.status?.rollback;
  const revision = revisions.find(({ metadata }) => metadata.name === rollback?.toRevision);
  return rollback === undefined || revision === undefined ? undefined : { rollback, revision };
}

function answerUndo(undo: Undo, kept: Wanted, { model, deployment }: Observed, target: Revision, now: Date): Wanted {
  const { revision, fieldManager } = undo;
  const occurrence = String(deployment?.metadata.generation);
  const putBack = (why: string): Wanted => ({
    ...kept,
    events: [{ ...putBackEvent(undo, kept.revision, why), occurrence }],
  });
  if (rolloutPolicyOf(model.spec).externalUndo === 'Revert') return putBack('spec.rollout.externalUndo is Revert');
  if (revision === target) {
    if (kept.rollback?.trigger === 'Undo')
      return { ...kept, revision, rollback: undefined, events: [endedEvent(undo)] };
    return putBack(
      `it missed its deadline; to try it again, run ${retryCommand(model.metadata.name, kept.rollback, target)}`,
    );
  }
  if (!isHealthy(revision)) return putBack('it never was healthy');
  const rollback: Rollback = {
    fromRevision: target.metadata.name,
    toRevision: revision.metadata.name,
    // What the rollback of a failed revision has held back stays held back, whatever is chosen in its place.
    trigger: kept.rollback?.trigger ?? 'Undo',
    fieldManager: fieldManager.slice(0, 128),
    time: timestamp(now),
  };
  return { ...kept, revision, rollback, events: [adoptedEvent(undo, target)] };
}

/**
 * A new revision that has failed is left for the newest healthy one. One that was complete before and fails now, after a
 * restart, say, is not the cause: nothing is gained by another.
 */
function afterDeadline(kept: Wanted, { model, deployment, revisions }: Observed, target: Revision, now: Date): Wanted {
  const { status = {}, spec } = model;
  const policy = rolloutPolicyOf(spec);
  const isRolledOut = templateRevision(deployment?.spec.template) === target.metadata.name;
  if (deployment === undefined || !isRolledOut || policy.onFailure !== 'Rollback') return kept;
  // Whoever paused it decides how it goes on.
  if (deployment.spec.paused === true) return kept;
  if (!missedDeadline(deployment, status.rollout?.startTime, now)) return kept;
  const revision = newestHealthyBut(target, revisions);
  if (revision === undefined || status.currentRevision === target.metadata.name) return kept;
  const rollback: Rollback = {
    fromRevision: target.metadata.name,
    toRevision: revision.metadata.name,
    trigger: 'ProgressDeadline',
    time: timestamp(now),
  };
  return { ...kept, revision, rollback, events: [failedEvent(target, revision, policy.progressDeadlineSeconds)] };
}

/** The command that tries a revision again; the time of the rollback makes it another request than the last one was. */
export function retryCommand(name: string, rollback: Rollback | undefined, { metadata }: Revision): string {
  const value = `${metadata.name}${rollback === undefined ? '' : `@${rollback.time}`}`;
  return `kubectl annotate --overwrite mdeploy/${name} ${annotations.retry}=${value}`;
}

/** A revision in words: the user's own label for the version, and the name of the record. */
export function inWords({ metadata, data }: Revision): string {
  return `version ${data.inputs.model.version} (revision ${metadata.name})`;
}

function adoptedEvent({ revision, fieldManager }: Undo, target: Revision): EventRecord {
  const unpinned =
    revision.data.inputs.model.sha256 === undefined
      ? '; it has no spec.model.sha256, so nothing guarantees that the bytes are the same'
      : '';
  const message = `${fieldManager} undid the Deployment: ${inWords(revision)} is kept in the place of ${inWords(target)} until the spec asks for another${unpinned}`;
  return { type: 'Normal', reason: 'RolledBack', message };
}

function failedEvent(target: Revision, revision: Revision, deadlineSeconds: number): EventRecord {
  const message = `${inWords(target)} made no progress for ${deadlineSeconds} s: rolled back to ${inWords(revision)}`;
  return { type: 'Warning', reason: 'RolledBack', message };
}

function putBackEvent({ revision, fieldManager }: Undo, kept: Revision, why: string): EventRecord {
  const message = `${fieldManager} undid the Deployment to ${inWords(revision)}, but ${why}: ${inWords(kept)} was put back`;
  return { type: 'Warning', reason: 'UndoPutBack', message };
}

function endedEvent({ revision, fieldManager }: Undo): EventRecord {
  const message = `${fieldManager} brought ${inWords(revision)} back, which the spec asks for: it is held back no longer`;
  return { type: 'Normal', reason: 'RollbackEnded', message };
}

function supersededEvents(undo: Undo | undefined, target: Revision): EventRecord[] {
  if (undo === undefined || undo.revision === target) return [];
  const message = `${undo.fieldManager} undid the Deployment to ${inWords(undo.revision)}, but the spec asks for ${inWords(target)} since: going forward`;
  return [{ type: 'Normal', reason: 'UndoSuperseded', message }];
}

function retryEvent(target: Revision): EventRecord {
  return { type: 'Normal', reason: 'Retrying', message: `${inWords(target)} is tried again` };
}

function mistakenRetryEvent(asked: string, target: Revision): EventRecord {
  const message = `the annotation ${annotations.retry} names revision ${asked}, but ${target.metadata.name} is the one that is held back: name that one`;
  return { type: 'Warning', reason: 'RetryIgnored', message };
}
