import { canaryPolicyOf, minReplicasDefault } from '../api/model-deployment.ts';
import { fingerprint } from '../canonical.ts';
import { renderAutoscaler } from '../desired/autoscaler.ts';
import { type ChildKind, childKinds, isOfCanary } from '../desired/children.ts';
import { renderDeployment } from '../desired/deployment.ts';
import { findDifference } from '../desired/difference.ts';
import { renderDisruptionBudget } from '../desired/disruption-budget.ts';
import { renderLink } from '../desired/link.ts';
import type { Track } from '../desired/metadata.ts';
import { renderCanaryService, renderService } from '../desired/service.ts';
import type { Manifest } from '../kube/apply.ts';
import { fieldsAt } from '../kube/field-sets.ts';
import {
  type Attempt,
  type Intruder,
  type LiveAutoscaler,
  type LiveChild,
  type LiveDeployment,
  liveChildOf,
  type Observed,
} from '../observed.ts';
import type { Canary } from '../rollout/canary.ts';
import { canaryReplicas, isOf, isServing } from '../rollout/canary-pods.ts';
import { changeCause, healthyDespiteGoldenSet, resolvedUris, templateRevision } from '../rollout/revision.ts';
import { givesShare, mayHaveShare, ownRoutes } from '../rollout/routes.ts';
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
  /** Its kind; of a route, its name as well. */
  readonly child: string;
  readonly difference: string;
  readonly repairs: number;
}

/** How soon a name that is taken is looked at again: its object is not watched. */
export const conflictRequeueMilliseconds = 30_000;
/** How soon routes are looked at again: they are not watched, and Gateways take a moment to do as they say. */
export const routeRequeueMilliseconds = 1000;

/** Decides on each child, in the order in which they are written. */
export function childDecisions(
  observed: Observed,
  wanted: Wanted,
  publicKeys: string | undefined,
  now: Date,
): ChildDecision[] {
  return childKinds.map((child) =>
    child === 'CanaryDeployment' && isShareOfAnother(observed, wanted)
      ? { child, writes: [], requeueAfterMilliseconds: routeRequeueMilliseconds }
      : childDecision(observed, child, render(child, observed, wanted, publicKeys), now),
  );
}

/** Another version is not to be given what a route still gives to the one that was tried before it. */
function isShareOfAnother({ model, routes, canaryDeployment }: Observed, { canary }: Wanted): boolean {
  if (canary === undefined || canaryDeployment === undefined) return false;
  const isAnother = templateRevision(canaryDeployment.spec.template) !== canary.target.metadata.name;
  return isAnother && routes.some((route) => givesShare(route, model.metadata.name));
}

/** What a child should be; undefined when there should be none. */
function render(
  child: ChildKind,
  observed: Observed,
  { revision, canary }: Wanted,
  publicKeys: string | undefined,
): (Manifest & object) | undefined {
  const { model } = observed;
  const isAutoscaled = observed.foreignAutoscalers.length === 0;
  switch (child) {
    case 'ConfigMap':
      return renderLink(
        model,
        healthyDespiteGoldenSet(observed.revisions),
        resolvedUris(observed.revisions),
        publicKeys,
      );
    case 'Service':
      return renderService(model, servingTracks(observed, canary));
    case 'CanaryService':
      return ownRoutes(model.spec).length === 0 ? undefined : renderCanaryService(model);
    case 'Deployment':
      return renderDeployment(
        model,
        revision.data.template,
        changeCause(revision),
        ownReplicas(stableScale(observed, canary?.record.stableReplicas)),
      );
    case 'CanaryDeployment': {
      if (canary === undefined) return undefined;
      const { target, record } = canary;
      const replicas = ownReplicas(canaryScale(observed, canaryReplicas(observed, record)));
      return renderDeployment(model, target.data.template, changeCause(target), replicas, 'canary');
    }
    case 'HorizontalPodAutoscaler':
      // One owner: two autoscalers of the same pods both stand still.
      return isAutoscaled ? renderAutoscaler(model, canary?.record.stableReplicas) : undefined;
    case 'CanaryAutoscaler':
      if (canary === undefined || !isAutoscaled) return undefined;
      return renderAutoscaler(model, canaryReplicas(observed, canary.record), 'canary');
    case 'PodDisruptionBudget':
      return renderDisruptionBudget(model);
  }
}

