import type { ModelDeploymentStatus } from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import type { LiveDeployment } from '../observed.ts';
import { healthySince, type Revision, templateRevision } from './revision.ts';

/**
 * How far a rollout has got, kept in `status.rollout`: when it last made progress, and when every pod first ran the
 * revision. The Deployment's controller tells neither once a rollout was complete, with no pod at all, say.
 */
export interface Progress {
  readonly progressTime?: string;
  readonly completeTime?: string;
}

/** Whether every pod is of the newest template and available, as the Deployment's controller sees it now. */
export function isComplete(deployment: LiveDeployment): boolean {
  const { spec, status = {} } = deployment;
  const wanted = spec.replicas ?? 1;
  const { replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
  return isSeen(deployment) && updatedReplicas === wanted && replicas === wanted && availableReplicas === wanted;
}

/**
 * Whether the Deployment was complete on a revision in this rollout, with pods.
 *
 * @param status as it was written last. That of an older operator has no times of progress: there the record tells, if the
 *   revision became healthy in this rollout, or what was said of it last.
 */
export function wasComplete(status: ModelDeploymentStatus, revision: Revision): boolean {
  const { completeTime, progressTime, startTime = '', message = '' } = status.rollout ?? {};
  if (completeTime !== undefined || progressTime !== undefined) return completeTime !== undefined;
  const since = healthySince(revision);
  if (status.currentRevision !== revision.metadata.name || since === undefined) return false;
  return Date.parse(since) > Date.parse(startTime) || /^(complete|scaling|rolled back)/.test(message);
}

/**
 * Whether a rollout has made no progress for as long as its deadline allows.
 *
 * The Deployment's controller says so of most rollouts, but it leaves what it said of an earlier one standing when the
 * template goes back to a ReplicaSet that exists, so what it said before this rollout began does not count; and it says
 * nothing of one that was complete with no pod.
 */
export function hasMissedDeadline(
  deployment: LiveDeployment,
  { startTime, progressTime }: Progress & { readonly startTime?: string },
  now: Date,
): boolean {
  if (!isSeen(deployment)) return false;
  const { spec, status: live } = deployment;
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
  const left = Date.parse(progressTime) + (spec.progressDeadlineSeconds ?? 0) * 1000 - now.getTime();
  return left > 0 ? left : undefined;
}

export interface ProgressInput {
  readonly deployment: LiveDeployment | undefined;
  readonly before: ModelDeploymentStatus;
  readonly revision: Revision;
  /** Whether the revision is not the one of the last status, or is tried again. */
  readonly isNew: boolean;
  readonly now: Date;
}

/**
 * What is known of the progress now. Time does not run before the template is there, nor while no pod is asked for or
 * somebody has paused the Deployment; and hardly while its controller is behind, who could not make any progress.
 */
export function progressOf({ deployment, before, revision, isNew, now }: ProgressInput): Progress {
  const { progressTime, startTime } = before.rollout ?? {};
  if (isNew) return {};
  if (wasComplete(before, revision))
    return { completeTime: before.rollout?.completeTime ?? startTime ?? timestamp(now) };
  if (deployment === undefined || templateRevision(deployment.spec.template) !== revision.metadata.name) return {};
  if (deployment.spec.replicas === 0) return {};
  // Pods of a template that somebody has changed say nothing of the revision.
  if (isComplete(deployment) && deployment.intruders.length === 0) return { completeTime: timestamp(now) };
  if (deployment.spec.paused === true) return {};
  if (!isSeen(deployment))
    return progressTime === undefined ? {} : { progressTime: keptYoung(deployment, progressTime, now) };
  return { progressTime: progressTime === undefined || hasMoved(deployment, before) ? timestamp(now) : progressTime };
}

/** What cannot make progress is not late; it is written anew now and then, and not at each look. */
function keptYoung({ spec }: LiveDeployment, progressTime: string, now: Date): string {
  const isYoung = now.getTime() - Date.parse(progressTime) < (spec.progressDeadlineSeconds ?? 0) * 500;
  return isYoung ? progressTime : timestamp(now);
}

/** Whether the Deployment's controller has seen what it asks for. */
function isSeen({ metadata, status }: LiveDeployment): boolean {
  return (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
}

function hasMoved({ status = {} }: LiveDeployment, before: ModelDeploymentStatus): boolean {
  const { replicas = 0, readyReplicas = 0 } = status;
  return replicas !== before.replicas || readyReplicas !== before.readyReplicas;
}
