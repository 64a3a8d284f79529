import type { LiveDeployment } from '../observed.ts';

/**
 * Whether the rollout that a Deployment is in has made no progress for as long as its deadline allows.
 *
 * The Deployment's controller says so, but it leaves what it said of an earlier rollout standing when the template goes
 * back to a ReplicaSet that exists, so what it said before this rollout began does not count.
 *
 * @param startTime when this rollout began; undefined when that is not known
 */
export function missedDeadline(
  { metadata, spec, status }: LiveDeployment,
  startTime: string | undefined,
  now: Date,
): boolean {
  if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) return false;
  const condition = status?.conditions?.find(({ type }) => type === 'Progressing');
  if (condition?.reason !== 'ProgressDeadlineExceeded') return false;
  if (startTime === undefined) return true;
  const start = Date.parse(startTime);
  const ofThisRollout = Date.parse(condition.lastUpdateTime ?? '') > start;
  return ofThisRollout || now.getTime() >= start + (spec.progressDeadlineSeconds ?? 0) * 1000;
}
