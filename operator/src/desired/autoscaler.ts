import type { IMetricSpec } from 'kubernetes-models/autoscaling/v2';
import { type Autoscaling, type ModelDeployment, minReplicasDefault } from '../api/model-deployment.ts';
import { modelContainer } from '../api/names.ts';
import type { AutoscalerManifest } from './children.ts';
import { childMetadata } from './metadata.ts';

/** The autoscaler of the serving Deployment; undefined when the number of pods is fixed. */
export function renderAutoscaler(model: ModelDeployment): AutoscalerManifest | undefined {
  const { autoscaling } = model.spec;
  if (autoscaling === undefined) return undefined;
  const { behavior } = autoscaling;
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: childMetadata(model),
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: model.metadata.name },
      minReplicas: autoscaling.minReplicas ?? minReplicasDefault,
      maxReplicas: autoscaling.maxReplicas,
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
