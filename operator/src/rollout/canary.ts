import { isSaturated, judge, type StepFigures, turnsMostAway } from '../analysis/gates.ts';
import {
  type CanaryRecord,
  canaryPolicyOf,
  isTriedBeside,
  type Measurement,
  type ModelDeploymentStatus,
  type Rollback,
  rolloutPolicyOf,
} from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import type { Observed } from '../observed.ts';
import { missingPods, notTaken, stepOf, unavailableSince, whatIsMissing } from './canary-pods.ts';
import { figuresOf, gatesOf, gatesOpen, hasEnded, inWords, watchedSince, withNews } from './canary-step.ts';
import { type CommandName, newCommands } from './commands.ts';
import { isComplete } from './progress.ts';
import { isHealthy, newestHealthyBut, type Revision, templateRevision } from './revision.ts';
import { ownRoutes } from './routes.ts';

/** A revision that is tried beside the one that serves. */
export interface Canary {
  readonly target: Revision;
  readonly stable: Revision;
  /** Where it stands now. */
  readonly record: CanaryRecord;
  /** What its gates find now; the record has it once in an interval. */
  readonly measured?: readonly Measurement[];
}

/** What has become of the revision that the spec asks for. */
export type CanaryOutcome =
  /** It has, or needs, no pods of its own. */
  | { readonly kind: 'none' }
  | { readonly kind: 'under way'; readonly canary: Canary }
  /** It is taken back. */
  | {
      readonly kind: 'failed';
      readonly stable: Revision;
      readonly trigger: Rollback['trigger'];
      readonly message: string;
    };

const none: CanaryOutcome = { kind: 'none' };

/** The name of the revision that the serving Deployment was told to run last. */
export function runningRevision({
  model: { status },
}: {
  readonly model: { readonly status?: ModelDeploymentStatus | undefined };
}): string | undefined {
  const canary = status?.rollout?.canary;
  if (status?.rollback !== undefined) return status.rollback.toRevision;
  return canary === undefined || canary.state === 'Promoting' ? status?.updateRevision : canary.stableRevision;
}

/**
 * How a revision that is asked for anew begins.
 *
 * @returns undefined when it goes straight to the serving Deployment: with another strategy, with nothing healthy that it could
 *   be tried beside, and when it was healthy itself before
 */
export function beginCanary(observed: Observed, target: Revision, now: Date): Canary | undefined {
  const { model, revisions, deployment } = observed;
  if (!isTriedBeside(model.spec) || isHealthy(target)) return undefined;
  const candidates = [
    // A status that somebody has taken away tells nothing; the Deployment still does.
    runningRevision(observed) ?? templateRevision(deployment?.spec.template),
    model.status?.rollout?.canary?.stableRevision,
    model.status?.currentRevision,
  ];
  const stable = candidates
    .map((name) => revisions.find(({ metadata }) => metadata.name === name))
    .find((revision) => revision !== undefined && revision !== target && isHealthy(revision));
  const stableReplicas = deployment?.spec.replicas ?? 0;
  // Where nothing serves there is nothing to lose, and nobody who could pass requests on.
  const isServed = stableReplicas > 0 && (deployment?.status?.availableReplicas ?? 0) > 0;
  if (stable === undefined || !isServed) return undefined;
  const record: CanaryRecord = {
    revision: target.metadata.name,
    stableRevision: stable.metadata.name,
    stableReplicas,
    state: 'Scaling',
    step: 1,
    weight: 0,
    time: timestamp(now),
  };
  return { target, stable, record: pausedOrNot(record, commandsFor(observed, target), now) };
}

