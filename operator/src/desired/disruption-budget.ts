import type { ModelDeployment } from '../api/model-deployment.ts';
import type { DisruptionBudgetManifest } from './children.ts';
import { childMetadata, stableSelector } from './metadata.ts';

/**
 * Lets a drain of nodes take one pod at a time; undefined for a single pod, which a budget would only make undrainable.
 * Decided by the spec and never by the pods that there are, so that it does not come and go with the load.
 */
export function renderDisruptionBudget(model: ModelDeployment): DisruptionBudgetManifest | undefined {
  const { replicas = 1, autoscaling } = model.spec;
  if ((autoscaling?.maxReplicas ?? replicas) <= 1) return undefined;
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: childMetadata(model),
    spec: {
      maxUnavailable: 1,
      selector: { matchLabels: stableSelector(model.metadata.name) },
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
    },
  };
}
