import type { ModelDeployment } from '../api/model-deployment.ts';
import { annotations, fieldManager, labels } from '../api/names.ts';
import { type ChildKind, childResources } from '../desired/children.ts';
import { ownerReference } from '../desired/metadata.ts';
import { apply } from '../kube/apply.ts';
import type { KubeClient } from '../kube/client.ts';
import { ApiError, isConflict, isNotFound } from '../kube/errors.ts';
import { goJson } from '../kube/go-json.ts';
import { controllerOf, type KubeObject, keyOf, pathOf } from '../kube/objects.ts';
import type { LiveChild } from '../observed.ts';
import { desiredReplicasAnnotation, maxReplicasAnnotation } from '../rollout/forgotten-scaling.ts';
import { type Revision, revisionResource } from '../rollout/revision.ts';
import { routeInWords } from '../rollout/routes.ts';
import { modelDeploymentResource, podResource, replicaSetResource } from './caches.ts';
import { desiredOfRoute } from './decide-routes.ts';
import { StaleView } from './failure.ts';
import { asLiveChild, guardedParts, withPartTaken } from './live-objects.ts';
import { routeResources } from './observe-routes.ts';
import type { PassOptions } from './pass-options.ts';
import type { RevisionManifest, Write } from './writes.ts';

export type ExecuteOptions = Pick<PassOptions, 'caches' | 'client' | 'memory' | 'now'>;

/**
 * No object has this resourceVersion, so an apply that asks for it makes an object, and conflicts with one that is there:
 * applying to that, even without force, could make somebody else's object ours.
 */
const neverStored = '1';

const query = { fieldManager } as const;

/** Makes the writes of one pass over a ModelDeployment. */
export interface Executor {
  /**
   * Makes one write.
   *
   * @throws StaleView when the view that it was decided on is old; ApiError otherwise (`failureOf` says what it means)
   */
  execute(write: Write): Promise<void>;
}