/**
 * Decides how the canary goes on that the status tells of. Its states, and what ends each:
 *
 * | state     | the canary's pods  | its share           | ends                                                                |
 * | --------- | ------------------ | ------------------- | ------------------------------------------------------------------- |
 * | Scaling   | come up for a step | the last step's, then this one's | every serving pod has taken the share: Holding; the deadline is missed: taken back |
 * | Holding   | are there          | the step's          | its time is over and no gate objects: Scaling for the next step, or Promoting; a gate fails: taken back |
 * | Promoting | are there          | the last step's     | every pod of the serving Deployment runs the revision: it is no canary any more |
 * | Failed    | are there          | none                | somebody promotes or aborts it                                      |
 *
 * `abort` takes it back and `promote` goes to Promoting from every state; `pause` keeps it from going on until `resume`, which
 * also ends a hold that is Manual. With onFailure Pause, what would be taken back is Failed instead.
 *
 * @param isAsked whether the spec still asks for it: while another waits to be rolled out, it is given no more
 */
export function followCanary(observed: Observed, target: Revision, isAsked: boolean, now: Date): CanaryOutcome {
  const { model, revisions } = observed;
  const record = model.status?.rollout?.canary;
  const stable = revisions.find(({ metadata }) => metadata.name === record?.stableRevision);
  if (record === undefined || record.revision !== target.metadata.name) return none;
  const commands = commandsFor(observed, target);
  // Whoever takes another strategy lets it go straight to the serving pods, but not one that has failed.
  if (!isTriedBeside(model.spec) && record.state !== 'Failed' && !commands.has('abort')) return none;
  if (stable === undefined) {
    const other = newestHealthyBut(target, revisions);
    const gone = `the record of revision ${record.stableRevision}, which served beside it, is gone`;
    return other === undefined ? none : taken(other, 'Aborted', gone);
  }
  if (commands.has('abort')) return taken(stable, 'Aborted', 'somebody has aborted it');
  const canary: Canary = { target, stable, record: pausedOrNot(notInFuture(record, now), commands, now) };
  if (commands.has('promote') && record.state !== 'Promoting') return underWay(canary, promoting(canary.record, now));
  switch (record.state) {
    case 'Scaling':
      return followScaling(observed, canary, isAsked, now);
    case 'Holding':
      return followHolding(observed, canary, { isResumed: commands.has('resume'), isAsked }, now);
    case 'Promoting':
      return isPromoted(observed, target) ? none : underWay(canary, canary.record);
    case 'Failed':
      return underWay(canary, canary.record);
  }
}

/** The commands that name this revision: others are told to be mistaken. */
function commandsFor(observed: Observed, { metadata }: Revision): ReadonlySet<CommandName> {
  return new Set(
    Array.from(newCommands(observed)).flatMap(([name, revision]) => (revision === metadata.name ? [name] : [])),
  );
}

/** The clock may have been set back, or this leader's is behind that of the last one. */
function notInFuture(record: CanaryRecord, now: Date): CanaryRecord {
  return Date.parse(record.time) > now.getTime() ? { ...record, time: timestamp(now) } : record;
}

function pausedOrNot(record: CanaryRecord, commands: ReadonlySet<CommandName>, now: Date): CanaryRecord {
  if (record.state === 'Promoting' || record.state === 'Failed') return record;
  if (commands.has('pause')) return { ...record, paused: record.paused ?? timestamp(now) };
  if (!commands.has('resume') || record.paused === undefined) return record;
  const { paused: _, ...resumed } = record;
  // What was paused was not late.
  return record.state === 'Scaling' ? { ...resumed, time: timestamp(now) } : resumed;
}

const underWay = (
  { target, stable }: Canary,
  record: CanaryRecord,
  measured: readonly Measurement[] = [],
): CanaryOutcome => ({
  kind: 'under way',
  canary: { target, stable, record, measured },
});

function taken(stable: Revision, trigger: Rollback['trigger'], message: string): CanaryOutcome {
  return { kind: 'failed', stable, trigger, message };
}

function promoting({ message: _, paused: __, ...record }: CanaryRecord, now: Date): CanaryRecord {
  return { ...record, state: 'Promoting', time: timestamp(now) };
}

