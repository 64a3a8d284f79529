import { canaryPolicyOf, isTriedBeside, type ModelDeploymentStatus } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { canonical } from '../canonical.ts';
import { renderPrefetchPod } from '../desired/prefetch-pod.ts';
import { preflightName, renderPreflightPod } from '../desired/preflight-pod.ts';
import type { LinkOrder, LivePod, Observed } from '../observed.ts';
import { millisecondsToLook } from '../rollout/canary.ts';
import { notTaken } from '../rollout/canary-pods.ts';
import { forgottenScaling } from '../rollout/forgotten-scaling.ts';
import { afterPrefetch } from '../rollout/prefetch.ts';
import { type Gate, gateOf, preflightPodOf } from '../rollout/preflight.ts';
import { millisecondsToDeadline, type Progress, progressOf } from '../rollout/progress.ts';
import { type Revision, revisionName } from '../rollout/revision.ts';
import { mayHaveShare, ownRoutes } from '../rollout/routes.ts';
import { tableFor } from '../rollout/traffic-share.ts';
import { isUndoFollowed, isUndoOverruled, type Wanted, wantedRevision } from '../rollout/wanted-revision.ts';
import { problemOfPod } from '../status/diagnosis.ts';
import { commandEvents, driftEvents, resistedEvent, statusEvents, wantedEvents } from '../status/events.ts';
import { type RolloutState, rolloutState } from '../status/rollout-state.ts';
import { currentRevision, isNewlyWanted, makeStatus, startTimeOf } from '../status/status.ts';
import { dampen } from './damping.ts';
import {
  type ChildDecision,
  childDecisions,
  conflictRequeueMilliseconds,
  routeRequeueMilliseconds,
} from './decide-children.ts';
import {
  adoptWrites,
  createRevision,
  healthWrites,
  pruneWrites,
  renumberWrites,
  resolvedWrites,
  signatureWrites,
  unrecorded,
} from './decide-records.ts';
import { routeDecisions } from './decide-routes.ts';
import type { Decision, Write } from './writes.ts';

export interface Policy {
  /** The inference image for revisions that are made from now on and name none. */
  readonly defaultImage: string;
  /** What pods are to know of the operator's keys, a `PublicKeys` as JSON; undefined when it has none. */
  readonly publicKeys: string | undefined;
}

/** How soon pods that are not ready are looked at again: why a volume cannot be mounted is told by no object that is watched. */
const unreadyRequeueMilliseconds = 10_000;

/**
 * Decides what a pass does. All policy is here and in what this calls. The writes come in phases, in this order:
 *
 * 1. the evidence of an undo that is overruled, which must not look as if it had come after what overrules it;
 * 2. the record of the revision that the spec asks for;
 * 3. the status, before anything is changed that it tells of;
 * 4. the records that are wanted again, or that have lost their owner;
 * 5. the weights of routes, before what they send requests to goes;
 * 6. the children, in the order of `childKinds`; the evidence of an undo that is adopted goes now; what keeps their controllers
 *    from going on;
 * 7. the pods that are asked, or fetch the model, before a rollout;
 * 8. the mark of a revision that is healthy, its signature, and what its URI has led to;
 * 9. what is not needed any more.
 */
