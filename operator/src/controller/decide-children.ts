import { type ModelDeployment, minReplicasDefault } from '../api/model-deployment.ts';
import { fingerprint } from '../canonical.ts';
import { renderAutoscaler } from '../desired/autoscaler.ts';
import { type ChildKind, childKinds } from '../desired/children.ts';
import { renderDeployment } from '../desired/deployment.ts';
import { findDifference } from '../desired/difference.ts';
import { renderDisruptionBudget } from '../desired/disruption-budget.ts';
import { renderLink } from '../desired/link.ts';
import { renderService } from '../desired/service.ts';
import type { Manifest } from '../kube/apply.ts';
import { fieldsAt } from '../kube/field-sets.ts';
import { type Attempt, type Intruder, type LiveChild, liveChildOf, type Observed } from '../observed.ts';
import { changeCause, healthyDespiteGoldenSet } from '../rollout/revision.ts';
import type { Wanted } from '../rollout/wanted-revision.ts';
import { repairDelay } from './damping.ts';
import type { Write } from './writes.ts';

/** What is done about one child, and why if that is to be told. */
export interface ChildDecision {
  readonly child: ChildKind;
  readonly writes: readonly Write[];
  /** Who has changed what from outside; it is being put back. */
  readonly intrusion?: { readonly intruders: readonly Intruder[]; readonly occurrence: string };
  /** The field that does not take the wanted value. */
  readonly resisted?: string;
  /** A quarrel over a field: the next repair waits. */
  readonly contested?: Contested;
  readonly requeueAfterMilliseconds?: number;
}

export interface Contested {
  readonly child: ChildKind;
  readonly difference: string;
  readonly repairs: number;
}

/** How soon a name that is taken is looked at again: its object is not watched. */
export const conflictRequeueMilliseconds = 30_000;
/** Decides on each child, in the order in which they are written. */
export function childDecisions(
  observed: Observed,
  wanted: Wanted,
  publicKeys: string | undefined,
  now: Date,
): ChildDecision[] {
  return childKinds.map((child) => childDecision(observed, child, render(child, observed, wanted, publicKeys), now));
}

/** What a child should be; undefined when there should be none. */
function render(
  child: ChildKind,
  observed: Observed,
  { revision }: Wanted,
  publicKeys: string | undefined,
): (Manifest & object) | undefined {
  const { model } = observed;
  switch (child) {
    case 'ConfigMap':
      return renderLink(model, healthyDespiteGoldenSet(observed.revisions), publicKeys);
    case 'Service':
      return renderService(model);
    case 'Deployment':
      return renderDeployment(model, revision.data.template, changeCause(revision), ownReplicas(observed));
    case 'HorizontalPodAutoscaler':
      // One owner: two autoscalers of the same pods both stand still.
      return observed.foreignAutoscalers.length > 0 ? undefined : renderAutoscaler(model);
    case 'PodDisruptionBudget':
      return renderDisruptionBudget(model);
  }
}

/**
 * The replicas that the operator applies; undefined leaves them to the autoscaler that has them. Until that has changed
 * them for the first time they are still the operator's, who must not let go of them: they would fall to 1.
 */
function ownReplicas({ model, deployment, autoscaler, foreignAutoscalers }: Observed): number | undefined {
  const { autoscaling, replicas = 1 } = model.spec;
  const isAutoscaled = autoscaling !== undefined || autoscaler !== undefined || foreignAutoscalers.length > 0;
  if (!isAutoscaled) return replicas;
  const live = deployment?.spec.replicas ?? 1;
  const { minReplicas, maxReplicas } = limitsOf(model);
  if (deployment === undefined) return autoscaling === undefined ? replicas : minReplicas;
  // An autoscaler leaves a Deployment alone that has no pods at all.
  const isAsleep = live === 0 && autoscaling !== undefined;
  const isHeld = fieldsAt(deployment.applied, ['spec', 'replicas']) !== undefined;
  if (!isHeld && !isAsleep) return undefined;
  return autoscaling === undefined || foreignAutoscalers.length > 0
    ? live
    : Math.max(minReplicas, Math.min(live, maxReplicas));
}

function limitsOf({ spec: { autoscaling } }: ModelDeployment) {
  const { minReplicas = minReplicasDefault, maxReplicas = Number.POSITIVE_INFINITY } = autoscaling ?? {};
  return { minReplicas: Math.max(1, minReplicas), maxReplicas };
}

function childDecision(
  observed: Observed,
  child: ChildKind,
  manifest: (Manifest & object) | undefined,
  now: Date,
): ChildDecision {
  const live: LiveChild<unknown> | undefined = liveChildOf(observed, child);
  const nothing = { child, writes: [] };
  if (child === 'ConfigMap' && observed.linkConflict !== undefined)
    return { ...nothing, requeueAfterMilliseconds: conflictRequeueMilliseconds };
  // What is being deleted cannot be written; it is made again once it is gone.
  if (live?.metadata.deletionTimestamp !== undefined) return nothing;
  if (manifest === undefined) {
    // Without a key nothing is known of the link: pods go on with what they have.
    if (live === undefined || child === 'ConfigMap') return nothing;
    return { child, writes: [{ kind: 'delete', child, name: live.metadata.name, uid: live.metadata.uid }] };
  }
  if (live === undefined) return { child, writes: [{ kind: 'apply', child, manifest, live }] };
  return repair(observed.attempts.get(child), child, manifest, live, now);
}

/** Brings a child that is there to what it should be, unless that has been tried too often. */
function repair(
  attempt: Attempt | undefined,
  child: ChildKind,
  manifest: Manifest & object,
  live: LiveChild<unknown>,
  now: Date,
): ChildDecision {
  const nothing = { child, writes: [] };
  const apply: Write = { kind: 'apply', child, manifest, live };
  const { intruders } = live;
  const difference = intruders[0]?.fields[0] ?? findDifference(manifest, live, live.applied);
  if (difference === undefined) return nothing;

  const again = attempt?.desired === fingerprint(manifest) ? attempt : undefined;
  if (again?.resisted === true && intruders.length === 0) return { ...nothing, resisted: difference };
  const wait = again === undefined ? 0 : again.at + repairDelay(again.repairs) - now.getTime();
  if (again !== undefined && wait > 0)
    return { ...nothing, contested: { child, difference, repairs: again.repairs }, requeueAfterMilliseconds: wait };
  if (intruders.length === 0) return { child, writes: [apply] };
  const occurrence = String(live.metadata.generation ?? live.metadata.resourceVersion);
  // Without an entry of its own the operator can take nothing over; the apply makes one.
  const takeOver: Write[] = live.applied === undefined ? [] : [{ kind: 'take-over', child, live }];
  return { child, writes: [...takeOver, apply], intrusion: { intruders, occurrence } };
}
