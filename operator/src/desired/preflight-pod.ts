import type { IPod } from 'kubernetes-models/v1';
import { environment } from '../../../contract/src/settings.ts';
import { type ModelDeployment, rolloutPolicyOf } from '../api/model-deployment.ts';
import { labels, modelContainer } from '../api/names.ts';
import type { Child, PodTemplate } from './children.ts';
import { ownerReference } from './metadata.ts';

export type PreflightManifest = Child<IPod>;

/** The track of a preflight pod: no Service and no Deployment selects it. */
export const preflightTrack = 'preflight';

/**
 * A pod of a revision beside those that serve: it loads the model, tells of it, and ends.
 *
 * @param revision the name of the revision
 */
export function renderPreflightPod(
  model: ModelDeployment,
  revision: string,
  { metadata = {}, spec }: PodTemplate,
): PreflightManifest {
  const { name, namespace } = model.metadata;
  const containers = (spec?.containers ?? []).map((container) =>
    container.name === modelContainer
      ? { ...container, env: [...(container.env ?? []), { name: environment.preflight, value: '1' }] }
      : container,
  );
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: preflightName(revision),
      namespace,
      labels: {
        ...metadata.labels,
        [labels.modelDeployment]: name,
        [labels.track]: preflightTrack,
        // The Service may select the pods of both tracks, by the name that they have in common.
        [labels.name]: 'slipway-preflight',
      },
      ...(metadata.annotations === undefined ? {} : { annotations: metadata.annotations }),
      ownerReferences: [ownerReference(model)],
    },
    spec: {
      ...spec,
      containers,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 5,
      activeDeadlineSeconds: rolloutPolicyOf(model.spec).progressDeadlineSeconds,
    },
  };
}

export function preflightName(revision: string): string {
  return `${revision}-preflight`;
}
