import type { CanaryRecord, Condition, ModelDeploymentStatus, Rollback } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { withinCharacters } from '../api/text.ts';
import { type ChildKind, childInWords } from '../desired/children.ts';
import type { EventRecord } from '../kube/events.ts';
import type { Intruder, Observed } from '../observed.ts';
import { type CommandName, newCommands } from '../rollout/commands.ts';
import { inWords, type Revision, resolvedUri, templateRevision } from '../rollout/revision.ts';
import { numberOfOtherRevision, restartedAt, type Undo } from '../rollout/undo.ts';
import { undoOf, type Wanted } from '../rollout/wanted-revision.ts';
import type { EventReason } from './reasons.ts';

/** Every event of a ModelDeployment is worded here. */
export interface ModelEvent extends EventRecord {
  readonly reason: EventReason;
}

const normal = (reason: EventReason, message: string): ModelEvent => ({ type: 'Normal', reason, message });
const warning = (reason: EventReason, message: string): ModelEvent => ({ type: 'Warning', reason, message });

/** What is said of a decision about the revision to run. */
export function wantedEvents(wanted: Wanted, observed: Observed, target: Revision): ModelEvent[] {
  const { mistakenRetry } = wanted;
  const mistaken = mistakenRetry === undefined ? [] : [mistakenRetryEvent(mistakenRetry, target)];
  return [...mistaken, ...decisionEvents(wanted, observed, target)];
}

function decisionEvents(wanted: Wanted, { model, deployment }: Observed, target: Revision): ModelEvent[] {
  switch (wanted.kind) {
    case 'undecided':
      return [];
    case 'forward':
      return supersededEvents(wanted.undo, target);
    case 'held':
      return wanted.lost === undefined ? [] : [lostHoldEvent(wanted.lost, wanted.revision)];
    case 'adopted':
      return [adoptedEvent(wanted.undo, target)];
    case 'ended':
      return [endedEvent(wanted.undo)];
    case 'putBack': {
      const occurrence = String(deployment?.metadata.generation);
      return [{ ...putBackEvent(wanted, retryCommand(model.metadata.name, wanted.rollback, target)), occurrence }];
    }
    case 'retried':
      return [normal('Retrying', `${inWords(target)} is tried again`)];
    case 'undoFailed':
      return [undoFailedEvent(wanted.from, wanted.revision, deployment?.spec.progressDeadlineSeconds ?? 0)];
    case 'rolledBack':
      return [failedEvent(target, wanted.revision, deployment?.spec.progressDeadlineSeconds ?? 0)];
    case 'canaryFailed':
      return [
        canaryFailedEvent(target, wanted.revision, wanted.rollback?.message ?? ''),
        ...coincidingUndo(wanted.undo, wanted.revision),
      ];
    case 'canaryUndone':
      return [canaryUndoneEvent(wanted.undo, target, wanted.revision)];
  }
}

function supersededEvents(undo: Undo | undefined, target: Revision): ModelEvent[] {
  if (undo === undefined || undo.revision === target) return [];
  const message = `${undo.fieldManager} undid the Deployment to ${inWords(undo.revision)}, but the spec asks for ${inWords(target)} since: going forward`;
  return [normal('UndoSuperseded', message)];
}

function lostHoldEvent(lost: string, revision: Revision): ModelEvent {
  const message = `the record of revision ${lost}, which was kept, is gone: ${inWords(revision)} is kept in its place`;
  return warning('RolledBack', message);
}

function adoptedEvent({ revision, fieldManager }: Undo, target: Revision): ModelEvent {
  const unpinned =
    revision.data.inputs.model.sha256 === undefined && resolvedUri(revision) === undefined
      ? '; it has no spec.model.sha256, so nothing guarantees that the bytes are the same'
      : '';
  const message = `${fieldManager} undid the Deployment: ${inWords(revision)} is kept in the place of ${inWords(target)} until the spec asks for another${unpinned}`;
  return normal('RolledBack', message);
}

function endedEvent({ revision, fieldManager }: Undo): ModelEvent {
  const message = `${fieldManager} brought ${inWords(revision)} back, which the spec asks for: it is held back no longer`;
  return normal('RollbackEnded', message);
}

