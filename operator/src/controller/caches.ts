import type { IReplicaSet } from 'kubernetes-models/apps/v1';
import type { IPodStatus } from 'kubernetes-models/v1';
import { type ModelDeployment, parseModelDeployment } from '../api/model-deployment.ts';
import { annotations, fieldManagers, group, ownedSelector } from '../api/names.ts';
import { childResources } from '../desired/children.ts';
import type { KubeClient } from '../kube/client.ts';
import { appliedFields, fieldsAt, isApplyOf, leafPaths, without } from '../kube/field-sets.ts';
import { apiVersionOf, controllerOf, type KubeObject, pathOf, type Resource } from '../kube/objects.ts';
import { reflect } from '../kube/reflector.ts';
import { SharedFieldSets } from '../kube/shared-field-sets.ts';
import { Store } from '../kube/store.ts';
import type {
  Intruder,
  LiveAutoscaler,
  LiveChild,
  LiveDeployment,
  LiveDisruptionBudget,
  LivePod,
  LiveReplicaSet,
  LiveService,
} from '../observed.ts';
import { templateFingerprint } from '../rollout/drift-leftovers.ts';
import { type Revision, revisionResource, templateRevision } from '../rollout/revision.ts';

export const modelDeploymentResource: Resource = {
  group,
  version: 'v1alpha1',
  kind: 'ModelDeployment',
  plural: 'modeldeployments',
};
export const podResource: Resource = { group: '', version: 'v1', kind: 'Pod', plural: 'pods' };
export const replicaSetResource: Resource = { group: 'apps', version: 'v1', kind: 'ReplicaSet', plural: 'replicasets' };

const ownerUid = (object: KubeObject) => controllerOf(object)?.uid;

/** What the operator has seen of the cluster. Children are indexed by the uid of their controller. */
export class Caches {
  readonly models = new Store<ModelDeployment>();
  readonly revisions = new Store<Revision>(ownerUid);
  readonly Deployment = new Store<LiveDeployment>(ownerUid);
  readonly Service = new Store<LiveService>(ownerUid);
  readonly HorizontalPodAutoscaler = new Store<LiveAutoscaler>(ownerUid);
  readonly PodDisruptionBudget = new Store<LiveDisruptionBudget>(ownerUid);
  readonly replicaSets = new Store<LiveReplicaSet>(ownerUid);
  readonly pods = new Store<LivePod>(ownerUid);

  get synced(): boolean {
    return this.#stores().every(({ synced }) => synced);
  }

  #stores(): readonly { readonly synced: boolean }[] {
    const { models, revisions, Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget, replicaSets, pods } =
      this;
    return [models, revisions, Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget, replicaSets, pods];
  }
}

export interface FillOptions {
  readonly client: KubeClient;
  /** '' for all namespaces. */
  readonly namespace: string;
  readonly onError: (resource: Resource, error: unknown) => void;
}

/** Keeps the caches equal to the cluster, until it is told to stop. */
export async function fillCaches(
  caches: Caches,
  { client, namespace, onError }: FillOptions,
  signal: AbortSignal,
): Promise<void> {
  const follow = <T extends KubeObject>(
    resource: Resource,
    store: Store<T>,
    prepare: (object: KubeObject) => T,
    labelSelector?: string,
  ) => {
    const prepareSafely = (object: KubeObject) => {
      try {
        // Items of a list come without their kind.
        return prepare({ ...object, apiVersion: apiVersionOf(resource), kind: resource.kind });
      } catch (error) {
        onError(resource, error);
        return undefined;
      }
    };
    const told = (error: unknown) => onError(resource, error);
    const selector = labelSelector === undefined ? {} : { labelSelector };
    const path = pathOf(resource, namespace);
    return reflect(
      { client, path, store, prepare: prepareSafely, onError: told, random: Math.random, ...selector },
      signal,
    );
  };
  await Promise.all([
    follow(modelDeploymentResource, caches.models, parseModelDeployment),
    follow(revisionResource, caches.revisions, keptRevision, ownedSelector),
    follow(childResources.Deployment, caches.Deployment, liveChild<LiveDeployment>, ownedSelector),
    follow(childResources.Service, caches.Service, liveChild<LiveService>, ownedSelector),
    follow(
      childResources.HorizontalPodAutoscaler,
      caches.HorizontalPodAutoscaler,
      liveChild<LiveAutoscaler>,
      ownedSelector,
    ),
    follow(
      childResources.PodDisruptionBudget,
      caches.PodDisruptionBudget,
      liveChild<LiveDisruptionBudget>,
      ownedSelector,
    ),
    follow(replicaSetResource, caches.replicaSets, liveReplicaSet, ownedSelector),
    follow(podResource, caches.pods, livePod, ownedSelector),
  ]);
}