export function decide(observed: Observed, now: Date, policy: Policy): Decision {
  const { model, revisions, conflicts } = observed;
  const name = revisionName(model, revisions);
  const newest = Math.max(0, ...revisions.map(({ revision }) => revision));
  const recorded = revisions.find(({ metadata }) => metadata.name === name);
  const asked = recorded ?? unrecorded(observed, name, newest + 1, policy.defaultImage);
  const hasLink = policy.publicKeys !== undefined;
  const asksFirst = gateOf(observed, asked, preflightProblem(observed, asked, hasLink), now);
  const gate = afterPrefetch(observed, asked, asksFirst, prefetchProblem(observed), now);
  // Until it may be rolled out, everything goes on as if the spec did not ask for it yet.
  const target = gate.kind === 'open' ? asked : gate.running;
  const wanted = wantedRevision(observed, target, gate.kind === 'open', now);
  const { progress, state } = rolloutOf(observed, wanted, now);
  const children = conflicts.length > 0 ? [] : childDecisions(observed, wanted, policy.publicKeys, now);
  const routes = routeDecisions(observed, wanted, now);
  const evidence = (writes: readonly Write[]) =>
    writes.filter((write) => write.kind === 'take-over' && write.child === 'Deployment');
  const ofChildren = children.flatMap(({ writes }) => writes);
  const first = isUndoOverruled(wanted) ? evidence(ofChildren) : [];
  const current = currentRevision(observed, wanted.revision, state);
  const before = [...first, ...(recorded === undefined ? [createRevision(asked)] : [])];
  const after = [
    ...(recorded === undefined || gate.kind !== 'open'
      ? []
      : renumberWrites(wanted.canary?.target ?? wanted.revision, newest)),
    ...adoptWrites(observed),
    ...routes.flatMap(({ writes }) => writes),
    ...ofChildren.filter((write) => !first.includes(write)),
    ...scalingWrites(observed),
    ...preflightWrites(observed, asked, gate, hasLink),
    ...prefetchWrites(observed, asked, gate),
    ...healthWrites(observed, wanted.revision, state, now),
    ...signatureWrites(observed, current),
    ...resolvedWrites(observed),
    ...pruneWrites(observed, wanted.revision, [current.metadata.name, target.metadata.name, name]),
  ];
  // The names are not ours: nothing is made or changed until they are free.
  const isBlocked = conflicts.length > 0;
  const phases = isBlocked ? { before: [], after: [] } : { before, after };
  const damped = dampen(phases, observed.refusals, now);
  const status = makeStatus({
    observed,
    asked,
    gate,
    target,
    wanted,
    current,
    progress,
    state,
    defaultImage: policy.defaultImage,
    hasLink,
    isHeld: conflicts.length > 0 || damped.isHeld,
    refusals: damped.refusals,
    contested: [...children, ...routes].flatMap(({ contested }) => contested ?? []),
    now,
  });
  const statusWrites: Write[] = isSame(status, model.status) ? [] : [{ kind: 'write-status', status }];
  const events = [
    ...wantedEvents(wanted, observed, target),
    ...commandEvents(observed, wanted),
    ...statusEvents(observed, status, target),
    ...children.flatMap((child) => eventsOf(child, wanted)),
  ].map((event) => ({ occurrence: progress.startTime, ...event }));
  const requeue = [
    ...(isBlocked ? [conflictRequeueMilliseconds] : []),
    ...(isToldOfAll(observed, state) && gate.kind !== 'checking' && gate.kind !== 'prefetching'
      ? []
      : [unreadyRequeueMilliseconds]),
    ...deadlineRequeue(observed, progress, state, now),
    ...damped.requeueAfterMilliseconds,
    ...[...children, ...routes].flatMap(({ requeueAfterMilliseconds = [] }) => requeueAfterMilliseconds),
    ...canaryRequeue(observed, wanted, now),
  ];
  return {
    writes: [...damped.before, ...statusWrites, ...damped.after],
    evidence: evidenceOf(wanted, observed, status),
    events,
    link: linkOrder(observed, wanted),
    canary: figuresOf(wanted),
    ...(requeue.length === 0 ? {} : { requeueAfterMilliseconds: Math.min(...requeue) }),
  };
}

/** What is followed, and what a new spec or a retry is put above, the status says for good. */
function evidenceOf(
  wanted: Wanted,
  { model, deployment }: Observed,
  { updateRevision, retry }: ModelDeploymentStatus,
): Decision['evidence'] {
  const before = model.status ?? {};
  const isAnew =
    before.updateRevision !== undefined && (before.updateRevision !== updateRevision || before.retry !== retry);
  return isAnew || isUndoFollowed(wanted) ? { deployment } : undefined;
}

/** What keeps a Deployment's controller from going on. */
function scalingWrites(observed: Observed): readonly Write[] {
  const { deployment, replicaSets, canaryDeployment, canaryReplicaSets } = observed;
  return [forgottenScaling(deployment, replicaSets), forgottenScaling(canaryDeployment, canaryReplicaSets)].flatMap(
    (replicaSet) => {
      if (replicaSet === undefined) return [];
      const { name, resourceVersion } = replicaSet.metadata;
      return [{ kind: 'forget-scaling' as const, name, resourceVersion }];
    },
  );
}

/** How far the rollout of the wanted revision has got, and where it stands. */
function rolloutOf(observed: Observed, wanted: Wanted, now: Date) {
  const { model, deployment } = observed;
  const { status } = model;
  const { revision } = wanted;
  const startTime = startTimeOf(status, wanted, now);
  const isNew = isNewlyWanted(status, wanted);
  const progress = { startTime, ...progressOf({ deployment, before: status ?? {}, revision, isNew, now }) };
  return { progress, state: rolloutState(observed, revision.metadata.name, progress, now) };
}

function eventsOf({ child, intrusion, resisted }: ChildDecision, wanted: Wanted) {
  const drift = intrusion === undefined ? [] : driftEvents(child, intrusion.occurrence, intrusion.intruders, wanted);
  return [...drift, ...(resisted === undefined ? [] : [resistedEvent(child, resisted)])];
}

function deadlineRequeue(
  { deployment }: Observed,
  progress: Progress,
  { kind }: RolloutState,
  now: Date,
): readonly number[] {
  const left =
    deployment === undefined || kind !== 'progressing' ? undefined : millisecondsToDeadline(deployment, progress, now);
  return left === undefined ? [] : [left + 50];
}

