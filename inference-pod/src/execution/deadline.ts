import { RequestError } from '../protocol/request-error.ts';

/** When a request's answer is of no use any more, on the clock of `performance.now`. */
export interface Deadline {
  readonly at: number;
  /** What was asked for. */
  readonly milliseconds: number;
}

export class DeadlinePassed extends RequestError {
  constructor({ milliseconds }: Deadline) {
    super(504, `the answer took longer than the ${milliseconds} ms that it may take`);
    this.name = 'DeadlinePassed';
  }
}