function putBackEvent({ undo, revision, why }: Extract<Wanted, { kind: 'putBack' }>, retry: string): ModelEvent {
  const reasons = {
    RevertPolicy: 'spec.rollout.externalUndo is Revert',
    MissedDeadline: `it missed its deadline; to try it again, run ${retry}`,
    NeverHealthy: 'it never was healthy',
    CanaryFailed: `it was taken back as a canary; to try it again, run ${retry}`,
    CanaryUnderWay: `it is tried as a canary still; to have it at once, promote it with the annotation ${annotations.promote}`,
  };
  const message = `${undo.fieldManager} undid the Deployment to ${inWords(undo.revision)}, but ${reasons[why]}: ${inWords(revision)} was put back`;
  return warning('UndoPutBack', message);
}

function failedEvent(target: Revision, revision: Revision, deadlineSeconds: number): ModelEvent {
  const message = `${inWords(target)} made no progress for ${deadlineSeconds} s: rolled back to ${inWords(revision)}`;
  return warning('RolledBack', message);
}

function canaryFailedEvent(target: Revision, stable: Revision, message: string): ModelEvent {
  return warning(
    'RolledBack',
    `the canary of ${inWords(target)} was taken back: ${message}; ${inWords(stable)} is kept`,
  );
}

/** An undo that came while something else was decided. */
function coincidingUndo(undo: Undo | undefined, revision: Revision): ModelEvent[] {
  if (undo === undefined || undo.revision === revision) return [];
  const message = `${undo.fieldManager} undid the Deployment to ${inWords(undo.revision)} while its canary was taken back: ${inWords(revision)} was put back; undo it again to have the other`;
  return [warning('UndoPutBack', message)];
}

function canaryUndoneEvent({ fieldManager }: Undo, target: Revision, stable: Revision): ModelEvent {
  const message = `${fieldManager} undid the Deployment while ${inWords(target)} was tried: its canary was taken back, and ${inWords(stable)} is kept`;
  return normal('RolledBack', message);
}

function undoFailedEvent(from: Revision, revision: Revision, deadlineSeconds: number): ModelEvent {
  const message = `${inWords(from)}, which the Deployment was undone to, made no progress for ${deadlineSeconds} s: ${inWords(revision)}, which the spec asks for, is brought back`;
  return warning('UndoFailed', message);
}

function mistakenRetryEvent(asked: string, target: Revision): ModelEvent {
  const message = `the annotation ${annotations.retry} names revision ${asked}, but ${target.metadata.name} is the one that is held back: name that one`;
  return warning('RetryIgnored', message);
}

/** The command that tries a revision again; the time of the rollback makes it another request than the last one was. */
export function retryCommand(name: string, rollback: Rollback | undefined, { metadata }: Revision): string {
  const value = `${metadata.name}${rollback === undefined ? '' : `@${rollback.time}`}`;
  return `kubectl annotate --overwrite mdeploy/${name} ${annotations.retry}=${value}`;
}

/** The command that asks something of a canary; the time makes it another request than the last one was. */
export function commandLine(name: string, command: CommandName, { revision, time }: CanaryRecord): string {
  return `kubectl annotate --overwrite mdeploy/${name} ${annotations[command]}=${revision}@${time}`;
}

/** What is said of commands that name no canary that is under way. */
export function commandEvents(observed: Observed, { canary, kind }: Wanted): ModelEvent[] {
  if (kind === 'undecided') return [];
  const before = observed.model.status?.rollout?.canary?.revision;
  const known = new Set([before, canary?.target.metadata.name]);
  return Array.from(newCommands(observed)).flatMap(([command, revision]) =>
    known.has(revision)
      ? []
      : [
          warning(
            'CommandIgnored',
            `the annotation ${annotations[command]} names revision ${withinCharacters(revision, 253)}, but no canary of it is under way`,
          ),
        ],
  );
}

/** What is said of somebody's change of a child. An undo is no drift: it has been answered already. */
export function driftEvents(
  child: ChildKind,
  occurrence: string,
  intruders: readonly Intruder[],
  wanted: Wanted,
): ModelEvent[] {
  const undo = undoOf(wanted);
  return intruders
    .filter(({ manager }) => child !== 'Deployment' || manager !== undo?.fieldManager)
    .map((intruder) => ({ ...driftEvent(child, intruder), occurrence }));
}

function driftEvent(child: ChildKind, { manager, fields }: Intruder): ModelEvent {
  const named = fields.slice(0, 8).join(', ');
  const part = child === 'Deployment' ? "the Deployment's pod template" : `the ${childInWords(child)}`;
  const message = `${manager} changed ${part} (${named}${fields.length > 8 ? ', ...' : ''}): it was put back; change the ModelDeployment instead`;
  return warning('DriftRepaired', message);
}

