import type { ModelDeployment } from '../api/model-deployment.ts';
import { annotations, fieldManagers, labels } from '../api/names.ts';
import { type ChildKind, childResources } from '../desired/children.ts';
import { apply, type Manifest } from '../kube/apply.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Consistency } from '../kube/consistency.ts';
import { ApiError, isConflict, isNotFound } from '../kube/errors.ts';
import { fieldsAt, isApplyOf, nest, unite, without } from '../kube/field-sets.ts';
import {
  controllerOf,
  type FieldSet,
  type KubeObject,
  keyOf,
  type ManagedFieldsEntry,
  pathOf,
} from '../kube/objects.ts';
import type { LiveChild, LiveDeployment } from '../observed.ts';
import { type Revision, revisionResource } from '../rollout/revision.ts';
import { type Caches, modelDeploymentResource, replicaSetResource } from './caches.ts';
import { asLiveChild, guardedParts, restartedAt } from './live-objects.ts';
import { StaleView } from './observe.ts';
import type { OccupiedNames } from './occupied-names.ts';
import { type Refusals, Refused } from './refusals.ts';
import type { Resistance } from './resistance.ts';
import type { RevisionManifest, Write } from './writes.ts';

export interface ExecuteOptions {
  readonly client: KubeClient;
  readonly caches: Caches;
  readonly consistency: Consistency;
  readonly resistance: Resistance;
  readonly refusals: Refusals;
  readonly occupied: OccupiedNames;
}

/**
 * No object has this resourceVersion, so an apply that asks for it makes an object, and conflicts with one that is there:
 * applying to that, even without force, could make somebody else's object ours.
 */
const neverStored = '1';

const operator = { fieldManager: fieldManagers.operator, force: true } as const;

/**
 * Makes one write for a ModelDeployment.
 *
 * @throws StaleView when the write lost against another, so that the view it was decided on is old; Refused when a child
 *   cannot be as the spec makes it; ApiError otherwise
 */
