import { type ModelDeploymentStatus, minReplicasDefault, rolloutPolicyOf } from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import { renderAutoscaler } from '../desired/autoscaler.ts';
import type { ChildKind } from '../desired/children.ts';
import { renderDeployment } from '../desired/deployment.ts';
import { findDifference } from '../desired/difference.ts';
import { renderDisruptionBudget } from '../desired/disruption-budget.ts';
import { renderService } from '../desired/service.ts';
import type { Manifest } from '../kube/apply.ts';
import type { EventRecord } from '../kube/events.ts';
import { fieldsAt } from '../kube/field-sets.ts';
import type { Intruder, LiveChild, LiveDeployment, Observed } from '../observed.ts';
import { driftLeftovers } from '../rollout/drift-leftovers.ts';
import {
  canonical,
  changeCause,
  isHealthy,
  prunable,
  type Revision,
  renderRevision,
  revisionName,
  templateRevision,
} from '../rollout/revision.ts';
import type { Undo } from '../rollout/undo.ts';
import { type Wanted, wantedRevision } from '../rollout/wanted-revision.ts';
import { rolloutEvents } from '../status/events.ts';
import { type RolloutState, rolloutState } from '../status/rollout-state.ts';
import { makeStatus, startTimeOf } from '../status/status.ts';
import type { Decision, Write } from './writes.ts';

export interface Policy {
  /** The inference image for revisions that are made from now on and name none. */
  readonly defaultImage: string;
}

/** How soon a name that is taken is looked at again: its object is not watched. */
const conflictRequeueMilliseconds = 30_000;
/** How soon a child that was refused is tried again: quotas and policies are not watched. */
const refusedRequeueMilliseconds = 30_000;
/** How soon pods that are not ready are looked at again: why a volume cannot be mounted is told by no object that is watched. */
const unreadyRequeueMilliseconds = 10_000;

/** Decides what a pass does. All policy is here and in what this calls. */
export function decide(observed: Observed, now: Date, policy: Policy): Decision {
  const { model, revisions, conflicts } = observed;
  const name = revisionName(model, revisions);
  const newest = Math.max(0, ...revisions.map(({ revision }) => revision));
  const recorded = revisions.find(({ metadata }) => metadata.name === name);
  const target = recorded ?? unrecorded(observed, name, newest + 1, policy);
  const wanted = wantedRevision(observed, target, now);
  const startTime = startTimeOf(model.status, wanted, now);
  const state = rolloutState(observed, wanted.revision.metadata.name, startTime, now);
  const status = makeStatus({ observed, target, wanted, startTime, state, defaultImage: policy.defaultImage, now });
  const statusWrites: Write[] = isSame(status, model.status) ? [] : [{ kind: 'write-status', status }];
  const events = [...wanted.events, ...rolloutEvents(observed, status, target)].map((event) => ({
    occurrence: startTime,
    ...event,
  }));
  if (conflicts.length > 0) {
    // The names are not ours: nothing is made or changed until they are free.
    return { writes: statusWrites, events, requeueAfterMilliseconds: conflictRequeueMilliseconds };
  }
  const children = childWrites(observed, wanted);
  const takeOver = children.writes.filter((write) => write.kind === 'take-over' && write.child === 'Deployment');
  // What an undo decides is recorded before its evidence goes. One that is overruled must not look as if it had come after
  // what overrules it, so its evidence goes first.
  const isOverruled = wanted.undo !== undefined && wanted.undo.revision !== wanted.revision;
  const first = isOverruled ? takeOver : [];
  return {
    writes: [
      ...first,
      ...(recorded === undefined ? [createRevision(target)] : []),
      ...statusWrites,
      ...(recorded === undefined ? [] : renumberWrites(wanted.revision, newest)),
      ...children.writes.filter((write) => !first.includes(write)),
      ...healthWrites(wanted.revision, state, now),
      ...pruneWrites(observed, wanted.revision, status),
    ],
    events: [...events, ...children.events],
    ...requeueAfter(observed, state),
  };
}

function requeueAfter(observed: Observed, state: RolloutState): Pick<Decision, 'requeueAfterMilliseconds'> {
  if (!isToldOfAll(observed, state)) return { requeueAfterMilliseconds: unreadyRequeueMilliseconds };
  return observed.refusals.size > 0 ? { requeueAfterMilliseconds: refusedRequeueMilliseconds } : {};
}

/** Whether a watch tells of everything that may happen next. Time alone passes a deadline, and mounts fail in Events. */
function isToldOfAll({ deployment, pods }: Observed, state: RolloutState): boolean {
  if (state.kind === 'complete') return true;
  const hasOldVerdict = deployment?.status?.conditions?.some(({ reason }) => reason === 'ProgressDeadlineExceeded');
  return pods.length === 0 && hasOldVerdict !== true;
}

function unrecorded({ model }: Observed, name: string, number: number, { defaultImage }: Policy): Revision {
  const manifest = renderRevision(model, name, number, defaultImage);
  return { ...manifest, metadata: { ...manifest.metadata, uid: '', resourceVersion: '' } };
}

function createRevision({ metadata, revision, data }: Revision): Write {
  const { uid: _, resourceVersion: __, namespace = '', ownerReferences = [], ...rest } = metadata;
  const manifest = {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: { ...rest, namespace, ownerReferences },
    revision,
    data,
  };
  return { kind: 'create-revision', manifest };
}

/** An old revision that is wanted again becomes the newest. */
function renumberWrites({ metadata, revision }: Revision, newest: number): Write[] {
  return revision === newest ? [] : [{ kind: 'renumber-revision', name: metadata.name, number: newest + 1 }];
}

interface ChildDecision {
  readonly writes: readonly Write[];
  readonly events: readonly EventRecord[];
}

