import { annotations } from '../api/names.ts';
import { findDifference } from '../desired/difference.ts';
import type { LiveReplicaSet, Observed } from '../observed.ts';
import { isHealthy, type Revision, templateRevision } from './revision.ts';

/** Somebody else than the operator has put a recorded revision into the Deployment. */
export interface Undo {
  readonly revision: Revision;
  /** The client that did it, as the API server names it. */
  readonly fieldManager: string;
}

/** Below a pod template, as the API server's record of owners has it. */
const revisionPath = `metadata.annotations.${annotations.revision}`;

/**
 * Finds an undo that has not been dealt with. It is a patch by another client, so the template's revision belongs to that
 * client and not to the operator; dealing with it ends by taking the ownership. A template that is no recorded revision
 * is no undo, but drift.
 */
export function findUndo({ deployment, revisions }: Observed): Undo | undefined {
  const intruder = deployment?.intruders.find(({ fields }) => fields.includes(revisionPath));
  if (deployment === undefined || intruder === undefined) return undefined;
  const { template } = deployment.spec;
  const revision = revisions.find(({ metadata }) => metadata.name === templateRevision(template));
  if (revision === undefined || findDifference(revision.data.template, template, undefined) !== undefined)
    return undefined;
  return { revision, fieldManager: intruder.manager };
}

/** What `deployment.kubernetes.io/revision-history` of a ReplicaSet ends with, or its number if it has none yet. */
function lastNumber({ metadata }: LiveReplicaSet, isBack: boolean): number {
  const { annotations: told = {} } = metadata;
  const number = Number(told['deployment.kubernetes.io/revision'] ?? 0);
  const before = Number(told['deployment.kubernetes.io/revision-history']?.split(',').at(-1) ?? 0);
  // Its new number says that it was put back, and not when it ran.
  return isBack && before > 0 ? before : number;
}

/**
 * Whether an undo went to what the Deployment ran before the revision that it runs now, as a plain `kubectl rollout undo`
 * does. The Deployment's controller may have given it a new number already.
 */
export function ranBefore({ replicaSets }: Observed, undo: Undo, now: Revision): boolean {
  const others = replicaSets.filter(({ revision }) => revision !== undefined && revision !== now.metadata.name);
  const isUndone = ({ revision }: LiveReplicaSet) => revision === undo.revision.metadata.name;
  const numbers = others.map((replicaSet) => {
    const isBack = isUndone(replicaSet) && isNewest(replicaSet, replicaSets);
    return { isUndone: isUndone(replicaSet), number: lastNumber(replicaSet, isBack) };
  });
  const newest = numbers.toSorted((a, b) => b.number - a.number)[0];
  return newest?.isUndone === true;
}

function isNewest(replicaSet: LiveReplicaSet, all: readonly LiveReplicaSet[]): boolean {
  const number = ({ metadata }: LiveReplicaSet) =>
    Number(metadata.annotations?.['deployment.kubernetes.io/revision'] ?? 0);
  return all.every((other) => number(other) <= number(replicaSet));
}

/** When the pods were restarted last, as far as the Deployment's template still tells. */
export function restartedAt({ deployment }: Pick<Observed, 'deployment'>): string | undefined {
  const time = deployment?.spec.template.metadata?.annotations?.[annotations.restartedAt];
  // kubectl writes a time; whoever writes something else is not told when an undo takes it back.
  return time === undefined || Number.isNaN(Date.parse(time)) ? undefined : new Date(time).toISOString();
}

/** The number to give `--to-revision` to leave a revision: the newest ReplicaSet of another that was healthy. */
export function numberOfOtherRevision({ replicaSets, revisions }: Observed, revision: string): string | undefined {
  const others = revisions.filter((candidate) => candidate.metadata.name !== revision && isHealthy(candidate));
  const names = new Set(others.map(({ metadata }) => metadata.name));
  const numbers = replicaSets
    .filter((replicaSet) => names.has(replicaSet.revision ?? ''))
    .map(({ metadata }) => Number(metadata.annotations?.['deployment.kubernetes.io/revision'] ?? 0));
  const newest = Math.max(0, ...numbers);
  return newest === 0 ? undefined : String(newest);
}