export async function execute(write: Write, model: ModelDeployment, options: ExecuteOptions): Promise<void> {
  const { client, caches, consistency, resistance, refusals, occupied } = options;
  const { name, namespace } = model.metadata;
  const key = keyOf(model);
  try {
    switch (write.kind) {
      case 'create-revision': {
        const made = await createRevision(write.manifest, client);
        return consistency.wroteAt(key, caches.revisions, made.metadata.resourceVersion);
      }
      case 'renumber-revision':
        return await patchRevision(write.name, { revision: write.number });
      case 'mark-healthy':
        return await patchRevision(write.name, {
          metadata: { annotations: { [annotations.healthySince]: write.since } },
        });
      case 'delete-revision':
        return await remove(pathOf(revisionResource, namespace, write.name));
      case 'write-status': {
        const { apiVersion, kind } = model;
        const manifest = {
          apiVersion,
          kind,
          // Of the view that this was decided on: a pass over an old one ends here, before it changes a child.
          metadata: { name, namespace, uid: model.metadata.uid, resourceVersion: model.metadata.resourceVersion },
          status: write.status,
        };
        const answer = await apply<KubeObject>(client, modelDeploymentResource, manifest, {
          ...operator,
          subresource: 'status',
        });
        return consistency.wroteAt(key, caches.models, answer.metadata.resourceVersion);
      }
      case 'take-over':
        return wrote(write.child, await takeOver(write.child, write.live, client));
      case 'hand-over-replicas':
        return wrote('Deployment', await handOverReplicas(write.deployment, write.replicas, client));
      case 'apply': {
        const { child, manifest, uid } = write;
        const guard = uid === undefined ? { resourceVersion: neverStored } : { uid };
        const body = { ...manifest, metadata: { ...manifest.metadata, ...guard } };
        const before = caches[child].get(key);
        const answer = await applyChild(child, body, client).catch((error: unknown) => {
          if (uid === undefined && isConflict(error)) occupied.note(key, child);
          throw error;
        });
        refusals.clear(key, child);
        resistance.note(key, child, manifest, before, asLiveChild(answer));
        return wrote(child, answer);
      }
      case 'delete':
        return await remove(pathOf(childResources[write.child], namespace, write.name), write.uid);
      case 'delete-replica-set':
        return await remove(pathOf(replicaSetResource, namespace, write.name), write.uid);
    }
  } catch (error) {
    if (isConflict(error))
      throw new StaleView(`${write.kind} of ${key}: ${error instanceof Error ? error.message : ''}`);
    throw error;
  }

  function wrote(child: ChildKind, answer: KubeObject): void {
    consistency.wroteAt(key, caches[child], answer.metadata.resourceVersion);
  }

  async function patchRevision(revision: string, body: object): Promise<void> {
    const path = pathOf(revisionResource, namespace, revision);
    const contentType = 'application/merge-patch+json';
    const query = { fieldManager: fieldManagers.operator };
    const answer: KubeObject = await client.call('PATCH', path, { body, contentType, query });
    consistency.wroteAt(key, caches.revisions, answer.metadata.resourceVersion);
  }

  async function remove(path: string, uid?: string): Promise<void> {
    try {
      const body = { propagationPolicy: 'Background', ...(uid === undefined ? {} : { preconditions: { uid } }) };
      await client.call('DELETE', path, { body });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

/** One owner more for the replicas, at the value that they have: when the operator lets go of them, they stay. */
function handOverReplicas(deployment: LiveDeployment, replicas: number, client: KubeClient): Promise<KubeObject> {
  const { name, namespace = '', uid, resourceVersion } = deployment.metadata;
  const manifest = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, uid, resourceVersion },
    spec: { replicas },
  };
  return apply(client, childResources.Deployment, manifest, { fieldManager: fieldManagers.handover, force: true });
}

/** @throws Refused when trying again would be answered the same */
async function applyChild(child: ChildKind, manifest: Manifest, client: KubeClient): Promise<KubeObject> {
  try {
    return await apply(client, childResources[child], manifest, operator);
  } catch (error) {
    if (error instanceof ApiError && [400, 403, 422].includes(error.status)) throw new Refused(child, error.message);
    throw error;
  }
}

/**
 * Makes the record of a revision. One that is there already is taken over if nobody owns it any more, because its
 * ModelDeployment was deleted without it, or if it is ours and somebody took its label away.
 */
async function createRevision(manifest: RevisionManifest, client: KubeClient): Promise<KubeObject> {
  const { namespace, name } = manifest.metadata;
  const query = { fieldManager: fieldManagers.operator };
  try {
    return await client.call('POST', pathOf(revisionResource, namespace), { body: manifest, query });
  } catch (error) {
    if (!isConflict(error)) throw error;
    const path = pathOf(revisionResource, namespace, name);
    const live: Revision = await client.call('GET', path);
    const { resourceVersion, labels: liveLabels } = live.metadata;
    const owner = controllerOf(live)?.uid;
    const isOurs = owner === manifest.metadata.ownerReferences[0]?.uid;
    // Ours and labelled: only the cache is behind.
    if (owner !== undefined && !(isOurs && liveLabels?.[labels.modelDeployment] === undefined)) throw error;
    const body = { metadata: { ...manifest.metadata, resourceVersion } };
    return await client.call('PATCH', path, { body, contentType: 'application/merge-patch+json', query });
  }
}

/**
 * Moves what other managers own in the guarded part of a child into the operator's own entry. A forced apply alone
 * cannot remove what another manager has added; the apply that follows this can. `restartedAt` stays whose it is.
 */
async function takeOver(child: ChildKind, { metadata }: LiveChild<unknown>, client: KubeClient): Promise<KubeObject> {
  const path = pathOf(childResources[child], metadata.namespace, metadata.name);
  const live: KubeObject = await client.call('GET', path);
  if (live.metadata.uid !== metadata.uid) throw new StaleView(`the ${child} ${metadata.name} is another one`);
  const value = withPartTaken(live.metadata.managedFields ?? [], guardedParts[child] ?? []);
  return client.call('PATCH', path, {
    contentType: 'application/json-patch+json',
    body: [
      { op: 'replace', path: '/metadata/managedFields', value },
      { op: 'replace', path: '/metadata/resourceVersion', value: live.metadata.resourceVersion },
    ],
    query: { fieldManager: fieldManagers.operator },
  });
}

/** The entries of managedFields after the operator has become the only owner of a part. */
export function withPartTaken(entries: readonly ManagedFieldsEntry[], part: readonly string[]): ManagedFieldsEntry[] {
  const own = entries.find((entry) => isApplyOf(entry, fieldManagers.operator));
  // Without an entry of its own nothing can be taken over; the apply that follows makes one.
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
