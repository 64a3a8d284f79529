import { type ModelDeployment, rolloutPolicyOf } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import type { DeploymentManifest, PodTemplate } from './children.ts';
import { childMetadata, stableSelector } from './metadata.ts';

/**
 * The serving Deployment.
 *
 * @param template of the revision that is to run, from its record
 * @param changeCause what `kubectl rollout history` shows for it
 * @param replicas undefined leaves them to whoever has them, the autoscaler
 */
export function renderDeployment(
  model: ModelDeployment,
  template: PodTemplate,
  changeCause: string,
  replicas: number | undefined,
): DeploymentManifest {
  const policy = rolloutPolicyOf(model.spec);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { ...childMetadata(model), annotations: { [annotations.changeCause]: changeCause } },
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: stableSelector(model.metadata.name) },
      strategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: policy.maxSurge, maxUnavailable: policy.maxUnavailable },
      },
      progressDeadlineSeconds: policy.progressDeadlineSeconds,
      revisionHistoryLimit: policy.revisionHistoryLimit,
      template,
    },
  };
}
