import { annotations } from '../api/names.ts';
import { findDifference } from '../desired/difference.ts';
import type { Observed } from '../observed.ts';
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