function childWrites(observed: Observed, wanted: Wanted): ChildDecision {
  const { model, service, autoscaler, disruptionBudget } = observed;
  const wantedAutoscaler = renderAutoscaler(model);
  const decisions = [
    // The Service first: where its name is taken, no pod is started in vain.
    childWrite(observed, 'Service', renderService(model), service),
    deploymentWrites(observed, wanted),
    childWrite(observed, 'HorizontalPodAutoscaler', wantedAutoscaler, autoscaler),
    childWrite(observed, 'PodDisruptionBudget', renderDisruptionBudget(model), disruptionBudget),
  ];
  return { writes: decisions.flatMap(({ writes }) => writes), events: decisions.flatMap(({ events }) => events) };
}

function deploymentWrites(observed: Observed, { revision, undo }: Wanted): ChildDecision {
  const { model, deployment, autoscaler } = observed;
  const { autoscaling, replicas = 1 } = model.spec;
  // While an autoscaler is there, or is about to be, the replicas are its own.
  const ownReplicas = autoscaling === undefined && autoscaler === undefined;
  const manifest = renderDeployment(
    model,
    revision.data.template,
    changeCause(revision),
    ownReplicas ? replicas : undefined,
  );
  if (deployment === undefined || isDeleted(deployment))
    return childWrite(observed, 'Deployment', manifest, deployment);

  const applied = childWrite(observed, 'Deployment', manifest, deployment, undo);
  const live = deployment.spec.replicas ?? 1;
  const holdsReplicas = fieldsAt(deployment.applied, ['spec', 'replicas']) !== undefined;
  // An autoscaler leaves a Deployment alone that has no pods at all.
  if (autoscaling === undefined || !(holdsReplicas || live === 0)) return applied;
  const { minReplicas = minReplicasDefault, maxReplicas } = autoscaling;
  const clamped = Math.max(1, minReplicas, Math.min(live, maxReplicas));
  return { ...applied, writes: [{ kind: 'hand-over-replicas', deployment, replicas: clamped }, ...applied.writes] };
}

function driftEvent(child: ChildKind, { manager, fields }: Intruder): EventRecord {
  const named = fields.slice(0, 8).join(', ');
  const part = child === 'Deployment' ? "the Deployment's pod template" : `the ${child}`;
  return {
    type: 'Warning',
    reason: 'DriftRepaired',
    message: `${manager} changed ${part} (${named}${fields.length > 8 ? ', ...' : ''}): it was put back; change the ModelDeployment instead`,
  };
}

function childWrite(
  { resisting }: Observed,
  child: ChildKind,
  manifest: (Manifest & object) | undefined,
  live: LiveChild<object> | undefined,
  undo?: Undo,
): ChildDecision {
  // What is being deleted cannot be written; it is made again once it is gone.
  if (live !== undefined && isDeleted(live)) return nothing;
  if (manifest === undefined) {
    if (live === undefined) return nothing;
    return { writes: [{ kind: 'delete', child, name: live.metadata.name, uid: live.metadata.uid }], events: [] };
  }
  const apply: Write = { kind: 'apply', child, manifest, uid: live?.metadata.uid };
  if (live === undefined) return { writes: [apply], events: [] };
  if (live.intruders.length > 0) {
    // An undo is no drift: it has been answered already.
    const drifts = live.intruders.filter(({ manager }) => manager !== undo?.fieldManager);
    const occurrence = String(live.metadata.generation ?? live.metadata.resourceVersion);
    const events = drifts.map((intruder) => ({ ...driftEvent(child, intruder), occurrence }));
    return { writes: [{ kind: 'take-over', child, live }, apply], events };
  }
  const difference = findDifference(manifest, live, live.applied);
  if (difference === undefined) return nothing;
  if (resisting.get(child) !== canonical(manifest)) return { writes: [apply], events: [] };
  const message = `${difference} of the ${child} does not take the wanted value: a policy of the cluster changes it back`;
  return { writes: [], events: [{ type: 'Warning', reason: 'ApplyResisted', message }] };
}

const nothing: ChildDecision = { writes: [], events: [] };

function healthWrites(wanted: Revision, state: RolloutState, now: Date): Write[] {
  if (state.kind !== 'complete' || state.wanted === 0 || isHealthy(wanted)) return [];
  return [{ kind: 'mark-healthy', name: wanted.metadata.name, since: timestamp(now) }];
}

/** Only once the Deployment's controller has dealt with its template: until then a ReplicaSet may be about to be made. */
function pruneWrites(observed: Observed, wanted: Revision, status: ModelDeploymentStatus): Write[] {
  const { model, revisions, deployment, replicaSets } = observed;
  if (deployment === undefined || !isDealtWith(deployment, wanted)) return [];
  const leftovers = driftLeftovers(deployment, replicaSets);
  const inUse = new Set([
    wanted.metadata.name,
    status.currentRevision ?? '',
    status.updateRevision ?? '',
    ...replicaSets.map(({ revision }) => revision ?? ''),
  ]);
  const old = prunable(revisions, inUse, rolloutPolicyOf(model.spec).revisionHistoryLimit);
  return [
    ...leftovers.map(({ metadata }): Write => ({ kind: 'delete-replica-set', name: metadata.name, uid: metadata.uid })),
    ...old.map(({ metadata }): Write => ({ kind: 'delete-revision', name: metadata.name })),
  ];
}

function isDealtWith({ metadata, spec, status, intruders }: LiveDeployment, wanted: Revision): boolean {
  const seen = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  return seen && intruders.length === 0 && templateRevision(spec.template) === wanted.metadata.name;
}

function isDeleted({ metadata }: LiveChild<object>): boolean {
  return metadata.deletionTimestamp !== undefined;
}

function isSame(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}
