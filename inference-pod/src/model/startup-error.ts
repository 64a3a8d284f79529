import type { StartupFailureReason } from '../../../contract/src/startup-failure.ts';

/** The pod cannot start: the process ends with this as its termination message. */
export class StartupError extends Error {
  readonly reason: StartupFailureReason;

  constructor(reason: StartupFailureReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartupError';
    this.reason = reason;
  }
}
