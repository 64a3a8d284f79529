import { createHash } from 'node:crypto';
import type { HistoryEntry, ModelDeployment, ModelDeploymentSpec } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import type { PodTemplate } from '../desired/children.ts';
import { childMetadata } from '../desired/metadata.ts';
import { renderPodTemplate } from '../desired/pod-template.ts';
import type { KubeObject, Resource } from '../kube/objects.ts';

/** What the user set in the fields that reach the pod. */
export interface RevisionInputs {
  readonly model: ModelDeploymentSpec['model'];
  readonly resources?: NonNullable<ModelDeploymentSpec['resources']>;
  readonly runtime?: NonNullable<ModelDeploymentSpec['runtime']>;
  readonly pod?: NonNullable<ModelDeploymentSpec['pod']>;
}

/** The record of a revision: what its pods run, rendered once and kept. */
export interface Revision extends KubeObject {
  readonly revision: number;
  readonly data: {
    /** The way of rendering that made the template; a newer operator leaves it as it is. */
    readonly renderVersion: number;
    readonly inputs: RevisionInputs;
    readonly template: PodTemplate;
  };
}

export const revisionResource: Resource = {
  group: 'apps',
  version: 'v1',
  kind: 'ControllerRevision',
  plural: 'controllerrevisions',
};

const renderVersion = 1;

export function revisionInputs({ spec }: ModelDeployment): RevisionInputs {
  const { model, resources, runtime, pod } = spec;
  return {
    model,
    ...(resources === undefined ? {} : { resources }),
    ...(runtime === undefined ? {} : { runtime }),
    ...(pod === undefined ? {} : { pod }),
  };
}

/**
 * The name of the revision that a spec asks for: the ModelDeployment's name and a hash of the inputs. In the unlikely
 * case that another revision has the name, a number is hashed as well.
 */
export function revisionName(model: ModelDeployment, recorded: readonly Revision[]): string {
  const inputs = canonical(revisionInputs(model));
  for (let collision = 0; ; collision++) {
    const hash = createHash('sha256')
      .update(collision === 0 ? inputs : `${inputs}${collision}`)
      .digest();
    const name = `${model.metadata.name}-${shortened(hash)}`;
    const holder = recorded.find((revision) => revision.metadata.name === name);
    if (holder === undefined || canonical(holder.data.inputs) === inputs) return name;
  }
}

/** The record to be made for a revision that is asked for the first time. */
export function renderRevision(model: ModelDeployment, name: string, number: number, defaultImage: string) {
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: { ...childMetadata(model), name },
    revision: number,
    data: { renderVersion, inputs: revisionInputs(model), template: renderPodTemplate(model, name, defaultImage) },
  };
}

/** Which revision a pod template is. */
export function templateRevision(template: PodTemplate | undefined): string | undefined {
  return template?.metadata?.annotations?.[annotations.revision];
}

export function isHealthy(revision: Revision): boolean {
  return healthySince(revision) !== undefined;
}

export function healthySince(revision: Revision): string | undefined {
  return revision.metadata.annotations?.[annotations.healthySince];
}

/** What `kubectl rollout history` shows for a revision. */
export function changeCause({ data }: Revision): string {
  const { version, sha256, uri } = data.inputs.model;
  return `version ${version}, ${sha256 === undefined ? uri : `sha256:${sha256.slice(0, 12)}`}`;
}

/** The revisions to forget: the oldest ones above the limit, none of those that are in use. */
export function prunable(
  revisions: readonly Revision[],
  inUse: ReadonlySet<string>,
  limit: number,
): readonly Revision[] {
  const newestHealthy = newestFirst(revisions).find(isHealthy)?.metadata.name;
  const spare = newestFirst(revisions).filter(
    ({ metadata }) => !inUse.has(metadata.name) && metadata.name !== newestHealthy,
  );
  return spare.slice(limit);
}

export function newestFirst(revisions: readonly Revision[]): Revision[] {
  return revisions.toSorted((a, b) => b.revision - a.revision);
}

/** As many entries as the CRD allows. */
const maxHistory = 128;

export function historyOf(revisions: readonly Revision[]): HistoryEntry[] {
  return newestFirst(revisions)
    .slice(0, maxHistory)
    .map((revision) => {
      const { version, sha256 } = revision.data.inputs.model;
      const since = healthySince(revision);
      return {
        revision: revision.metadata.name,
        number: revision.revision,
        modelVersion: version,
        ...(sha256 === undefined ? {} : { sha256 }),
        ...(since === undefined ? {} : { healthySince: since }),
      };
    });
}

/** JSON with the keys of every object in order, so that equal values have equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** Ten characters without vowels, so that no hash is a word. */
function shortened(hash: Buffer): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  return Array.from(hash.subarray(0, 10), (byte) => alphabet[byte % alphabet.length]).join('');
}