function failed(
  { model }: Observed,
  canary: Canary,
  trigger: Rollback['trigger'],
  message: string,
  measurements: readonly Measurement[] | undefined,
  now: Date,
): CanaryOutcome {
  if (rolloutPolicyOf(model.spec).onFailure === 'Rollback') return taken(canary.stable, trigger, message);
  const told = measurements === undefined ? {} : { measurements: [...measurements], measuredTime: timestamp(now) };
  return underWay(canary, { ...canary.record, ...told, state: 'Failed', weight: 0, message, time: timestamp(now) });
}

function isPromoted({ deployment }: Observed, { metadata }: Revision): boolean {
  return (
    deployment !== undefined && templateRevision(deployment.spec.template) === metadata.name && isComplete(deployment)
  );
}

function followScaling(observed: Observed, canary: Canary, isAsked: boolean, now: Date): CanaryOutcome {
  const { record } = canary;
  const { weight } = stepOf(observed, record);
  // Less is given at once, whatever is there.
  if (weight < record.weight) return underWay(canary, { ...record, weight });
  const { bad, measured } = judgedIn(observed, canary, record.weight, now);
  if (bad !== undefined) return failed(observed, canary, 'GateFailed', inWords(bad), measured, now);
  // A Gateway has to know a backend before it is given requests.
  const isToBeTaken = record.weight === weight || ownRoutes(observed.model.spec).length > 0;
  const missing = whatIsMissing(observed, canary) ?? (isToBeTaken ? notTaken(observed, canary) : undefined);
  const { message: _, ...rest } = record;
  const mayGoOn = isAsked && record.paused === undefined;
  if (missing === undefined && mayGoOn) {
    if (record.weight !== weight) return underWay(canary, { ...rest, weight });
    return underWay(canary, { ...rest, state: 'Holding', time: timestamp(now) });
  }
  const { late, seconds } = lateness(observed, Date.parse(record.time), now);
  if (missing?.isOfCanary === true && late && mayGoOn)
    return failed(
      observed,
      canary,
      'ProgressDeadline',
      `no progress for ${seconds} s: ${missing.what}`,
      undefined,
      now,
    );
  return underWay(canary, missing === undefined ? rest : { ...rest, message: missing.what });
}

function lateness({ model }: Observed, since: number, now: Date) {
  const seconds = rolloutPolicyOf(model.spec).progressDeadlineSeconds;
  return { late: now.getTime() >= since + seconds * 1000, seconds };
}

/** By whom a canary may go on to its next step. */
interface Leave {
  readonly isResumed: boolean;
  readonly isAsked: boolean;
}

/** @param isOver whether the time of its step is */
function mayLeave({ isResumed, isAsked }: Leave, isOver: boolean, { paused }: CanaryRecord): boolean {
  return isAsked && (isResumed || (isOver && paused === undefined));
}

function followHolding(observed: Observed, canary: Canary, leave: Leave, now: Date): CanaryOutcome {
  const { record } = canary;
  const { isResumed } = leave;
  const step = stepOf(observed, record);
  // Somebody has edited the steps: the share follows as it does from one step to the next.
  if (record.weight !== step.weight) return underWay(canary, scaling(record, now));
  const { analysis, steps } = canaryPolicyOf(observed.model.spec);
  const { judged, measured, bad, figures } = judgedIn(observed, canary, step.weight, now);
  if (bad !== undefined) return failed(observed, canary, 'GateFailed', inWords(bad), measured, now);
  const inability = inabilityOf(observed, figures, now);
  if (inability !== undefined) return failed(observed, canary, 'ProgressDeadline', inability, measured, now);

  const isOver = hasEnded(step, record, judged.length > 0 ? figures : undefined, now);
  const { message: _, ...rest } = record;
  if (!mayLeave(leave, isOver, record))
    return underWay(canary, withNews(observed, rest, measured, false, now), measured);
  const open = judged.flatMap(({ measurement, isPassable }) => (isPassable ? [] : [measurement]));
  const obstacle = isResumed ? undefined : obstacleOf(observed, canary, figures);
  // What a leader has not counted itself is no want of evidence.
  const isWatched = hasEnded(step, { time: watchedSince(observed, record, now) }, undefined, now);
  const mayPass = open.length === 0 || isResumed || (isWatched && analysis.onInconclusive === 'Promote');
  if (obstacle === undefined && mayPass) return underWay(canary, nextStep(record, steps.length, now));
  if (open.length > 0 && isWatched && analysis.onInconclusive === 'Rollback')
    return failed(observed, canary, 'GateFailed', open.map(inWords).join('; '), measured, now);
  const message = obstacle ?? gatesOpen(open);
  const told = withNews(observed, { ...rest, message }, measured, record.message === undefined, now);
  return underWay(canary, told, measured);
}