/** managedFields are most of an object, so only what matters of them is kept. */
function slim<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

const sharedFields = new SharedFieldSets();

/** The API server has validated a child's spec and status, so they are what its kind says. */
function liveChild<T extends LiveChild<unknown>>(object: KubeObject): T {
  return asLiveChild(object) as T;
}

export function asLiveChild(
  object: KubeObject & { readonly spec?: unknown; readonly status?: unknown },
): LiveChild<unknown> {
  const { spec, status, ...rest } = slim(object);
  const applied = appliedFields(object, fieldManagers.operator);
  return {
    ...rest,
    spec,
    status,
    // The path of an owner reference has a uid in it, and is of no use to anybody.
    applied: applied === undefined ? undefined : sharedFields.share(without(applied, ['metadata', 'ownerReferences'])),
    intruders: intrudersOf(object),
  };
}

/** The part of a child that nobody else may change, since a forced apply alone could not remove what they add. */
export const guardedParts: Readonly<Partial<Record<string, readonly string[]>>> = {
  Deployment: ['spec', 'template'],
  Service: ['spec', 'ports'],
};

/** Below a pod template, what is not the operator's. */
export const restartedAt = ['metadata', 'annotations', annotations.restartedAt];

/** Who else owns something in the guarded part of a child: somebody changed it from outside. */
export function intrudersOf(object: KubeObject): Intruder[] {
  const part = guardedParts[object.kind ?? ''];
  if (part === undefined) return [];
  return (object.metadata.managedFields ?? []).flatMap((entry) => {
    if (isApplyOf(entry, fieldManagers.operator) || (entry.subresource ?? '') !== '') return [];
    const owned = fieldsAt(entry.fieldsV1, part);
    const fields = owned === undefined ? [] : leafPaths(without(owned, restartedAt));
    return fields.length === 0 ? [] : [{ manager: entry.manager ?? 'unknown', fields }];
  });
}

function liveReplicaSet(object: KubeObject): LiveReplicaSet {
  const { spec, status } = object as KubeObject & Pick<IReplicaSet, 'spec' | 'status'>;
  const template = spec?.template ?? {};
  return {
    metadata: slim(object).metadata,
    revision: templateRevision(template),
    fingerprint: templateFingerprint(template),
    isEmpty: spec?.replicas === 0 && (status?.replicas ?? 0) === 0,
  };
}

/** Keeps what a revision holds as text, which takes a third of the memory: many are kept, and few are looked at. */
function keptRevision(object: KubeObject): Revision {
  const { metadata, revision, data } = object as Revision;
  const text = JSON.stringify(data);
  let parsed: WeakRef<Revision['data']> | undefined;
  return {
    metadata: slim({ metadata }).metadata,
    revision,
    get data() {
      const known = parsed?.deref();
      if (known !== undefined) return known;
      const value: Revision['data'] = JSON.parse(text);
      parsed = new WeakRef(value);
      return value;
    },
  };
}

function livePod(object: KubeObject & { readonly status?: IPodStatus }): LivePod {
  const { conditions = [], containerStatuses = [], podIP, phase } = object.status ?? {};
  return { metadata: slim(object).metadata, ip: podIP, phase, conditions, containers: containerStatuses };
}
