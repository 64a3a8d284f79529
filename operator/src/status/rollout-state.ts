import type { LiveDeployment, Observed } from '../observed.ts';
import { hasMissedDeadline, isComplete, type Progress } from '../rollout/progress.ts';
import { templateRevision } from '../rollout/revision.ts';
import { diagnose, type Problem } from './diagnosis.ts';

/** Where the rollout of a revision stands. */
export type RolloutState =
  | { readonly kind: 'starting' }
  | {
      readonly kind: 'progressing';
      readonly updated: number;
      readonly wanted: number;
      readonly problem: Problem | undefined;
    }
  | { readonly kind: 'paused'; readonly problem: Problem | undefined }
  | { readonly kind: 'overdue'; readonly seconds: number; readonly problem: Problem | undefined }
  /** Every pod is of the revision, and their number is changing, or some of them fail. */
  | {
      readonly kind: 'scaling';
      readonly available: number;
      readonly wanted: number;
      readonly problem: Problem | undefined;
    }
  | { readonly kind: 'complete'; readonly wanted: number };

/** Whether the Deployment has the template of a revision. */
function isRolledOut(deployment: LiveDeployment | undefined, revision: string): boolean {
  return deployment !== undefined && templateRevision(deployment.spec.template) === revision;
}

/**
 * @param revision the name of the revision that is rolled out
 * @param progress how far it has got, and since when it is
 */
export function rolloutState(
  observed: Observed,
  revision: string,
  progress: Progress & { readonly startTime: string },
  now: Date,
): RolloutState {
  const { deployment } = observed;
  if (deployment === undefined || !isRolledOut(deployment, revision)) return { kind: 'starting' };
  const { replicas = 0, updatedReplicas = 0, availableReplicas = 0, observedGeneration = 0 } = deployment.status ?? {};
  const wanted = deployment.spec.replicas ?? 1;
  const isOfRevision = deployment.intruders.length === 0 || progress.completeTime !== undefined;
  if (isOfRevision && isComplete(deployment)) return { kind: 'complete', wanted };
  const problem = diagnose(observed, revision);
  if (deployment.spec.paused === true) return { kind: 'paused', problem };
  const isSeen = observedGeneration >= (deployment.metadata.generation ?? 0);
  if (isSeen && updatedReplicas === replicas && progress.completeTime !== undefined)
    return { kind: 'scaling', available: availableReplicas, wanted, problem };
  if (hasMissedDeadline(deployment, progress, now))
    return { kind: 'overdue', seconds: deployment.spec.progressDeadlineSeconds ?? 0, problem };
  return { kind: 'progressing', updated: Math.min(updatedReplicas, availableReplicas), wanted, problem };
}