export function createExecutor(model: ModelDeployment, options: ExecuteOptions): Executor {
  const { client, caches, now } = options;
  const { name, namespace } = model.metadata;
  const key = keyOf(model);
  const memory = options.memory.of(model);
  /** What this pass has made of each child: its next write is guarded by that instead of by the view. */
  const versions = new Map<ChildKind, string>();

  const wrote = (child: ChildKind, { metadata: { resourceVersion } }: KubeObject) => {
    versions.set(child, resourceVersion);
    memory.ownWrites.wroteAt(caches[child], resourceVersion);
  };
  const versionOf = (child: ChildKind, { metadata }: LiveChild<unknown>) =>
    versions.get(child) ?? metadata.resourceVersion;

  const patchRevision = async (revision: string, body: object) => {
    const path = pathOf(revisionResource, namespace, revision);
    const answer: KubeObject = await client.call('PATCH', path, { body, contentType: mergePatch, query });
    memory.ownWrites.wroteAt(caches.revisions, answer.metadata.resourceVersion);
  };

  const remove = async (path: string, preconditions?: { readonly uid: string }) => {
    try {
      const body = { propagationPolicy: 'Background', ...(preconditions === undefined ? {} : { preconditions }) };
      await client.call('DELETE', path, { body });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  };

  const applyChild = async ({ child, manifest, live }: Extract<Write, { kind: 'apply' }>) => {
    // One that is there is written only as it was when that was decided: an undo in between is never written over.
    const before = live === undefined ? neverStored : versionOf(child, live);
    const guard = { resourceVersion: before, ...(live === undefined ? {} : { uid: live.metadata.uid }) };
    const body = { ...manifest, metadata: { ...manifest.metadata, ...guard } };
    try {
      const answer: KubeObject = await apply(client, childResources[child], body, { fieldManager, force: true });
      if (live !== undefined) memory.applied(child, manifest, before, asLiveChild(answer), now());
      wrote(child, answer);
    } catch (error) {
      if (live === undefined && isConflict(error)) memory.occupied.add(child);
      throw error;
    }
  };

  const write = async (write: Write): Promise<void> => {
    switch (write.kind) {
      case 'create-revision': {
        const made = await createRevision(write.manifest, client);
        return memory.ownWrites.wroteAt(caches.revisions, made.metadata.resourceVersion);
      }
      case 'renumber-revision':
        return patchRevision(write.name, { revision: write.number });
      case 'mark-healthy':
        return patchRevision(write.name, { metadata: { annotations: { [annotations.healthySince]: write.since } } });
      case 'adopt-revision': {
        const metadata = { resourceVersion: write.resourceVersion, ownerReferences: [ownerReference(model)] };
        return patchRevision(write.name, { metadata });
      }
      case 'delete-revision':
        return remove(pathOf(revisionResource, namespace, write.name));
      case 'write-status': {
        const path = pathOf(modelDeploymentResource, namespace, name, 'status');
        const answer: KubeObject = await client.call('PATCH', path, {
          contentType: jsonPatch,
          body: [
            // Of the view that this was decided on: a pass over an old one ends here, before it changes a child.
            { op: 'replace', path: '/metadata/resourceVersion', value: model.metadata.resourceVersion },
            // Whole, whoever else owns a part of it: a hold that has ended must not come back.
            { op: 'add', path: '/status', value: write.status },
          ],
          query: { ...query, fieldValidation: 'Strict' },
        });
        if (write.status.rollback?.time !== model.status?.rollback?.time) memory.decidedAnew();
        return memory.ownWrites.wroteAt(caches.models, answer.metadata.resourceVersion);
      }
      case 'take-over':
        return wrote(write.child, await takeOver(write.child, write.live, versionOf(write.child, write.live), client));
      case 'apply':
        return applyChild(write);
      case 'delete':
        return remove(pathOf(childResources[write.child], namespace, write.name), { uid: write.uid });
      case 'patch-route': {
        const { route, weight, resourceVersion, changes } = write;
        // Rules and backends are lists that have one owner, so no apply could own a weight.
        const patched = client.call('PATCH', pathOf(routeResources[route.kind], namespace, route.name), {
          contentType: jsonPatch,
          body: [
            { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
            ...changes.map(({ rule, backendRefs }) => ({
              op: 'replace',
              path: `/spec/rules/${rule}/backendRefs`,
              value: backendRefs,
            })),
          ],
          query,
        });
        await patched.catch((error: unknown) => {
          // A Gateway's webhook that is away must not keep the model's own objects from what they should be.
          if (isConflict(error) || !(error instanceof ApiError)) throw error;
          throw new ApiError(422, error.reason, `${routeInWords(route)}: ${error.message}`);
        });
        if (!write.isHalf) memory.routePatched(routeInWords(route), desiredOfRoute(weight), now());
        return;
      }
      case 'create-preflight':
      case 'create-prefetch': {
        const path = pathOf(podResource, namespace);
        const made: KubeObject = await client
          .call<KubeObject>('POST', path, { body: write.manifest, query })
          .catch((error) => {
            // Of somebody else, or not in the cache yet: tried again, less and less often.
            throw isConflict(error) ? new ApiError(422, error.reason, error.message) : error;
          });
        return memory.ownWrites.wroteAt(caches.pods, made.metadata.resourceVersion);
      }
      case 'delete-preflight':
      case 'delete-prefetch':
        return remove(pathOf(podResource, namespace, write.name), { uid: write.uid });
      case 'keep-signature':
        return patchRevision(write.name, { metadata: { annotations: { [annotations.signature]: write.signature } } });
      case 'keep-resolved-uri':
        return patchRevision(write.name, { metadata: { annotations: { [annotations.resolvedUri]: write.uri } } });
      case 'delete-replica-set':
        return remove(pathOf(replicaSetResource, namespace, write.name), { uid: write.uid });
      case 'forget-scaling': {
        const { resourceVersion } = write;
        const noted = { [desiredReplicasAnnotation]: null, [maxReplicasAnnotation]: null };
        const path = pathOf(replicaSetResource, namespace, write.name);
        const body = { metadata: { resourceVersion, annotations: noted } };
        const answer: KubeObject = await client.call('PATCH', path, { body, contentType: mergePatch, query });
        return memory.ownWrites.wroteAt(caches.replicaSets, answer.metadata.resourceVersion);
      }
    }
  };

  return {
    async execute(one) {
      try {
        await write(one);
      } catch (error) {
        if (isConflict(error)) throw new StaleView(`${one.kind} of ${key}: ${error.message}`, { cause: error });
        throw error;
      }
    },
  };
}

const mergePatch = 'application/merge-patch+json';
const jsonPatch = 'application/json-patch+json';

/**
 * Makes the record of a revision. One that is there already is taken over if nobody owns it any more, because its
 * ModelDeployment was deleted without it, or if it is ours and somebody took its label away.
 */
async function createRevision(manifest: RevisionManifest, client: KubeClient): Promise<KubeObject> {
  const { namespace, name } = manifest.metadata;
  try {
    // As the API server itself would write it: it takes every other text of the same for a change of immutable data.
    return await client.call('POST', pathOf(revisionResource, namespace), { body: goJson(manifest), query });
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
    return await client.call('PATCH', path, { body, contentType: mergePatch, query });
  }
}

/**
 * Moves what other managers own in the guarded part of a child into the operator's own entry. A forced apply alone
 * cannot remove what another manager has added; the apply that follows this can. `restartedAt` stays whose it is.
 *
 * @param version of the child that this was decided on: nothing that came later is taken
 */
async function takeOver(
  child: ChildKind,
  { metadata }: LiveChild<unknown>,
  version: string,
  client: KubeClient,
): Promise<KubeObject> {
  const path = pathOf(childResources[child], metadata.namespace, metadata.name);
  const live: KubeObject = await client.call('GET', path);
  if (live.metadata.uid !== metadata.uid || live.metadata.resourceVersion !== version)
    throw new StaleView(`the ${child} ${metadata.name} has changed since`);
  const value = withPartTaken(live.metadata.managedFields ?? [], guardedParts[childResources[child].kind] ?? []);
  return client.call('PATCH', path, {
    contentType: jsonPatch,
    body: [
      { op: 'replace', path: '/metadata/managedFields', value },
      { op: 'replace', path: '/metadata/resourceVersion', value: version },
    ],
    query,
  });
}
