import { isResolved, mayMove } from '../../../contract/src/resolved-uri.ts';
import { contractOf, rolloutPolicyOf } from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import type { LiveDeployment, Observed } from '../observed.ts';
import { isOf } from '../rollout/canary-pods.ts';
import { driftLeftovers } from '../rollout/drift-leftovers.ts';
import { signatureToKeep } from '../rollout/preflight.ts';
import {
  isHealthy,
  prunable,
  type Revision,
  renderRevision,
  resolvedUri,
  templateRevision,
} from '../rollout/revision.ts';
import type { RolloutState } from '../status/rollout-state.ts';
import type { RevisionManifest, Write } from './writes.ts';

/** A revision that has no record yet, as it will have. */
export function unrecorded({ model }: Observed, name: string, number: number, defaultImage: string): Revision {
  const manifest = renderRevision(model, name, number, defaultImage);
  return { ...manifest, metadata: { ...manifest.metadata, uid: '', resourceVersion: '' } };
}

/** The record of a revision. */
export function createRevision(revision: Revision): Write {
  return { kind: 'create-revision', manifest: manifestOf(revision) };
}

function manifestOf({ metadata, revision, data }: Revision): RevisionManifest {
  const { uid: _, resourceVersion: __, namespace = '', ownerReferences = [], ...rest } = metadata;
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: { ...rest, namespace, ownerReferences },
    revision,
    data,
  };
}

/** An old revision that is wanted again becomes the newest. */
export function renumberWrites({ metadata, revision }: Revision, newest: number): Write[] {
  return revision === newest ? [] : [{ kind: 'renumber-revision', name: metadata.name, number: newest + 1 }];
}

/** Records that were left behind by a ModelDeployment of this name, or restored without their owner. */
export function adoptWrites({ revisions }: Observed): Write[] {
  return revisions
    .filter(({ metadata }) => metadata.ownerReferences === undefined || metadata.ownerReferences.length === 0)
    .map((revision) => ({
      kind: 'adopt-revision',
      name: revision.metadata.name,
      resourceVersion: revision.metadata.resourceVersion,
    }));
}

/** Only where contracts are checked: it costs a write for each revision. */
export function signatureWrites(observed: Observed, current: Revision): Write[] {
  if (contractOf(observed.model.spec) !== 'Backward') return [];
  const signature = signatureToKeep(observed, current);
  return signature === undefined ? [] : [{ kind: 'keep-signature', name: current.metadata.name, signature }];
}

/** What the first pod of a revision was led to by a URI that may move: its other pods, and an undo, have the same then. */
export function resolvedWrites(observed: Observed): Write[] {
  const { revisions, pods, canaryPods, preflightPods, links, deployment, canaryDeployment } = observed;
  // Pods of a template that somebody has changed may be of another model.
  if ([deployment, canaryDeployment].some((one) => one !== undefined && one.intruders.length > 0)) return [];
  return revisions.flatMap((revision): Write[] => {
    const { uri } = revision.data.inputs.model;
    if (!mayMove(uri) || resolvedUri(revision) !== undefined) return [];
    const told = [...preflightPods, ...pods, ...canaryPods]
      .filter((pod) => isOf(pod, revision))
      .map(({ metadata }) => links.get(metadata.name))
      .map((state) => (state?.kind === 'linked' ? state.figures.model?.resolvedUri : undefined))
      // A pod may run any image: what it tells leads to no other place.
      .filter((found) => found !== undefined && isResolved(uri, found));
    const [first, ...others] = new Set(told);
    // Where they contradict each other, none is believed.
    if (first === undefined || others.length > 0) return [];
    return [{ kind: 'keep-resolved-uri', name: revision.metadata.name, uri: first }];
  });
}

/** The mark of a revision that was complete, with pods. */
export function healthWrites({ deployment }: Observed, wanted: Revision, state: RolloutState, now: Date): Write[] {
  if (deployment === undefined || deployment.intruders.length > 0) return [];
  if (state.kind !== 'complete' || state.wanted === 0 || isHealthy(wanted)) return [];
  return [{ kind: 'mark-healthy', name: wanted.metadata.name, since: timestamp(now) }];
}

/**
 * Only once the Deployment's controller has dealt with its template: until then a ReplicaSet may be about to be made.
 * An empty ReplicaSet of a revision that never was healthy keeps no record: nothing could be brought back by it. So the
 * number of records is bounded, however often a spec that fails is followed by another.
 */
export function pruneWrites(observed: Observed, wanted: Revision, named: readonly string[]): Write[] {
  const { model, revisions, deployment, replicaSets } = observed;
  if (deployment === undefined || !isDealtWith(deployment, wanted)) return [];
  const leftovers = driftLeftovers(deployment, replicaSets);
  const healthy = new Set(revisions.filter(isHealthy).map(({ metadata }) => metadata.name));
  const useful = replicaSets.filter(({ isEmpty, revision = '' }) => !isEmpty || healthy.has(revision));
  const inUse = new Set([wanted.metadata.name, ...named, ...useful.map(({ revision }) => revision ?? '')]);
  const old = prunable(revisions, inUse, rolloutPolicyOf(model.spec).revisionHistoryLimit);
  const oldNames = new Set(old.map(({ metadata }) => metadata.name));
  const empty = replicaSets.filter(
    (replicaSet) =>
      replicaSet.metadata.deletionTimestamp === undefined &&
      oldNames.has(replicaSet.revision ?? '') &&
      !leftovers.includes(replicaSet),
  );
  return [
    ...[...leftovers, ...empty].map(
      ({ metadata }): Write => ({ kind: 'delete-replica-set', name: metadata.name, uid: metadata.uid }),
    ),
    ...old.map(({ metadata }): Write => ({ kind: 'delete-revision', name: metadata.name })),
  ];
}

function isDealtWith({ metadata, spec, status, intruders }: LiveDeployment, wanted: Revision): boolean {
  const seen = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  return seen && intruders.length === 0 && templateRevision(spec.template) === wanted.metadata.name;
}
