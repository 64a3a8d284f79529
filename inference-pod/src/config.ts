/**
 * The contract between the operator and the pod: environment variables, ports and paths. The operator writes them into
 * pod templates, which are kept for as long as a revision lives, so a name here never changes its meaning.
 */

/** The environment variables that configure the pod; main.ts has an option for each. */
export const environment = {
  modelName: 'SLIPWAY_MODEL_NAME',
  modelVersion: 'SLIPWAY_MODEL_VERSION',
  modelUri: 'SLIPWAY_MODEL_URI',
  modelSha256: 'SLIPWAY_MODEL_SHA256',
  modelMaxBytes: 'SLIPWAY_MODEL_MAX_BYTES',
  revision: 'SLIPWAY_REVISION',
  threads: 'SLIPWAY_THREADS',
  port: 'SLIPWAY_PORT',
  controlPort: 'SLIPWAY_CONTROL_PORT',
  drainSeconds: 'SLIPWAY_DRAIN_SECONDS',
  maxInFlight: 'SLIPWAY_MAX_IN_FLIGHT',
  maxBodyBytes: 'SLIPWAY_MAX_BODY_BYTES',
  workDirectory: 'SLIPWAY_WORK_DIRECTORY',
  mountDirectory: 'SLIPWAY_MOUNT_DIRECTORY',
  terminationLog: 'SLIPWAY_TERMINATION_LOG',
  logLevel: 'SLIPWAY_LOG_LEVEL',
} as const;

export const ports = { serving: 8080, control: 9090 } as const;

export const paths = {
  /** Writable; the verified copy of the model is kept here. */
  workDirectory: '/model',
  /** Where the claim of a pvc:// model, or the ConfigMap of a configmap:// one, is mounted. */
  mountDirectory: '/mnt/model',
  terminationLog: '/dev/termination-log',
} as const;

/** Routes that the kubelet and the operator call. */
export const routes = {
  live: '/v2/health/live',
  ready: '/v2/health/ready',
  /** On the control port: which model this pod serves, as a ModelReport. */
  model: '/model',
  metrics: '/metrics',
} as const;

export const defaults = {
  threads: 1,
  drainSeconds: 10,
  maxInFlight: 256,
  maxBodyBytes: 64 * 1024 * 1024,
  maxModelBytes: 2 * 1024 * 1024 * 1024,
} as const;

/** What the pod says of its model on the control port. */
export interface ModelReport {
  readonly name: string;
  readonly version: string;
  /** `sha256:` and 64 hexadecimal digits: of the bytes that were really loaded. */
  readonly digest: string;
}

/** Why a pod could not start, in its termination message. */
export const startupFailureReasons = [
  'InvalidConfiguration',
  'ModelNotFound',
  'ModelFetchFailed',
  'ModelTooLarge',
  'ModelDigestMismatch',
  'ModelInvalid',
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
