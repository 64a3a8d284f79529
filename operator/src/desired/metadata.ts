import type { ModelDeployment } from '../api/model-deployment.ts';
import { labels, managedBy } from '../api/names.ts';
import type { OwnerReference } from '../kube/objects.ts';

const modelPodName = 'slipway-model';

/** The labels that every child has and that never change, so that they can be selected by. */
export function identityLabels({ metadata }: ModelDeployment): Record<string, string> {
  return {
    [labels.modelDeployment]: metadata.name,
    [labels.name]: modelPodName,
    [labels.instance]: metadata.name,
    [labels.managedBy]: managedBy,
  };
}

/** What a Deployment and its Service select. */
export function stableSelector(name: string): Record<string, string> {
  return trackSelector(name, 'stable');
}

export type Track = 'stable' | 'canary';

/** What the Deployment of a track selects. */
export function trackSelector(name: string, track: Track): Record<string, string> {
  return { [labels.modelDeployment]: name, [labels.track]: track };
}

/** What a Service selects that has the pods of both tracks, and not those that are asked before a rollout. */
export function bothTracksSelector(name: string): Record<string, string> {
  return { [labels.modelDeployment]: name, [labels.name]: modelPodName };
}

/** The name of what a canary has of its own. No ModelDeployment may have such a name. */
export function canaryName(model: string): string {
  return `${model}-canary`;
}

export function ownerReference({ apiVersion, kind, metadata }: ModelDeployment): OwnerReference {
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: true };
}

export function childMetadata(model: ModelDeployment) {
  const { name, namespace } = model.metadata;
  return { name, namespace, labels: identityLabels(model), ownerReferences: [ownerReference(model)] };
}

/** The name of the ConfigMap that pods mount: what must outlast the operator is in it. */
export function linkName(model: string): string {
  return `${model}-link`;
}
