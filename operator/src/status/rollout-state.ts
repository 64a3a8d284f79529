import type { Observed } from '../observed.ts';
import { missedDeadline } from '../rollout/deadline.ts';
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

/**
 * @param revision the name of the revision that is rolled out
 * @param startTime since when it is
 */
export function rolloutState(
  observed: Observed,
  revision: string,
  startTime: string | undefined,
  now: Date,
): RolloutState {
  const { deployment } = observed;
  if (deployment === undefined || templateRevision(deployment.spec.template) !== revision) return { kind: 'starting' };
  const {
    observedGeneration = 0,
    replicas = 0,
    updatedReplicas = 0,
    availableReplicas = 0,
    conditions = [],
  } = deployment.status ?? {};
  const wanted = deployment.spec.replicas ?? 1;
  const seen = observedGeneration >= (deployment.metadata.generation ?? 0);
  if (seen && updatedReplicas === wanted && replicas === wanted && availableReplicas === wanted)
    return { kind: 'complete', wanted };
  const problem = diagnose(observed, revision);
  if (deployment.spec.paused === true) return { kind: 'paused', problem };
  const wasComplete = conditions.some(
    ({ type, reason }) => type === 'Progressing' && reason === 'NewReplicaSetAvailable',
  );
  if (seen && updatedReplicas === replicas && wasComplete)
    return { kind: 'scaling', available: availableReplicas, wanted, problem };
  if (missedDeadline(deployment, startTime, now))
    return { kind: 'overdue', seconds: deployment.spec.progressDeadlineSeconds ?? 0, problem };
  return { kind: 'progressing', updated: Math.min(updatedReplicas, availableReplicas), wanted, problem };
}
