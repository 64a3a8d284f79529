import type { IMetricSpec } from 'kubernetes-models/autoscaling/v2';
import { type Autoscaling, type ModelDeployment, minReplicasDefault } from '../api/model-deployment.ts';
import { modelContainer } from '../api/names.ts';
import type { AutoscalerManifest } from './children.ts';
import { canaryName, childMetadata, type Track } from './metadata.ts';

/**
 * The autoscaler of the Deployment of a track; undefined when the number of pods is fixed.
 *
 * @param leastReplicas that a rollout needs: stable has no less than the spec says, a canary no more than its step takes
 */
export function renderAutoscaler(
  model: ModelDeployment,
  leastReplicas = 0,
  track: Track = 'stable',
): AutoscalerManifest | undefined {
  const { autoscaling } = model.spec;
  if (autoscaling === undefined) return undefined;
  const { behavior } = autoscaling;
  const name = track === 'stable' ? model.metadata.name : canaryName(model.metadata.name);
  const ofSpec = track === 'stable' ? (autoscaling.minReplicas ?? minReplicasDefault) : 1;
  const minReplicas = Math.max(leastReplicas, ofSpec);
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { ...childMetadata(model), name },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
      minReplicas,
      maxReplicas: Math.max(minReplicas, autoscaling.maxReplicas),
      metrics: autoscaling.triggers.map(renderTrigger),
      // One that says nothing is filled with defaults when it is made, and taken for none afterwards.
      ...(behavior === undefined || Object.keys(behavior).length === 0 ? {} : { behavior }),
    },
  };
}

/** Only the model container counts: a sidecar that somebody injects does not scale the model. */
function renderTrigger(trigger: Autoscaling['triggers'][number]): IMetricSpec {
  const { averageUtilization, averageValue } = trigger;
  switch (trigger.type) {
    case 'CPU':
      return {
        type: 'ContainerResource',
        containerResource: {
          container: modelContainer,
          name: 'cpu',
          target: { type: 'Utilization', ...(averageUtilization === undefined ? {} : { averageUtilization }) },
        },
      };
    case 'Memory':
      return {
        type: 'ContainerResource',
        containerResource: {
          container: modelContainer,
          name: 'memory',
          target: { type: 'AverageValue', ...(averageValue === undefined ? {} : { averageValue }) },
        },
      };
  }
}
