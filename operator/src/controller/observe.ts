import type { ModelDeployment } from '../api/model-deployment.ts';
import { labels, modelContainer } from '../api/names.ts';
import {
  type ChildKind,
  childInWords,
  childKinds,
  childName,
  childResources,
  isOfCanary,
} from '../desired/children.ts';
import { renderDisruptionBudget } from '../desired/disruption-budget.ts';
import { identityLabels } from '../desired/metadata.ts';
import { prefetchTrack } from '../desired/prefetch-pod.ts';
import { preflightTrack } from '../desired/preflight-pod.ts';
import { liveObject } from '../kube/live-object.ts';
import { controllerOf, type KubeObject, keyOf, pathOf } from '../kube/objects.ts';
import {
  childFields,
  type ForeignAutoscaler,
  type LinkState,
  type LiveAutoscaler,
  type LiveChild,
  type LiveDeployment,
  type LivePod,
  type LiveReplicaSet,
  type NameConflict,
  type Observed,
} from '../observed.ts';
import { type Revision, revisionResource } from '../rollout/revision.ts';
import { ownRoutes } from '../rollout/routes.ts';
import { orphansOf, scaledBy } from './caches.ts';
import type { PodQuestion } from './diagnosis-inquiries.ts';
import { StaleView } from './failure.ts';
import { asLiveChild, isReady } from './live-objects.ts';
import { observeQueries } from './observe-queries.ts';
import { observeRoutes } from './observe-routes.ts';
import type { PassOptions } from './pass-options.ts';

export type ObserveOptions = Pick<
  PassOptions,
  'caches' | 'client' | 'inquiries' | 'link' | 'memory' | 'now' | 'queries'
>;

/**
 * Reads everything that a pass decides on. A settled system is read from the caches alone; the API server is asked only
 * for what no cache holds.
 *
 * @throws StaleView when a child exists already and is not in the cache yet
 */
export async function observe(model: ModelDeployment, options: ObserveOptions): Promise<Observed> {
  const { caches, memory } = options;
  const { uid } = model.metadata;
  const key = keyOf(model);
  const children = {
    link: ours(model, caches.ConfigMap.get(keyOfChild(model, 'ConfigMap'))),
    service: ours(model, caches.Service.get(key)),
    canaryService: ours(model, caches.Service.get(keyOfChild(model, 'CanaryService'))),
    deployment: ours(model, caches.Deployment.get(key)),
    canaryDeployment: ours(model, caches.Deployment.get(keyOfChild(model, 'CanaryDeployment'))),
    autoscaler: ours(model, caches.HorizontalPodAutoscaler.get(key)),
    canaryAutoscaler: ours(model, caches.HorizontalPodAutoscaler.get(keyOfChild(model, 'CanaryAutoscaler'))),
    disruptionBudget: ours(model, caches.PodDisruptionBudget.get(key)),
  };
  const revisions = [...caches.revisions.indexed(uid), ...caches.revisions.indexed(orphansOf(key))];
  await refuseUnseen(model, revisions, options);
  const { attempts, routeRepairs, refusals } = memory.of(model);
  const lookedUp = await lookUpOccupied(model, children, options);
  const { deployment, canaryDeployment } = { ...children, ...lookedUp };
  const replicaSets = replicaSetsOf(deployment, caches);
  const canaryReplicaSets = replicaSetsOf(canaryDeployment, caches);
  const pods = podsOf(replicaSets, caches);
  const canaryPods = podsOf(canaryReplicaSets, caches);
  const ownPods = caches.pods.indexed(uid);
  const prefetchPods = ownPods.filter((pod) => trackOf(pod) === prefetchTrack);
  const preflightPods = ownPods.filter((pod) => !prefetchPods.includes(pod));
  const links = readLinks(model, [...pods, ...canaryPods, ...preflightPods], options);
  return {
    model,
    revisions,
    ...children,
    ...lookedUp,
    foreignAutoscalers: caches.HorizontalPodAutoscaler.indexed(scaledBy(key))
      .filter((autoscaler) => ours(model, autoscaler) === undefined)
      .map(foreignAutoscaler),
    replicaSets,
    canaryReplicaSets,
    pods,
    canaryPods,
    series: model.status?.rollout?.canary === undefined ? [] : options.link.seriesOf(uid),
    countedSince: options.link.countedSince(uid),
    queries: observeQueries(model, options.queries),
    routes: await observeRoutes(model, options),
    preflightPods,
    prefetchPods,
    links,
    reports: readReports(model, pods, links, options),
    loading: readLoading(model, [...pods, ...canaryPods], options),
    mountFailures: readMountFailures(model, [...pods, ...canaryPods, ...ownPods], options),
    attempts,
    routeRepairs,
    refusals,
  };
}

/**
 * What runs, and what was asked for last, is what a new spec is compared with: without their records it would be rolled out unchecked.
 *
 * @throws StaleView when the status names a record that exists and is not in the cache yet
 */
