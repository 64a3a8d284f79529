/** When a request's answer is of no use any more, on the clock of `performance.now`. */
export interface Deadline {
  readonly at: number;
  /** What was asked for. */
  readonly milliseconds: number;
}
