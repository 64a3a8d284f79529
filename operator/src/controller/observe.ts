import type { ModelDeployment } from '../api/model-deployment.ts';
import { modelContainer } from '../api/names.ts';
import { type ChildKind, childKinds, childResources } from '../desired/children.ts';
import { renderDisruptionBudget } from '../desired/disruption-budget.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { fieldsAt } from '../kube/field-sets.ts';
import { controllerOf, type KubeObject, keyOf, pathOf } from '../kube/objects.ts';
import type { LiveAutoscaler, LiveChild, LivePod, NameConflict, Observed } from '../observed.ts';
import type { ModelReports } from '../podlink/model-reports.ts';
import type { Caches } from './caches.ts';
import { asLiveChild } from './live-objects.ts';
import type { OccupiedNames } from './occupied-names.ts';
import type { Refusals } from './refusals.ts';
import type { Resistance } from './resistance.ts';

export interface ObserveOptions {
  readonly caches: Caches;
  readonly client: KubeClient;
  readonly reports: ModelReports;
  readonly resistance: Resistance;
  readonly refusals: Refusals;
  readonly occupied: OccupiedNames;
  readonly now: () => number;
}

/** A view that is older than what the API server just told: the caches are behind. */
export class StaleView extends Error {
  override readonly name = 'StaleView';
}

/**
 * Reads everything that a pass decides on. A settled system is read from the caches alone; the API server is asked only
 * for what no cache holds.
 *
 * @throws StaleView when a child exists already and is not in the cache yet
 */
export async function observe(model: ModelDeployment, options: ObserveOptions): Promise<Observed> {
  const { caches, resistance, refusals } = options;
  const { uid } = model.metadata;
  const key = keyOf(model);
  const own = <T extends KubeObject>(child: T | undefined) =>
    child !== undefined && controllerOf(child)?.uid === uid ? child : undefined;
  const deployment = own(caches.Deployment.get(key));
  const replicaSets = deployment === undefined ? [] : caches.replicaSets.indexed(deployment.metadata.uid);
  const pods = replicaSets
    .flatMap(({ metadata }) => caches.pods.indexed(metadata.uid))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const children = {
    deployment,
    service: own(caches.Service.get(key)),
    autoscaler: own(caches.HorizontalPodAutoscaler.get(key)),
    disruptionBudget: own(caches.PodDisruptionBudget.get(key)),
  };
  const [lookedUp, reports, mountFailures] = await Promise.all([
    lookUpMissing(model, children, options),
    readReports(model, pods, options),
    readMountFailures(pods, options),
  ]);
  return {
    model,
    revisions: caches.revisions.indexed(uid),
    ...children,
    ...lookedUp,
    replicaSets,
    pods,
    reports,
    mountFailures,
    resisting: resistance.of(key),
    refusals: refusals.of(key),
  };
}

type Children = Pick<Observed, 'deployment' | 'service' | 'autoscaler' | 'disruptionBudget'>;

type LookedUp = Partial<Children> & Pick<Observed, 'conflicts'>;

/** Asks the API server for children that are in no cache, and are there or may be. The caches hold what has our label. */
async function lookUpMissing(model: ModelDeployment, children: Children, options: ObserveOptions): Promise<LookedUp> {
  const fields = {
    Deployment: 'deployment',
    Service: 'service',
    HorizontalPodAutoscaler: 'autoscaler',
    PodDisruptionBudget: 'disruptionBudget',
  } as const;
  const { deployment, autoscaler } = children;
  const key = keyOf(model);
  // Replicas that the operator does not hold are an autoscaler's, which must be gone before it takes them.
  const mayBeAutoscaled = deployment !== undefined && fieldsAt(deployment.applied, ['spec', 'replicas']) === undefined;
  const mayHideAutoscaler = model.spec.autoscaling === undefined && autoscaler === undefined && mayBeAutoscaled;
  for (const kind of childKinds) if (children[fields[kind]] !== undefined) options.occupied.clear(key, kind);
  const missing = childKinds.filter(
    (kind) => options.occupied.has(key, kind) || (kind === 'HorizontalPodAutoscaler' && mayHideAutoscaler),
  );
  const found = await Promise.all(missing.map((kind) => lookUp(model, kind, options)));
  const own = found.flatMap((result) => (result.kind === 'own' ? [[fields[result.child], result.live] as const] : []));
  const conflicts = found.flatMap((result) => (result.kind === 'conflict' ? [result.conflict] : []));
  return { ...(Object.fromEntries(own) as Partial<Children>), conflicts };
}

