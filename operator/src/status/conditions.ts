import type { Condition } from '../api/model-deployment.ts';
import { withinCharacters } from '../api/text.ts';
import { timestamp } from '../api/time.ts';
import type { ConditionReason } from './reasons.ts';

export type ConditionType =
  | 'Ready'
  | 'Available'
  | 'UpToDate'
  | 'Reconciling'
  | 'Stalled'
  | 'ModelLoaded'
  | 'RolledBack'
  | 'AutoscalingActive'
  | 'Linked';

/** What is the case, before it has a time. */
export interface Finding {
  readonly status: Condition['status'];
  readonly reason: ConditionReason;
  readonly message: string;
}

/** The limit of a condition's message that Kubernetes itself uses. */
const maxMessageLength = 32_768;

export const found = (status: Condition['status'], reason: ConditionReason, message: string): Finding => ({
  status,
  reason,
  message,
});

/**
 * Makes conditions of findings. The time of a transition is kept for as long as the status is the same.
 *
 * @param before the conditions of the last status
 */
export function makeConditions(
  findings: Readonly<Record<ConditionType, Finding>>,
  before: readonly Condition[],
  observedGeneration: number,
  now: Date,
): Condition[] {
  return Object.entries(findings).map(([type, { status, reason, message }]) => {
    const previous = before.find((condition) => condition.type === type);
    const lastTransitionTime = previous?.status === status ? previous.lastTransitionTime : timestamp(now);
    return {
      type,
      status,
      reason,
      message: withinCharacters(message, maxMessageLength),
      lastTransitionTime,
      observedGeneration,
    };
  });
}
