import { healthyRevisionsFile, publicKeysFile, resolvedUrisFile } from '../../../contract/src/link.ts';
import type { ModelDeployment } from '../api/model-deployment.ts';
import type { LinkManifest } from './children.ts';
import { childMetadata, linkName } from './metadata.ts';

/**
 * The ConfigMap by which pods know the operator.
 *
 * @param healthyRevisions the names of those whose pods start whatever became of their golden sets
 * @param resolvedUris what URIs that may move have led to, by the names of their revisions
 * @param publicKeys a `PublicKeys` as JSON; undefined while the operator has no key, and then there is no ConfigMap
 */
export function renderLink(
  model: ModelDeployment,
  healthyRevisions: readonly string[],
  resolvedUris: Readonly<Record<string, string>>,
  publicKeys: string | undefined,
): LinkManifest | undefined {
  if (publicKeys === undefined) return undefined;
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { ...childMetadata(model), name: linkName(model.metadata.name) },
    data: {
      [publicKeysFile]: publicKeys,
      ...(healthyRevisions.length === 0 ? {} : { [healthyRevisionsFile]: JSON.stringify(healthyRevisions) }),
      ...(Object.keys(resolvedUris).length === 0 ? {} : { [resolvedUrisFile]: JSON.stringify(resolvedUris) }),
    },
  };
}
