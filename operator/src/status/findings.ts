import { startupFailureReasons } from '../../../contract/src/startup-failure.ts';
import type { Observed } from '../observed.ts';
import type { Revision } from '../rollout/revision.ts';
import { type Finding, found } from './conditions.ts';
import { reportedDigests } from './reported-digests.ts';
import type { RolloutState } from './rollout-state.ts';

/** Whether the pods have loaded the model, and whether it is sure to be the same bytes next time. */
export function modelFinding(observed: Observed, current: Revision, state: RolloutState): Finding {
  const problem = 'problem' in state ? state.problem : undefined;
  if (problem !== undefined && startupFailureReasons.some((reason) => reason === problem.reason)) {
    return found('False', problem.reason, problem.message);
  }
  const { sha256, uri } = current.data.inputs.model;
  const digests = reportedDigests(observed, current.metadata.name);
  if (digests.size > 1) {
    const groups = Array.from(digests, ([digest, pods]) => `${pods.join(', ')} loaded ${digest}`);
    return found(
      'False',
      'DigestsDiffer',
      `pods of one revision loaded different models: ${groups.join('; ')}: ${uri} was changed; set spec.model.sha256`,
    );
  }
  if ((observed.deployment?.status?.readyReplicas ?? 0) === 0)
    return found('Unknown', 'NoPodServes', 'no pod has loaded the model yet');
  return sha256 === undefined
    ? found(
        'True',
        'Unpinned',
        'the model is loaded; without spec.model.sha256 nothing guarantees that a rollback brings the same bytes',
      )
    : found('True', 'Verified', `the model is loaded, and its sha256 is ${sha256}`);
}

/** Whether an autoscaler sets the number of pods, with what to do where that is known. */
export function autoscalingFinding({ model, autoscaler, foreignAutoscalers }: Observed): Finding {
  const isRequested = model.spec.autoscaling !== undefined;
  if (foreignAutoscalers.length > 0) {
    const names = foreignAutoscalers.map(({ name, owner }) => `${name} (of ${owner})`).join(', ');
    const left = isRequested ? 'spec.autoscaling stands aside' : 'spec.replicas is left to it';
    const out = isRequested ? 'remove it, or spec.autoscaling' : 'remove it to have spec.replicas back';
    const message = `the HorizontalPodAutoscaler ${names} scales the Deployment, and is not the operator's: ${left}; ${out}`;
    return found('False', 'ForeignAutoscaler', message);
  }
  if (!isRequested) return found('False', 'NotRequested', 'the number of pods is fixed by spec.replicas');
  const conditions = autoscaler?.status?.conditions ?? [];
  const able = conditions.find(({ type }) => type === 'AbleToScale');
  if (able?.status === 'False') return found('False', 'UnableToScale', `${able.reason}: ${able.message ?? ''}`);
  const active = conditions.find(({ type }) => type === 'ScalingActive');
  if (active === undefined) return found('Unknown', 'Starting', 'the autoscaler has not looked at the pods yet');
  const message = active.message ?? '';
  if (active.status === 'True') return found('True', 'MetricsFound', message);
  if (/the server could not find the requested resource|no matches for/.test(message)) {
    return found('False', 'NoMetricsAPI', `the cluster has no metrics API (${message}): install metrics-server`);
  }
  return found('False', 'MetricsMissing', `${active.reason}: ${message}`);
}
