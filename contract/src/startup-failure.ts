/** Why a pod could not start, in its termination message. */
export const startupFailureReasons = [
  'InvalidConfiguration',
  'ModelNotFound',
  'ModelFetchFailed',
  'ModelTooLarge',
  'ModelDigestMismatch',
  'ModelUntrusted',
  'ModelInvalid',
  'GoldenSetFailed',
] as const;

export type StartupFailureReason = (typeof startupFailureReasons)[number];

/** The termination message: JSON, so that the operator can tell it from the last words of anything else. */
export interface StartupFailure {
  readonly reason: StartupFailureReason;
  readonly message: string;
}

/** Reads a termination message; undefined if it is not one of ours. */
export function parseStartupFailure(text: string): StartupFailure | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('reason' in value) || !('message' in value)) return undefined;
  const reason = startupFailureReasons.find((known) => known === value.reason);
  return reason !== undefined && typeof value.message === 'string' ? { reason, message: value.message } : undefined;
}
