import type { StartupFailureReason } from '../../../contract/src/startup-failure.ts';

const mostCharacters = 4000;

/** The pod cannot start: the process ends with this as its termination message. */
export class StartupError extends Error {
  readonly reason: StartupFailureReason;

  constructor(reason: StartupFailureReason, message: string, options?: ErrorOptions) {
    // It may have in it what a store has sent.
    super(message.slice(0, mostCharacters).replace(/\p{Cc}/gu, '\ufffd'), options);
    this.name = 'StartupError';
    this.reason = reason;
  }
}