/** Whose pods the Service has. */
function servingTracks({ model, canaryPods }: Observed, canary: Canary | undefined): Track | 'both' {
  if (canary === undefined || canary.record.weight === 0) return 'stable';
  if (canaryPolicyOf(model.spec).routing.kind !== 'Replicas') return 'stable';
  // Where none of the new pods answers, old ones that are there are better than nobody.
  const isAnswered = canaryPods.some((pod) => isServing(pod) && isOf(pod, canary.target));
  return canary.record.weight === 100 && isAnswered ? 'canary' : 'both';
}

/** Who sets the number of pods of a Deployment, and between what limits. */
interface Scale {
  readonly deployment: LiveDeployment | undefined;
  readonly autoscaler: LiveAutoscaler | undefined;
  readonly isAutoscaled: boolean;
  /** Whether somebody else's autoscaler does. */
  readonly isForeign: boolean;
  /** What it has while nobody scales it. */
  readonly fixed: number;
  readonly least: number;
  readonly most: number;
}

/** @param kept pods that an autoscaler may not go below while a canary is tried */
function stableScale({ model, deployment, autoscaler, foreignAutoscalers }: Observed, kept = 0): Scale {
  const { autoscaling, replicas = 1 } = model.spec;
  const isForeign = foreignAutoscalers.length > 0;
  const { minReplicas = minReplicasDefault, maxReplicas = Number.POSITIVE_INFINITY } = autoscaling ?? {};
  const isAutoscaled = autoscaling !== undefined;
  const least = Math.max(1, minReplicas, kept);
  return {
    deployment,
    autoscaler,
    isAutoscaled,
    isForeign,
    fixed: replicas,
    least,
    most: Math.max(least, maxReplicas),
  };
}

/** @param needed the pods that its step takes */
function canaryScale(observed: Observed, needed: number): Scale {
  const { model, canaryDeployment, canaryAutoscaler, foreignAutoscalers } = observed;
  return {
    deployment: canaryDeployment,
    autoscaler: canaryAutoscaler,
    isAutoscaled: model.spec.autoscaling !== undefined && foreignAutoscalers.length === 0,
    isForeign: false,
    fixed: needed,
    least: needed,
    most: Math.max(needed, model.spec.autoscaling?.maxReplicas ?? 0),
  };
}

/**
 * The replicas that the operator applies; undefined leaves them to the autoscaler that has them. Until that has changed
 * them for the first time they are still the operator's, who must not let go of them: they would fall to 1.
 */
function ownReplicas(scale: Scale): number | undefined {
  const { deployment, autoscaler, isAutoscaled, isForeign, fixed, least, most } = scale;
  if (!isAutoscaled && autoscaler === undefined && !isForeign) return fixed;
  const live = deployment?.spec.replicas ?? 1;
  if (deployment === undefined) return isAutoscaled ? least : fixed;
  // An autoscaler leaves a Deployment alone that has no pods at all.
  const isAsleep = live === 0 && isAutoscaled;
  const isHeld = fieldsAt(deployment.applied, ['spec', 'replicas']) !== undefined;
  if (!isHeld && !isAsleep) return undefined;
  return !isAutoscaled || isForeign ? live : Math.max(least, Math.min(live, most));
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
  if (isOfCanary(child) && live === undefined && observed.canaryConflict !== undefined && manifest !== undefined)
    return { ...nothing, requeueAfterMilliseconds: conflictRequeueMilliseconds };
  // What is being deleted cannot be written; it is made again once it is gone.
  if (live?.metadata.deletionTimestamp !== undefined) return nothing;
  if (manifest === undefined) {
    // Without a key nothing is known of the link: pods go on with what they have.
    if (live === undefined || child === 'ConfigMap') return nothing;
    // Nobody is to be sent where nothing is any more.
    if (isOfCanary(child) && observed.routes.some((route) => mayHaveShare(route, observed.model.metadata.name)))
      return { ...nothing, requeueAfterMilliseconds: routeRequeueMilliseconds };
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