type LookUp =
  | { readonly kind: 'free' }
  | { readonly kind: 'own'; readonly child: ChildKind; readonly live: LiveChild<unknown> }
  | { readonly kind: 'conflict'; readonly conflict: NameConflict };

async function lookUp(
  model: ModelDeployment,
  child: ChildKind,
  { client, caches, occupied }: ObserveOptions,
): Promise<LookUp> {
  const { metadata } = model;
  let live: KubeObject;
  try {
    live = await client.call('GET', pathOf(childResources[child], metadata.namespace, metadata.name));
  } catch (error) {
    if (!isNotFound(error)) throw error;
    occupied.clear(keyOf(model), child);
    return { kind: 'free' };
  }
  const controller = controllerOf(live);
  if (controller?.uid === metadata.uid) {
    if (caches[child].hasSeen(live.metadata.resourceVersion)) return { kind: 'own', child, live: asLiveChild(live) };
    throw new StaleView(`${child} ${metadata.name} is not in the cache yet`);
  }
  if (!isInTheWay(model, child, live)) return { kind: 'free' };
  const manager = live.metadata.labels?.['app.kubernetes.io/managed-by'] ?? 'nobody that it names';
  const owner = controller === undefined ? manager : `${controller.kind} ${controller.name}`;
  return { kind: 'conflict', conflict: { kind: child, name: metadata.name, owner } };
}

/** What the model does not want, it does not need the name of; but it wants nobody else to scale its Deployment. */
function isInTheWay(model: ModelDeployment, child: ChildKind, live: KubeObject): boolean {
  switch (child) {
    case 'Deployment':
    case 'Service':
      return true;
    case 'HorizontalPodAutoscaler': {
      const { scaleTargetRef } = (live as LiveAutoscaler).spec;
      const scalesOurs = scaleTargetRef.kind === 'Deployment' && scaleTargetRef.name === model.metadata.name;
      return model.spec.autoscaling !== undefined || scalesOurs;
    }
    case 'PodDisruptionBudget':
      return renderDisruptionBudget(model) !== undefined;
  }
}

async function readReports({ spec, metadata }: ModelDeployment, pods: readonly LivePod[], { reports }: ObserveOptions) {
  // Pods of a pinned model have refused every other digest themselves.
  const asked = spec.model.sha256 === undefined ? pods.filter(isReady) : [];
  const answers = await Promise.all(
    asked.map(async ({ metadata: { name, uid }, ip = '', containers }) => {
      const restarts = containers.find((container) => container.name === modelContainer)?.restartCount ?? 0;
      const report = await reports.get({ namespace: metadata.namespace, name, uid, ip, restarts });
      return report === undefined ? [] : [[name, report] as const];
    }),
  );
  return new Map(answers.flat());
}

function isReady({ ip, conditions }: LivePod): boolean {
  return ip !== undefined && conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}

/** A volume that is not mounted after so long probably never will be. */
const mountPatienceMilliseconds = 5000;

interface EventList {
  readonly items: readonly { readonly reason?: string; readonly message?: string; readonly lastTimestamp?: string }[];
}

/** Only an Event says that a ConfigMap or a Secret is missing: the pod itself just goes on being created. */
async function readMountFailures(
  pods: readonly LivePod[],
  { client, now }: ObserveOptions,
): Promise<ReadonlyMap<string, string>> {
  const stuck = pods.filter(
    (pod) =>
      isBeingCreated(pod) && now() - Date.parse(pod.metadata.creationTimestamp ?? '') > mountPatienceMilliseconds,
  );
  const failures = await Promise.all(
    stuck.map(async ({ metadata: { name, namespace = '', uid } }) => {
      const fieldSelector = `involvedObject.uid=${uid},type=Warning`;
      const { items }: EventList = await client.call('GET', `/api/v1/namespaces/${namespace}/events`, {
        query: { fieldSelector, limit: 50 },
      });
      const failure = items.findLast(({ reason }) => reason === 'FailedMount' || reason === 'FailedCreatePodSandBox');
      return failure?.message === undefined ? [] : [[name, failure.message] as const];
    }),
  );
  return new Map(failures.flat());
}

function isBeingCreated({ conditions, containers }: LivePod): boolean {
  const scheduled = conditions.some(({ type, status }) => type === 'PodScheduled' && status === 'True');
  const container = containers.find(({ name }) => name === modelContainer);
  return scheduled && container?.state?.waiting?.reason === 'ContainerCreating';
}