async function refuseUnseen(
  { metadata: { namespace, uid }, status = {} }: ModelDeployment,
  revisions: readonly Revision[],
  { client }: ObserveOptions,
): Promise<void> {
  const named = new Set([status.updateRevision, status.currentRevision]);
  for (const name of named) {
    if (name === undefined || revisions.some(({ metadata }) => metadata.name === name)) continue;
    const live = await liveObject(client, pathOf(revisionResource, namespace, name));
    // One that has lost its label never will be seen: it is made anew.
    const isFollowed = live?.metadata.labels?.[labels.modelDeployment] !== undefined;
    if (live !== undefined && isFollowed && controllerOf(live)?.uid === uid)
      throw new StaleView(`the record of revision ${name} is not seen yet`);
  }
}

function replicaSetsOf(
  deployment: LiveDeployment | undefined,
  caches: ObserveOptions['caches'],
): readonly LiveReplicaSet[] {
  return deployment === undefined ? [] : caches.replicaSets.indexed(deployment.metadata.uid);
}

function podsOf(replicaSets: readonly LiveReplicaSet[], caches: ObserveOptions['caches']): readonly LivePod[] {
  return replicaSets
    .flatMap(({ metadata }) => caches.pods.indexed(metadata.uid))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** Where a child is in its cache. */
function keyOfChild({ metadata }: ModelDeployment, child: ChildKind): string {
  return `${metadata.namespace}/${childName(child, metadata.name)}`;
}

/**
 * A child that we are the controller of, or that has lost its owner and is recognisably ours: left behind when a
 * ModelDeployment was deleted without its children, or restored from a backup. It is made ours again by the next apply.
 */
function ours<T extends KubeObject>(model: ModelDeployment, child: T | undefined): T | undefined {
  if (child === undefined) return undefined;
  const { uid, name } = model.metadata;
  if (controllerOf(child)?.uid === uid) return child;
  const { ownerReferences = [], labels: own = {} } = child.metadata;
  const isNamesake =
    childKinds.some((kind) => childName(kind, name) === child.metadata.name) && ownerReferences.length === 0;
  const isLabelled = Object.entries(identityLabels(model)).every(([label, value]) => own[label] === value);
  return isNamesake && isLabelled ? child : undefined;
}

function foreignAutoscaler(autoscaler: LiveAutoscaler): ForeignAutoscaler {
  return { name: autoscaler.metadata.name, owner: ownerInWords(autoscaler) };
}

function ownerInWords(object: KubeObject): string {
  const controller = controllerOf(object);
  if (controller !== undefined) return `${controller.kind} ${controller.name}`;
  return object.metadata.labels?.[labels.managedBy] ?? 'nobody that it names';
}

type Children = Pick<Observed, (typeof childFields)[ChildKind]>;

type LookedUp = Partial<Children> & Pick<Observed, 'conflicts' | 'linkConflict' | 'canaryConflict'>;

/** Asks the API server for children that are in no cache, and could not be made. The caches hold what has our label. */
async function lookUpOccupied(model: ModelDeployment, children: Children, options: ObserveOptions): Promise<LookedUp> {
  const { occupied } = options.memory.of(model);
  if (occupied.size === 0) return { conflicts: [], linkConflict: undefined, canaryConflict: undefined };
  for (const kind of childKinds) if (children[childFields[kind]] !== undefined) occupied.delete(kind);
  const found = await Promise.all(Array.from(occupied, (kind) => lookUp(model, kind, options)));
  const own = found.flatMap((result) =>
    result.kind === 'own' ? [[childFields[result.child], result.live] as const] : [],
  );
  const all = found.flatMap((result) => (result.kind === 'conflict' ? [result.conflict] : []));
  const linkConflict = all.find(({ kind }) => kind === 'ConfigMap');
  const canaryConflict = all.find(({ kind }) => isOfCanary(kind));
  const conflicts = all.filter(({ kind }) => kind !== 'ConfigMap' && !isOfCanary(kind));
  return { ...(Object.fromEntries(own) as Partial<Children>), conflicts, linkConflict, canaryConflict };
}

type LookUp =
  | { readonly kind: 'free' }
  | { readonly kind: 'own'; readonly child: ChildKind; readonly live: LiveChild<unknown> }
  | { readonly kind: 'conflict'; readonly conflict: NameConflict };

async function lookUp(
  model: ModelDeployment,
  child: ChildKind,
  { client, caches, memory }: ObserveOptions,
): Promise<LookUp> {
  const { namespace } = model.metadata;
  const name = childName(child, model.metadata.name);
  const live = await liveObject(client, pathOf(childResources[child], namespace, name));
  if (live === undefined) {
    memory.of(model).occupied.delete(child);
    return { kind: 'free' };
  }
  if (ours(model, live) !== undefined) {
    if (caches[child].hasSeen(live.metadata.resourceVersion)) return { kind: 'own', child, live: asLiveChild(live) };
    throw new StaleView(`${childInWords(child)} ${name} is not in the cache yet`);
  }
  if (!isWanted(model, child)) return { kind: 'free' };
  return { kind: 'conflict', conflict: { kind: child, name, owner: ownerInWords(live) } };
}

/** What the model does not want, it does not need the name of. */
function isWanted(model: ModelDeployment, child: ChildKind): boolean {
  switch (child) {
    case 'ConfigMap':
    case 'Deployment':
    case 'Service':
      return true;
    case 'HorizontalPodAutoscaler':
      return model.spec.autoscaling !== undefined;
    case 'CanaryService':
      return ownRoutes(model.spec).length > 0;
    case 'CanaryDeployment':
      return model.status?.rollout?.canary !== undefined;
    case 'CanaryAutoscaler':
      return model.status?.rollout?.canary !== undefined && model.spec.autoscaling !== undefined;
    case 'PodDisruptionBudget':
      return renderDisruptionBudget(model) !== undefined;
  }
}

function readLinks(model: ModelDeployment, pods: readonly LivePod[], { link }: ObserveOptions) {
  const { namespace } = model.metadata;
  return new Map(
    pods
      .filter((pod) => isReady(pod) || hasTold(pod))
      .map(({ metadata: { name, uid }, ip = '' }) => {
        return [name, link.follow({ namespace, name, uid, ip, key: keyOf(model), model: model.metadata.uid })] as const;
      }),
  );
}

/** A pod that is not linked is asked for its model alone. */
function readReports(
  model: ModelDeployment,
  pods: readonly LivePod[],
  links: ReadonlyMap<string, LinkState>,
  { inquiries }: ObserveOptions,
) {
  return new Map(
    pods.flatMap((pod) => {
      const state = links.get(pod.metadata.name);
      // Pods of a pinned model have refused every other digest themselves.
      const isAsked = state?.kind === 'unlinked' && model.spec.model.sha256 === undefined;
      const linked = state?.kind === 'linked' ? state.figures.model : undefined;
      const report = isAsked ? inquiries.reports.get(questionOf(model, pod)) : linked;
      return report === undefined ? [] : [[pod.metadata.name, report] as const];
    }),
  );
}

/** A restarted container may have loaded other bytes. */
function questionOf(model: ModelDeployment, { metadata, ip = '', containers }: LivePod): PodQuestion {
  const restarts = containers.find(({ name }) => name === modelContainer)?.restartCount ?? 0;
  const { namespace } = model.metadata;
  return { id: metadata.uid, version: String(restarts), key: keyOf(model), namespace, pod: metadata.name, ip };
}

/** A pod that was asked before a rollout ends once it has told. */
function hasTold(pod: LivePod): boolean {
  return pod.phase === 'Succeeded' && trackOf(pod) === preflightTrack;
}

function trackOf({ metadata }: LivePod): string | undefined {
  return metadata.labels?.[labels.track];
}

/** What loads more quickly is not told of. */
const loadingPatienceMilliseconds = 5000;
/** Pods of one model load the same, as a rule. */
const mostLoadingPods = 3;

function readLoading(model: ModelDeployment, pods: readonly LivePod[], { inquiries, now }: ObserveOptions) {
  const startedBefore = now() - loadingPatienceMilliseconds;
  const loading = pods.filter((pod) => isLoading(pod, startedBefore));
  return new Map(
    newestFirst(loading)
      .slice(0, mostLoadingPods)
      .flatMap((pod) => {
        const progress = inquiries.loading.get(questionOf(model, pod))?.progress;
        return progress === undefined ? [] : [[pod.metadata.name, progress] as const];
      }),
  );
}

function isLoading(pod: LivePod, startedBefore: number): boolean {
  const state = pod.containers.find(({ name }) => name === modelContainer)?.state;
  const isStarted = Date.parse(state?.running?.startedAt ?? '') < startedBefore;
  return isStarted && pod.ip !== undefined && !isReady(pod) && pod.metadata.deletionTimestamp === undefined;
}

/** A volume that is not mounted after so long probably never will be. */
const mountPatienceMilliseconds = 5000;
/** Pods of one model are stuck for the same reason, as a rule. */
const mostStuckPods = 3;

/** Only an Event says that a ConfigMap or a Secret is missing: the pod itself just goes on being created. */
function readMountFailures(
  model: ModelDeployment,
  pods: readonly LivePod[],
  { inquiries, now }: ObserveOptions,
): ReadonlyMap<string, string> {
  const stuck = pods.filter(
    (pod) =>
      isBeingCreated(pod) && now() - Date.parse(pod.metadata.creationTimestamp ?? '') > mountPatienceMilliseconds,
  );
  return new Map(
    newestFirst(stuck)
      .slice(0, mostStuckPods)
      .flatMap((pod) => {
        const message = inquiries.mountFailures.get(questionOf(model, pod))?.message;
        return message === undefined ? [] : [[pod.metadata.name, message] as const];
      }),
  );
}

/** The newest pods are the ones of the revision that is rolled out. */
function newestFirst(pods: readonly LivePod[]): readonly LivePod[] {
  return pods.toSorted((a, b) =>
    (a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? 1 : -1,
  );
}

function isBeingCreated({ conditions, containers }: LivePod): boolean {
  const scheduled = conditions.some(({ type, status }) => type === 'PodScheduled' && status === 'True');
  const container = containers.find(({ name }) => name === modelContainer);
  return scheduled && container?.state?.waiting?.reason === 'ContainerCreating';
}
