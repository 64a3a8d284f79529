import type { Condition, ModelDeploymentStatus } from '../api/model-deployment.ts';
import type { EventRecord } from '../kube/events.ts';
import type { Observed } from '../observed.ts';
import { type Revision, templateRevision } from '../rollout/revision.ts';
import { numberOfOtherRevision, restartedAt } from '../rollout/undo.ts';

/** One event for each thing that has changed since the last status. */
export function rolloutEvents(observed: Observed, status: ModelDeploymentStatus, target: Revision): EventRecord[] {
  const { model, conflicts } = observed;
  const before = model.status ?? {};
  const events: EventRecord[] = [];
  const { version } = target.data.inputs.model;
  if (before.updateRevision !== status.updateRevision && conflicts.length === 0) {
    const message = `version ${version} is being rolled out as revision ${status.updateRevision}`;
    events.push({ type: 'Normal', reason: 'RolloutStarted', message });
  }
  events.push(...restartUndoneEvents(observed, status));
  const [was, is] = [conditionOf(before, 'Ready'), conditionOf(status, 'Ready')];
  if (is?.status === 'True' && was?.status !== 'True') {
    events.push({ type: 'Normal', reason: 'RolloutComplete', message: `version ${version} serves` });
  }
  if (is?.status === 'False' && is.reason !== was?.reason && !ordinaryReasons.has(is.reason)) {
    events.push({ type: 'Warning', reason: is.reason, message: is.message });
  }
  return events;
}

/** Reasons for not being ready that are no problem. */
const ordinaryReasons = new Set(['RollingOut', 'RollingBack', 'RolledBack', 'NoPodServes', 'ScaledToZero', 'Paused']);

/** An undo after a restart goes back to the same revision, to the disappointment of whoever wanted the one before. */
function restartUndoneEvents(observed: Observed, status: ModelDeploymentStatus): EventRecord[] {
  const { model } = observed;
  const before = model.status ?? {};
  const [was, is] = [before.rollout?.restartedAt, restartedAt(observed)];
  const revision = status.rollback?.toRevision ?? status.updateRevision ?? '';
  const isSame =
    (before.rollback?.toRevision ?? before.updateRevision) === revision &&
    templateRevision(observed.deployment?.spec.template) === revision;
  if (!isSame || was === undefined || (is !== undefined && Date.parse(is) >= Date.parse(was))) return [];
  const number = numberOfOtherRevision(observed, revision);
  const other =
    number === undefined ? '' : `: kubectl rollout undo deployment/${model.metadata.name} --to-revision=${number}`;
  const message = `a restart was undone, so the pods run revision ${revision} as before; another one takes --to-revision${other}`;
  return [{ type: 'Normal', reason: 'RestartUndone', message }];
}

function conditionOf({ conditions }: ModelDeploymentStatus, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}
