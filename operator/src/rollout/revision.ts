import { createHash } from 'node:crypto';
import { isResolved } from '../../../contract/src/resolved-uri.ts';
import type { HistoryEntry, ModelDeployment, ModelDeploymentSpec } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { canonical } from '../canonical.ts';
import type { PodTemplate } from '../desired/children.ts';
import { childMetadata } from '../desired/metadata.ts';
import { renderPodTemplate } from '../desired/pod-template.ts';
import { parseQuantity } from '../desired/quantity.ts';
import type { KubeObject, Resource } from '../kube/objects.ts';

/** What the user set in the fields that reach the pod. */
export interface RevisionInputs {
  readonly model: ModelDeploymentSpec['model'];
  readonly resources?: NonNullable<ModelDeploymentSpec['resources']>;
  readonly runtime?: NonNullable<ModelDeploymentSpec['runtime']>;
  readonly pod?: NonNullable<ModelDeploymentSpec['pod']>;
  readonly goldenSet?: NonNullable<NonNullable<ModelDeploymentSpec['validation']>['goldenSet']>;
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

/** 2: volumes for the link and TLS, the pod's identity, probes on the control port. */
export const renderVersion = 2;

export function revisionInputs({ spec }: ModelDeployment): RevisionInputs {
  const { model, resources, runtime, pod, validation } = spec;
  return {
    model,
    ...(resources === undefined ? {} : { resources }),
    ...(runtime === undefined ? {} : { runtime }),
    ...(pod === undefined ? {} : { pod }),
    ...(validation?.goldenSet === undefined ? {} : { goldenSet: validation.goldenSet }),
  };
}

/**
 * The name of the revision that a spec asks for: that of a recorded one that means the same, however it was named and
 * written; otherwise the ModelDeployment's name and a hash of what is meant. In the unlikely case that another revision
 * has the name, a number is hashed as well.
 */
export function revisionName(model: ModelDeployment, recorded: readonly Revision[]): string {
  const meaning = meaningOf(model, revisionInputs(model));
  const isMeant = ({ data }: Revision) => meaningOf(model, data.inputs) === meaning;
  const current = recorded.find(({ metadata }) => metadata.name === model.status?.updateRevision);
  const known = current !== undefined && isMeant(current) ? current : newestFirst(recorded).find(isMeant);
  if (known !== undefined) return known.metadata.name;
  for (let collision = 0; ; collision++) {
    const hash = createHash('sha256')
      .update(collision === 0 ? meaning : `${meaning}${collision}`)
      .digest();
    const name = `${model.metadata.name}-${shortened(hash)}`;
    if (!recorded.some((revision) => revision.metadata.name === name)) return name;
  }
}

/** Equal for inputs that mean the same: `cpu: 1` and `"1"`, an empty object and none, a default that is written out. */
function meaningOf({ metadata }: ModelDeployment, { model, resources, runtime, pod, ...rest }: RevisionInputs): string {
  const { name = metadata.name, maxBytes } = model;
  const { handler } = runtime ?? {};
  const meant = {
    ...rest,
    model: { ...model, name, maxBytes: maxBytes === undefined ? undefined : amountOf(maxBytes) },
    resources: amountsOfResources(resources),
    // One without any options is one, and no object is none.
    runtime: {
      ...runtime,
      cache: runtime?.cache === 'None' ? undefined : runtime?.cache,
      handler:
        handler === undefined
          ? undefined
          : {
              ...handler,
              isEnabled: true,
              // Sets, as the API server takes them.
              files: handler.files?.toSorted(),
              models: handler.models?.toSorted(),
              isolation: handler.isolation === 'Process' ? undefined : handler.isolation,
              resources: amountsOfResources(handler.resources),
            },
    },
    pod: {
      ...pod,
      env: pod?.env?.map(({ value, ...variable }) => ({ ...variable, value: value === '' ? undefined : value })),
      tolerations: pod?.tolerations?.map(({ operator = 'Equal', value, ...toleration }) => ({
        ...toleration,
        operator,
        value: value === '' ? undefined : value,
      })),
    },
  };
  return canonical(withoutEmpty(meant) ?? {});
}

type Resources = NonNullable<RevisionInputs['resources']>;

function amountsOfResources(resources: Resources = {}) {
  return { requests: amountsOf(resources.requests), limits: amountsOf(resources.limits) };
}

function amountsOf(amounts: Readonly<Record<string, string | number>> = {}): Record<string, string | number> {
  return Object.fromEntries(Object.entries(amounts).map(([resource, amount]) => [resource, amountOf(amount)]));
}

function amountOf(amount: string | number): string | number {
  return parseQuantity(amount) ?? amount;
}

/** A value without what says nothing: empty objects and lists, and optional fields that are false. */
function withoutEmpty(value: unknown): unknown {
  if (value === undefined || value === false || value === null) return undefined;
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map((item: unknown) => withoutEmpty(item));
  if (typeof value !== 'object') return value;
  const fields = Object.entries(value).flatMap(([name, field]) => {
    const kept = withoutEmpty(field);
    return kept === undefined ? [] : [[name, kept] as const];
  });
  return fields.length === 0 ? undefined : Object.fromEntries(fields);
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

/**
 * The revisions that were healthy once, of those that are checked against a golden set: it cannot make them unready any
 * more, whatever became of the set.
 */
export function healthyDespiteGoldenSet(revisions: readonly Revision[]): readonly string[] {
  const checked = revisions.filter((revision) => revision.data.inputs.goldenSet !== undefined && isHealthy(revision));
  return checked.map(({ metadata }) => metadata.name).sort();
}

/** What the URI of a revision has led to first, where it may move; undefined while nothing is known of it. */
export function resolvedUri({ metadata, data }: Revision): string | undefined {
  const kept = metadata.annotations?.[annotations.resolvedUri];
  // Somebody may have changed the record.
  return kept !== undefined && isResolved(data.inputs.model.uri, kept) ? kept : undefined;
}

/** The same of all, by their names. */
export function resolvedUris(revisions: readonly Revision[]): Readonly<Record<string, string>> {
  const known = revisions.flatMap((revision) => {
    const uri = resolvedUri(revision);
    return uri === undefined ? [] : [[revision.metadata.name, uri] as const];
  });
  return Object.fromEntries(known.toSorted(([a], [b]) => (a < b ? -1 : 1)));
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

/** The revision to go back to from another. */
export function newestHealthyBut(other: Revision, revisions: readonly Revision[]): Revision | undefined {
  return newestFirst(revisions).find((candidate) => candidate !== other && isHealthy(candidate));
}

/** A revision in words: the user's own label for the version, and the name of the record. */
export function inWords({ metadata, data }: Revision): string {
  return `version ${data.inputs.model.version} (revision ${metadata.name})`;
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

/** Ten characters without vowels, so that no hash is a word. */
function shortened(hash: Buffer): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  return Array.from(hash.subarray(0, 10), (byte) => alphabet[byte % alphabet.length]).join('');
}