/** That a canary has not been able to serve for as long as a rollout may make no progress, in words. */
function inabilityOf(observed: Observed, figures: StepFigures, now: Date): string | undefined {
  const { intervalSeconds } = canaryPolicyOf(observed.model.spec).analysis;
  const { late, seconds } = lateness(observed, unavailableSince(observed) ?? Number.POSITIVE_INFINITY, now);
  if (late) return `its pods were not available for ${seconds} s`;
  return turnsMostAway(figures, Math.ceil(seconds / intervalSeconds))
    ? `it had no room for most of the requests that it was given in ${seconds} s`
    : undefined;
}

/** What keeps a canary from its next step whatever its gates say, in words. */
function obstacleOf(observed: Observed, canary: Canary, figures: StepFigures): string | undefined {
  const missing = missingPods(observed, canary) ?? notTaken(observed, canary);
  return missing?.what ?? (isSaturated(figures) ? noRoom : undefined);
}

/** What the gates find of a canary that is given such a share. */
function judgedIn(observed: Observed, canary: Canary, weight: number, now: Date) {
  const { analysis, steps } = canaryPolicyOf(observed.model.spec);
  const figures = figuresOf(observed, canary, now);
  const alpha = (1 - Number(analysis.confidence.slice(0, -1)) / 100) / (analysis.gates.length * steps.length);
  const judged = gatesOf(observed, { weight }).map((gate) =>
    judge(gate, figures, { alpha, minRequests: analysis.minRequests }),
  );
  const measured = judged.map(({ measurement }) => measurement);
  return { figures, judged, measured, bad: measured.find(({ verdict }) => verdict === 'Failed') };
}

const noRoom = 'the canary has no room for all requests that it is given';

function nextStep(record: CanaryRecord, steps: number, now: Date): CanaryRecord {
  if (record.step >= steps) return promoting(record, now);
  return { ...scaling(record, now), step: record.step + 1 };
}

function scaling(
  { measurements: _, measuredTime: __, message: ___, ...record }: CanaryRecord,
  now: Date,
): CanaryRecord {
  return { ...record, state: 'Scaling', time: timestamp(now) };
}

/** In how many milliseconds a canary is to be looked at again, though nothing happens; undefined for not before something does. */
export function millisecondsToLook(
  { model }: Pick<Observed, 'model'>,
  { record }: Canary,
  now: Date,
): number | undefined {
  const { analysis } = canaryPolicyOf(model.spec);
  const since = now.getTime() - Date.parse(record.time);
  const untilOver = (seconds: number) => Math.max(50, seconds * 1000 - since + 50);
  switch (record.state) {
    case 'Scaling': {
      const { progressDeadlineSeconds } = rolloutPolicyOf(model.spec);
      // What it is given already is judged meanwhile.
      const interval = record.weight === 0 ? undefined : analysis.intervalSeconds * 1000;
      if (record.paused !== undefined || since > (progressDeadlineSeconds + 1) * 1000) return interval;
      return Math.min(untilOver(progressDeadlineSeconds), interval ?? Number.POSITIVE_INFINITY);
    }
    case 'Holding': {
      const { holdSeconds } = stepOf({ model }, record);
      const interval = analysis.intervalSeconds * 1000;
      const isBefore = holdSeconds !== undefined && since < holdSeconds * 1000;
      return isBefore ? Math.min(interval, untilOver(holdSeconds)) : interval;
    }
    case 'Promoting':
    case 'Failed':
      return undefined;
  }
}