function canaryRequeue(observed: Observed, { canary }: Wanted, now: Date): readonly number[] {
  if (canary === undefined) {
    const isLeft = observed.routes.some((route) => mayHaveShare(route, observed.model.metadata.name));
    return isLeft ? [routeRequeueMilliseconds] : [];
  }
  const milliseconds = millisecondsToLook(observed, canary, now);
  const isWaited = canary.record.state === 'Scaling' || notTaken(observed, canary) !== undefined;
  const isRouted = isWaited && ownRoutes(observed.model.spec).length > 0;
  return [...(milliseconds === undefined ? [] : [milliseconds]), ...(isRouted ? [routeRequeueMilliseconds] : [])];
}

function figuresOf({ canary }: Wanted) {
  return canary === undefined ? undefined : { weight: canary.record.weight, measured: canary.measured ?? [] };
}

/** What pods are told, and what is kept of what they tell: only where a canary may come is anything. */
function linkOrder(observed: Observed, { canary }: Wanted): LinkOrder {
  const { spec } = observed.model;
  if (!isTriedBeside(spec)) return { table: {}, intervalSeconds: undefined, hasLatency: false, isUrgent: false };
  const { intervalSeconds, gates } = canaryPolicyOf(spec).analysis;
  const hasLatency = gates.some(({ metric }) => metric === 'Latency' || metric === 'LatencyVersusStable');
  return { table: tableFor(observed, canary), intervalSeconds, hasLatency, isUrgent: canary !== undefined };
}

/** Whether a watch tells of everything that may happen next. Time alone passes a deadline, and mounts fail in Events. */
function isToldOfAll({ deployment, pods }: Observed, state: RolloutState): boolean {
  if (state.kind === 'complete') return true;
  const hasOldVerdict = deployment?.status?.conditions?.some(({ reason }) => reason === 'ProgressDeadlineExceeded');
  return pods.length === 0 && hasOldVerdict !== true;
}

/** The pod that is asked is made when it is needed, and goes once it has told, or nobody asks any more. */
function preflightWrites({ model, preflightPods }: Observed, asked: Revision, gate: Gate, hasLink: boolean): Write[] {
  const name = preflightName(asked.metadata.name);
  const pods = preflightPods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const needed = gate.kind === 'checking' ? pods.find(({ metadata }) => metadata.name === name) : undefined;
  // One that has ended without a word, because the operator was away, is asked again.
  const isLost = needed?.phase === 'Succeeded';
  const gone = pods.filter((pod) => pod !== needed || isLost);
  const isThere = preflightPods.some(({ metadata }) => metadata.name === name);
  return [
    ...gone.map(({ metadata }): Write => ({ kind: 'delete-preflight', name: metadata.name, uid: metadata.uid })),
    ...(gate.kind !== 'checking' || isThere || !hasLink
      ? []
      : [
          {
            kind: 'create-preflight' as const,
            manifest: renderPreflightPod(model, asked.metadata.name, asked.data.template),
          },
        ]),
  ];
}

/** The pods that fetch the model to nodes are made when their turn comes, and stay until all have ended: that they have is known by them. */
function prefetchWrites({ model, prefetchPods }: Observed, asked: Revision, gate: Gate): Write[] {
  const { name } = asked.metadata;
  const next = gate.kind === 'prefetching' ? gate.next : [];
  const isNeeded = ({ metadata }: LivePod) =>
    gate.kind === 'prefetching' && metadata.annotations?.[annotations.revision] === name;
  const gone = prefetchPods.filter((pod) => pod.metadata.deletionTimestamp === undefined && !isNeeded(pod));
  return [
    ...next.map((node): Write => {
      return { kind: 'create-prefetch', manifest: renderPrefetchPod(model, name, node, asked.data.template) };
    }),
    ...gone.map(({ metadata }): Write => ({ kind: 'delete-prefetch', name: metadata.name, uid: metadata.uid })),
  ];
}

/** What keeps a node from having the model, in words. */
function prefetchProblem({ prefetchPods, mountFailures }: Observed): string | undefined {
  const running = prefetchPods.filter(({ phase }) => phase !== 'Succeeded' && phase !== 'Failed');
  const problems = running.map((pod) => problemOfPod(pod, mountFailures.get(pod.metadata.name))?.message);
  return problems.find((problem) => problem !== undefined);
}

/** What keeps the revision from being asked, in words. */
function preflightProblem(observed: Observed, asked: Revision, hasLink: boolean): string | undefined {
  if (!hasLink) return 'the operator has no key to speak to pods with: see its log';
  const pod = preflightPodOf(observed, asked.metadata.name);
  return pod === undefined ? undefined : problemOfPod(pod, observed.mountFailures.get(pod.metadata.name))?.message;
}

function isSame(a: ModelDeploymentStatus, b: ModelDeploymentStatus | undefined): boolean {
  return canonical(a) === canonical(b);
}
