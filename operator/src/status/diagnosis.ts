import type { IContainerStatus } from 'kubernetes-models/v1';
import { parseStartupFailure } from '../../../contract/src/startup-failure.ts';
import { annotations, handlerContainer, modelContainer } from '../api/names.ts';
import type { LivePod, Observed } from '../observed.ts';
import type { ConditionReason } from './reasons.ts';

/** What keeps a rollout from getting on, in words that a person can act on. */
export interface Problem {
  readonly reason: ConditionReason;
  readonly message: string;
}

/**
 * Finds what is wrong with the pods of a revision.
 *
 * @param revision the name of the revision that is rolled out
 */
export function diagnose(observed: Observed, revision: string): Problem | undefined {
  const pods = observed.pods.filter(
    ({ metadata, phase }) =>
      metadata.annotations?.[annotations.revision] === revision &&
      metadata.deletionTimestamp === undefined &&
      // A pod that was evicted, say, stays as it ended: another one has taken its place.
      phase !== 'Failed' &&
      phase !== 'Succeeded',
  );
  for (const pod of pods) {
    const problem = problemOfPod(pod, observed.mountFailures.get(pod.metadata.name));
    if (problem !== undefined) return problem;
  }
  return observed.deployment === undefined ? undefined : replicaFailure(observed.deployment.status?.conditions ?? []);
}

function replicaFailure(
  conditions: readonly { type: string; status: string; message?: string }[],
): Problem | undefined {
  const failure = conditions.find(({ type, status }) => type === 'ReplicaFailure' && status === 'True');
  if (failure === undefined) return undefined;
  const message = failure.message ?? '';
  return {
    reason: 'PodsCannotBeCreated',
    message: `pods cannot be created: ${message}: ${/quota/i.test(message) ? 'raise the quota of the namespace, or lower spec.resources' : 'the policy of the namespace has to allow them'}`,
  };
}

/** What keeps one pod from serving. */
export function problemOfPod(pod: LivePod, mountFailure: string | undefined): Problem | undefined {
  const { name } = pod.metadata;
  for (const own of [modelContainer, handlerContainer]) {
    const container = pod.containers.find((status) => status.name === own);
    const problem = container === undefined || container.ready ? undefined : problemOfContainer(pod, container);
    if (problem !== undefined) return problem;
  }
  const scheduled = pod.conditions.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False' && scheduled.reason === 'Unschedulable') {
    const message = `pod ${name} fits on no node: ${scheduled.message ?? ''}: add nodes, or change spec.resources or spec.pod`;
    return { reason: 'Unschedulable', message };
  }
  if (mountFailure === undefined) return undefined;
  return {
    reason: 'VolumeCannotBeMounted',
    message: `pod ${name} cannot start: ${mountFailure}: create what is missing, or correct spec.model.uri`,
  };
}

/** @param volumeImage of which the kubelet tells as if it were that of the container */
function pullFailure(message: string, image: string, volumeImage: string | undefined): string {
  return volumeImage !== undefined && message.includes(volumeImage)
    ? `the image of its model, ${volumeImage}: ${message}: check spec.model.uri`
    : `the image ${image}: ${message}: check spec.runtime.image`;
}

function problemOfContainer(
  { metadata: { name: pod }, volumeImage }: LivePod,
  { state, lastState, image, restartCount }: IContainerStatus,
): Problem | undefined {
  const waiting = state?.waiting;
  switch (waiting?.reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'InvalidImageName':
    case 'ErrImageNeverPull':
    case 'ImageInspectError':
      return {
        reason: 'ImageCannotBePulled',
        message: `pod ${pod} cannot pull ${pullFailure(waiting.message ?? waiting.reason, image, volumeImage)} and spec.pod.imagePullSecrets`,
      };
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
      return {
        reason: 'ContainerCannotStart',
        message: `the container of pod ${pod} cannot start: ${waiting.message ?? waiting.reason}: check spec.pod and spec.runtime`,
      };
  }
  const ended = state?.terminated ?? lastState?.terminated;
  if (ended === undefined) return undefined;
  const failure = parseStartupFailure(ended.message ?? '');
  if (failure !== undefined) return { reason: failure.reason, message: `pod ${pod}: ${failure.message}` };
  if (ended.reason === 'OOMKilled') {
    const message = `the container of pod ${pod} used more memory than it may: raise spec.resources.limits.memory`;
    return { reason: 'OutOfMemory', message };
  }
  const lastWords = (ended.message ?? '').trim().split('\n').at(-1) ?? '';
  return {
    reason: 'CrashLoop',
    message: `the container of pod ${pod} ended with code ${ended.exitCode} (${restartCount} restarts)${lastWords === '' ? '' : `: ${lastWords}`}: see kubectl logs --previous ${pod}`,
  };
}
