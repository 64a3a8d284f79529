import type { ModelDeploymentStatus } from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import type { LiveDeployment } from '../observed.ts';
import { isHealthy, type Revision } from './revision.ts';

/**
 * How far a rollout has got, kept in `status.rollout`: when it last made progress, and when every pod first ran the
 * revision. The Deployment's controller tells neither once a rollout was complete, with no pod at all, say.
 */
export interface Progress {
  readonly progressTime?: string;
  readonly completeTime?: string;
}

/** Whether every pod is of the newest template and available, as the Deployment's controller sees it now. */
export function isComplete({ metadata, spec, status = {} }: LiveDeployment): boolean {
  const wanted = spec.replicas ?? 1;
  const { observedGeneration = 0, replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
  const isSeen = observedGeneration >= (metadata.generation ?? 0);
  return isSeen && updatedReplicas === wanted && replicas === wanted && availableReplicas === wanted;
}

/**
 * Whether the Deployment was complete on a revision in this rollout, with pods.
 *
 * @param status as it was written last; that of an older operator has no times of progress
 */
export function wasComplete(status: ModelDeploymentStatus, revision: Revision): boolean {
  const { completeTime, progressTime } = status.rollout ?? {};
  if (completeTime !== undefined || progressTime !== undefined) return completeTime !== undefined;
  return status.currentRevision === revision.metadata.name && isHealthy(revision) && (status.readyReplicas ?? 0) > 0;
}

/**
 * Whether a rollout has made no progress for as long as its deadline allows.
 *
 * The Deployment's controller says so of most rollouts, but it leaves what it said of an earlier one standing when the
 * template goes back to a ReplicaSet that exists, so what it said before this rollout began does not count; and it says
 * nothing of one that was complete with no pod.
 */
export function hasMissedDeadline(
  { metadata, spec, status: live }: LiveDeployment,
  { startTime, progressTime }: Progress & { readonly startTime?: string },
  now: Date,
): boolean {
  if ((live?.observedGeneration ?? 0) < (metadata.generation ?? 0)) return false;
  const deadlineMilliseconds = (spec.progressDeadlineSeconds ?? 0) * 1000;
  if (progressTime !== undefined && now.getTime() >= Date.parse(progressTime) + deadlineMilliseconds) return true;
  const condition = live?.conditions?.find(({ type }) => type === 'Progressing');
  if (condition?.reason !== 'ProgressDeadlineExceeded') return false;
  if (startTime === undefined) return true;
  const start = Date.parse(startTime);
  return Date.parse(condition.lastUpdateTime ?? '') > start || now.getTime() >= start + deadlineMilliseconds;
}

/** In how many milliseconds a rollout misses its deadline, if nothing happens; undefined when it has none now. */
export function millisecondsToDeadline(
  { spec }: LiveDeployment,
  { progressTime }: Progress,
  now: Date,
): number | undefined {
  if (progressTime === undefined) return undefined;
  const deadline = Date.parse(progressTime) + (spec.progressDeadlineSeconds ?? 0) * 1000;
  return Math.max(0, deadline - now.getTime());
}

export interface ProgressInput {
  readonly deployment: LiveDeployment | undefined;
  readonly before: ModelDeploymentStatus;
  readonly revision: Revision;
  /** Whether the revision is not the one of the last status, or is tried again. */
  readonly isNew: boolean;
  /** Whether the Deployment is on the revision. */
  readonly isRolledOut: boolean;
  readonly deadlineSeconds: number;
  readonly now: Date;
}

/** What is known of the progress now. */
export function progressOf(input: ProgressInput): Progress {
  const { deployment, before, revision, isNew, isRolledOut, now } = input;
  if (isNew) return { progressTime: timestamp(now) };
  if (deployment === undefined || !isRolledOut) return { progressTime: keptYoung(input) };
  const { progressTime, completeTime, startTime } = before.rollout ?? {};
  if (completeTime !== undefined) return { completeTime };
  if (wasComplete(before, revision)) return startTime === undefined ? {} : { completeTime: startTime };
  const wanted = deployment.spec.replicas ?? 1;
  if (isComplete(deployment)) return wanted > 0 ? { completeTime: timestamp(now) } : {};
  // Time does not run while somebody has paused it.
  if (deployment.spec.paused === true) return {};
  return { progressTime: progressTime === undefined || hasMoved(deployment, before) ? timestamp(now) : progressTime };
}

/** What has not begun makes no progress, and its time does not run; it is not written anew with each try. */
function keptYoung({ before, deadlineSeconds, now }: ProgressInput): string {
  const { progressTime } = before.rollout ?? {};
  const isYoung = progressTime !== undefined && now.getTime() - Date.parse(progressTime) < deadlineSeconds * 500;
  return isYoung ? progressTime : timestamp(now);
}

function hasMoved({ status = {} }: LiveDeployment, before: ModelDeploymentStatus): boolean {
  const { replicas = 0, readyReplicas = 0 } = status;
  return replicas !== before.replicas || readyReplicas !== before.readyReplicas;
}
