import { createHash } from 'node:crypto';
import type { IContainer, IPod } from 'kubernetes-models/v1';
import { environment } from '../../../contract/src/settings.ts';
import type { ModelDeployment } from '../api/model-deployment.ts';
import { rolloutPolicyOf } from '../api/model-deployment.ts';
import { labels, modelContainer } from '../api/names.ts';
import type { Child, PodTemplate } from './children.ts';
import { ownerReference } from './metadata.ts';

export type PrefetchManifest = Child<IPod>;

/** The track of pods that fetch a model to a node: no Service and no Deployment selects it. */
export const prefetchTrack = 'prefetch';

/** What it takes to pass a model on from its store to the cache of a node, however large that is. */
const fetchResources = { requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '256Mi' } } as const;

/** A quota may want a limit of processor time of every pod: it has that of the pods that serve, where they have one. */
function resourcesOf({ resources }: Pick<IContainer, 'resources'>) {
  const cpu = resources?.limits?.['cpu'];
  return cpu === undefined ? fetchResources : { ...fetchResources, limits: { ...fetchResources.limits, cpu } };
}

/**
 * A pod that fetches the model of a revision to the cache of a node, and ends. It is given its node: where there is no room, or it may not be,
 * the kubelet ends it at once.
 *
 * @param revision the name of the revision
 */
export function renderPrefetchPod(
  model: ModelDeployment,
  revision: string,
  node: string,
  { metadata = {}, spec }: PodTemplate,
): PrefetchManifest {
  const { name, namespace } = model.metadata;
  const { containers = [], initContainers: _, topologySpreadConstraints: __, ...rest } = spec ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: prefetchName(revision, node),
      namespace,
      labels: {
        ...metadata.labels,
        [labels.modelDeployment]: name,
        [labels.track]: prefetchTrack,
        // The Service may select the pods of both tracks, by the name that they have in common.
        [labels.name]: 'slipway-prefetch',
      },
      ...(metadata.annotations === undefined ? {} : { annotations: metadata.annotations }),
      ownerReferences: [ownerReference(model)],
    },
    spec: {
      ...rest,
      nodeName: node,
      containers: containers.flatMap((container) => {
        if (container.name !== modelContainer) return [];
        const { ports: _, readinessProbe: __, livenessProbe: ___, env = [], ...kept } = container;
        return [
          { ...kept, env: [...env, { name: environment.prefetch, value: '1' }], resources: resourcesOf(container) },
        ];
      }),
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 5,
      activeDeadlineSeconds: rolloutPolicyOf(model.spec).progressDeadlineSeconds,
    },
  };
}

export function prefetchName(revision: string, node: string): string {
  return `${revision}-prefetch-${createHash('sha256').update(node).digest('hex').slice(0, 10)}`;
}
