import type { IReplicaSet } from 'kubernetes-models/apps/v1';
import type { IPodSpec, IPodStatus } from 'kubernetes-models/v1';
import { annotations, fieldManager, labels } from '../api/names.ts';
import { appliedFields, fieldsAt, isApplyOf, leafPaths, nest, unite, without } from '../kube/field-sets.ts';
import { controllerOf, type FieldSet, type KubeObject, type ManagedFieldsEntry } from '../kube/objects.ts';
import { SharedFieldSets } from '../kube/shared-field-sets.ts';
import type { Intruder, LiveAutoscaler, LiveChild, LivePod, LiveReplicaSet } from '../observed.ts';
import { templateFingerprint } from '../rollout/drift-leftovers.ts';
import { type Revision, templateRevision } from '../rollout/revision.ts';

/** managedFields are most of an object, so only what matters of them is kept. */
function slim<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

const sharedFields = new SharedFieldSets();

/** The API server has validated a child's spec and status, so they are what its kind says. */
export function liveChild<T extends LiveChild<unknown>>(object: KubeObject): T {
  return asLiveChild(object) as T;
}

export function asLiveChild(
  object: KubeObject & { readonly spec?: unknown; readonly status?: unknown },
): LiveChild<unknown> {
  const { spec, status, ...rest } = slim(object);
  const applied = appliedFields(object, fieldManager);
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
  ConfigMap: ['data'],
};

/** Below a pod template, what is not the operator's. */
export const restartedAt = ['metadata', 'annotations', annotations.restartedAt];

/** Who else owns something in the guarded part of a child: somebody changed it from outside. */
export function intrudersOf(object: KubeObject): Intruder[] {
  const part = guardedParts[object.kind ?? ''];
  if (part === undefined) return [];
  return (object.metadata.managedFields ?? []).flatMap((entry) => {
    if (isApplyOf(entry, fieldManager) || (entry.subresource ?? '') !== '') return [];
    const owned = fieldsAt(entry.fieldsV1, part);
    const fields = owned === undefined ? [] : leafPaths(without(owned, restartedAt));
    return fields.length === 0 ? [] : [{ manager: entry.manager ?? 'unknown', fields }];
  });
}

/** The entries of managedFields after the operator has become the only owner of a part. */
export function withPartTaken(entries: readonly ManagedFieldsEntry[], part: readonly string[]): ManagedFieldsEntry[] {
  const own = entries.find((entry) => isApplyOf(entry, fieldManager));
  if (own === undefined) return [...entries];
  const exception = [...part, ...restartedAt];
  let taken: FieldSet = own.fieldsV1 ?? {};
  const others = entries.flatMap((entry) => {
    if (entry === own) return [];
    const fields = entry.fieldsV1 ?? {};
    const inner = (entry.subresource ?? '') === '' ? fieldsAt(fields, part) : undefined;
    if (inner === undefined) return [entry];
    taken = unite(taken, without(nest(inner, part), exception));
    const restart = fieldsAt(fields, exception);
    const kept = unite(without(fields, part), restart === undefined ? {} : nest(restart, exception));
    return Object.keys(kept).length === 0 ? [] : [{ ...entry, fieldsV1: kept }];
  });
  return [...others, { ...own, fieldsV1: taken }];
}

/**
 * An autoscaler of the cluster: ours whole; of somebody else's, what it scales and whose it is. What scales no Deployment
 * is left out.
 */
export function liveAutoscaler(object: KubeObject): LiveAutoscaler | undefined {
  if (controllerOf(object)?.kind === 'ModelDeployment') return liveChild<LiveAutoscaler>(object);
  const { scaleTargetRef, minReplicas, maxReplicas } = (object as KubeObject & { spec: LiveAutoscaler['spec'] }).spec;
  if (scaleTargetRef.kind !== 'Deployment') return undefined;
  // It may be one of ours that has lost its owner.
  if (labels.modelDeployment in (object.metadata.labels ?? {})) return liveChild<LiveAutoscaler>(object);
  const { name, namespace = '', uid, resourceVersion, ownerReferences = [], labels: all = {} } = object.metadata;
  const by = all[labels.managedBy];
  return {
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion,
      ownerReferences,
      labels: by === undefined ? {} : { [labels.managedBy]: by },
    },
    spec: { scaleTargetRef, maxReplicas, ...(minReplicas === undefined ? {} : { minReplicas }) },
    applied: undefined,
    intruders: [],
  };
}

export function liveReplicaSet(object: KubeObject): LiveReplicaSet {
  const { spec, status } = object as KubeObject & Pick<IReplicaSet, 'spec' | 'status'>;
  const template = spec?.template ?? {};
  return {
    metadata: slim(object).metadata,
    revision: templateRevision(template),
    fingerprint: templateFingerprint(template),
    isEmpty: spec?.replicas === 0 && (status?.replicas ?? 0) === 0,
    replicas: spec?.replicas ?? 1,
  };
}

/** Keeps what a revision holds as text, which takes a third of the memory: many are kept, and few are looked at. */
export function keptRevision(object: KubeObject): Revision | undefined {
  const { metadata, revision, data } = object as KubeObject &
    Pick<Revision, 'revision'> & { data?: Partial<Revision['data']> };
  // Of somebody else, a StatefulSet say, whose template has our label.
  if (data?.inputs?.model === undefined || data.template === undefined) return undefined;
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

export function livePod(
  object: KubeObject & { readonly spec?: Pick<IPodSpec, 'nodeName' | 'volumes'>; readonly status?: IPodStatus },
): LivePod {
  const { conditions = [], containerStatuses = [], initContainerStatuses = [], podIP, phase } = object.status ?? {};
  const { nodeName: node, volumes = [] } = object.spec ?? {};
  const volumeImage = volumes.find(({ image }) => image !== undefined)?.image?.reference;
  const containers = [...containerStatuses, ...initContainerStatuses];
  return { metadata: slim(object).metadata, ip: podIP, node, volumeImage, phase, conditions, containers };
}

/** Whether a pod serves, and can be called. */
export function isReady({ ip, conditions }: LivePod): boolean {
  return ip !== undefined && conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}
