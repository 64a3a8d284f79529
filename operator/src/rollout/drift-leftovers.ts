import { annotations } from '../api/names.ts';
import { fingerprint } from '../canonical.ts';
import type { PodTemplate } from '../desired/children.ts';
import type { LiveDeployment, LiveReplicaSet } from '../observed.ts';
import { templateRevision } from './revision.ts';

/**
 * The ReplicaSets that repaired drift has left behind: empty, and with a template that claims to be the live revision
 * and is not. Without them, `kubectl rollout history` and `undo` know recorded revisions only.
 */
export function driftLeftovers(
  deployment: LiveDeployment,
  replicaSets: readonly LiveReplicaSet[],
): readonly LiveReplicaSet[] {
  const live = templateFingerprint(deployment.spec.template);
  const claimed = templateRevision(deployment.spec.template);
  return replicaSets.filter(
    ({ metadata, revision, fingerprint, isEmpty }) =>
      metadata.deletionTimestamp === undefined && isEmpty && revision === claimed && fingerprint !== live,
  );
}

/** Equal for templates that differ in nothing but what may differ between pods of one revision. */
export function templateFingerprint({ metadata = {}, spec }: PodTemplate): string {
  const { 'pod-template-hash': _, ...labels } = metadata.labels ?? {};
  const { [annotations.restartedAt]: __, ...others } = metadata.annotations ?? {};
  return fingerprint({ labels, annotations: others, spec });
}
