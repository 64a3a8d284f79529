import { type ModelDeployment, parseModelDeployment } from '../api/model-deployment.ts';
import { group, labels, managedBy, ownedSelector } from '../api/names.ts';
import { childKinds, childResources } from '../desired/children.ts';
import type { KubeClient } from '../kube/client.ts';
import { apiVersionOf, controllerOf, type KubeObject, pathOf, type Resource } from '../kube/objects.ts';
import { reflect } from '../kube/reflector.ts';
import { Store } from '../kube/store.ts';
import type {
  LiveAutoscaler,
  LiveDeployment,
  LiveDisruptionBudget,
  LiveLink,
  LivePod,
  LiveReplicaSet,
  LiveService,
} from '../observed.ts';
import { type Revision, revisionResource } from '../rollout/revision.ts';
import { keptRevision, liveAutoscaler, liveChild, livePod, liveReplicaSet } from './live-objects.ts';

export const modelDeploymentResource: Resource = {
  group,
  version: 'v1alpha1',
  kind: 'ModelDeployment',
  plural: 'modeldeployments',
};
export const podResource: Resource = { group: '', version: 'v1', kind: 'Pod', plural: 'pods' };
export const replicaSetResource: Resource = { group: 'apps', version: 'v1', kind: 'ReplicaSet', plural: 'replicasets' };

const ownerUid = (object: KubeObject) => controllerOf(object)?.uid;

/** Where records of revisions are indexed that have no owner, by the key of the ModelDeployment that their label names. */
export const orphansOf = (key: string) => `orphans of ${key}`;

const ownerOrOrphan = (revision: KubeObject) => {
  const { namespace, labels: own = {} } = revision.metadata;
  const owner = ownerUid(revision);
  if (owner !== undefined || own[labels.managedBy] !== managedBy) return owner;
  return orphansOf(`${namespace}/${own[labels.modelDeployment]}`);
};

/** Where autoscalers are indexed by the Deployment that they scale. */
export const scaledBy = (key: string) => `of ${key}`;

export const scaledKey = ({ metadata, spec }: LiveAutoscaler) => `${metadata.namespace}/${spec.scaleTargetRef.name}`;

/** What the operator has seen of the cluster. Children are indexed by the uid of their controller. */
export class Caches {
  readonly models = new Store<ModelDeployment>();
  readonly revisions = new Store<Revision>(ownerOrOrphan);
  readonly ConfigMap = new Store<LiveLink>(ownerUid);
  readonly Deployment = new Store<LiveDeployment>(ownerUid);
  /** Both tracks are in one store. */
  readonly CanaryDeployment = this.Deployment;
  readonly Service = new Store<LiveService>(ownerUid);
  readonly CanaryService = this.Service;
  /** Those of the whole cluster that scale a Deployment: it may be one of ours. */
  readonly HorizontalPodAutoscaler = new Store<LiveAutoscaler>((autoscaler) => scaledBy(scaledKey(autoscaler)));
  readonly CanaryAutoscaler = this.HorizontalPodAutoscaler;
  readonly PodDisruptionBudget = new Store<LiveDisruptionBudget>(ownerUid);
  readonly replicaSets = new Store<LiveReplicaSet>(ownerUid);
  readonly pods = new Store<LivePod>(ownerUid);

  get synced(): boolean {
    return this.#stores().every(({ synced }) => synced);
  }

  #stores(): readonly { readonly synced: boolean }[] {
    const { models, revisions, replicaSets, pods } = this;
    return [models, revisions, ...childKinds.map((kind) => this[kind]), replicaSets, pods];
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
    prepare: (object: KubeObject) => T | undefined,
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
    follow(childResources.ConfigMap, caches.ConfigMap, liveChild<LiveLink>, ownedSelector),
    follow(childResources.Service, caches.Service, liveChild<LiveService>, ownedSelector),
    follow(childResources.HorizontalPodAutoscaler, caches.HorizontalPodAutoscaler, liveAutoscaler),
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
