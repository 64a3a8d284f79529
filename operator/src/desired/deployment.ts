import { type ModelDeployment, rolloutPolicyOf } from '../api/model-deployment.ts';
import { annotations, labels } from '../api/names.ts';
import type { DeploymentManifest, PodTemplate } from './children.ts';
import { canaryName, childMetadata, type Track, trackSelector } from './metadata.ts';

/**
 * The serving Deployment, or that of a canary.
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
  track: Track = 'stable',
): DeploymentManifest {
  const policy = rolloutPolicyOf(model.spec);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      ...childMetadata(model),
      ...(track === 'canary' ? { name: canaryName(model.metadata.name) } : {}),
      annotations: { [annotations.changeCause]: changeCause },
    },
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: trackSelector(model.metadata.name, track) },
      strategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: policy.maxSurge, maxUnavailable: policy.maxUnavailable },
      },
      progressDeadlineSeconds: policy.progressDeadlineSeconds,
      revisionHistoryLimit: policy.revisionHistoryLimit,
      template: track === 'canary' ? canaryTemplate(template) : template,
    },
  };
}

/** What a revision runs, on the other track: no Service selects it. */
function canaryTemplate({ metadata = {}, spec }: PodTemplate): PodTemplate {
  const onTrack = { [labels.track]: 'canary' };
  const constraints = spec?.topologySpreadConstraints;
  return {
    metadata: { ...metadata, labels: { ...metadata.labels, ...onTrack } },
    ...(spec === undefined
      ? {}
      : {
          spec: {
            ...spec,
            ...(constraints === undefined
              ? {}
              : {
                  topologySpreadConstraints: constraints.map((constraint) => ({
                    ...constraint,
                    labelSelector: { matchLabels: { ...constraint.labelSelector?.matchLabels, ...onTrack } },
                  })),
                }),
          },
        }),
  };
}