export function resistedEvent(child: ChildKind, difference: string): ModelEvent {
  const message = `${difference} of the ${childInWords(child)} does not take the wanted value: a policy of the cluster changes it back`;
  return warning('ApplyResisted', message);
}

/** One event for each thing that has changed since the last status. */
export function statusEvents(observed: Observed, status: ModelDeploymentStatus, target: Revision): ModelEvent[] {
  const { model, conflicts } = observed;
  const before = model.status ?? {};
  const events: ModelEvent[] = [];
  const { version } = target.data.inputs.model;
  if (before.updateRevision !== status.updateRevision && conflicts.length === 0) {
    const message = `version ${version} is being rolled out as revision ${status.updateRevision}`;
    events.push(normal('RolloutStarted', message));
  }
  events.push(...restartUndoneEvents(observed, status));
  events.push(...canaryEvents(observed, status, target));
  const [was, is] = [conditionOf(before, 'Ready'), conditionOf(status, 'Ready')];
  if (is?.status === 'True' && was?.status !== 'True')
    events.push(normal('RolloutComplete', `version ${version} serves`));
  if (is?.status === 'False' && is.reason !== was?.reason && !ordinaryReasons.has(is.reason))
    events.push({ type: 'Warning', reason: is.reason as EventReason, message: is.message });
  const [scaledWas, scaled] = [conditionOf(before, 'AutoscalingActive'), conditionOf(status, 'AutoscalingActive')];
  if (scaled?.reason === 'ForeignAutoscaler' && scaledWas?.reason !== 'ForeignAutoscaler')
    events.push(warning('ForeignAutoscaler', scaled.message));
  return events;
}

/** What has become of a canary since the last status. */
function canaryEvents({ model }: Observed, status: ModelDeploymentStatus, target: Revision): ModelEvent[] {
  const [was, is] = [model.status?.rollout?.canary, status.rollout?.canary];
  if (is === undefined) return [];
  const isSame = was?.revision === is.revision;
  const told = (event: ModelEvent) => [{ ...event, occurrence: `${is.state} ${is.step} ${is.time}` }];
  if (isSame && was.paused === undefined && is.paused !== undefined)
    return told(
      normal('CanaryPaused', `the canary of ${inWords(target)} was paused at ${is.weight} % of the requests`),
    );
  if (isSame && was.paused !== undefined && is.paused === undefined)
    return told(normal('CanaryResumed', `the canary of ${inWords(target)} goes on`));
  if (isSame && was.state === is.state) return [];
  switch (is.state) {
    case 'Scaling':
      return [];
    case 'Holding':
      return told(normal('CanaryStep', `step ${is.step}: ${inWords(target)} is given ${is.weight} % of the requests`));
    case 'Promoting':
      return told(normal('CanaryPromoted', `${inWords(target)} takes the place of what served beside it`));
    case 'Failed':
      return told(warning('CanaryFailed', `the canary of ${inWords(target)} failed: ${is.message ?? ''}`));
  }
}

/** Reasons for not being ready that are no problem. */
const ordinaryReasons = new Set([
  'Preflight',
  'Prefetching',
  'Canary',
  'CanaryFailed',
  'RollingOut',
  'RollingBack',
  'RolledBack',
  'NoPodServes',
  'ScaledToZero',
  'Paused',
]);

/** An undo after a restart goes back to the same revision, to the disappointment of whoever wanted the one before. */
function restartUndoneEvents(observed: Observed, status: ModelDeploymentStatus): ModelEvent[] {
  const { model } = observed;
  const before = model.status ?? {};
  const [was, is] = [before.rollout?.restartedAt, restartedAt(observed)];
  const revision = status.rollback?.toRevision ?? status.updateRevision ?? '';
  const isSame =
    (before.rollback?.toRevision ?? before.updateRevision) === revision &&
    templateRevision(observed.deployment?.spec.template) === revision;
  if (!isSame || was === undefined || (is !== undefined && Date.parse(is) >= Date.parse(was))) return [];
  const number = numberOfOtherRevision(observed, revision);
  const other =
    number === undefined ? '' : `: kubectl rollout undo deployment/${model.metadata.name} --to-revision=${number}`;
  const message = `a restart was undone, so the pods run revision ${revision} as before; another one takes --to-revision${other}`;
  return [normal('RestartUndone', message)];
}

function conditionOf({ conditions }: ModelDeploymentStatus, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}
