import type { Logger } from 'pino';

/** Lines of so many seconds are written together at most. */
const mostLines = 100;
const withinMilliseconds = 10_000;
const longestLine = 2000;

/** Writes what a handler prints to the log, a line each, and no more than anybody reads. */
export class HandlerOutput {
  readonly #log: Logger;
  readonly #now: () => number;
  #rest = '';
  #since = Number.NEGATIVE_INFINITY;
  #lines = 0;

  /** @param now in milliseconds */
  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  write(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, longestLine);
    for (const line of lines) this.#tell(line.slice(0, longestLine));
  }

  #tell(line: string): void {
    if (this.#now() - this.#since > withinMilliseconds) {
      this.#since = this.#now();
      this.#lines = 0;
    }
    this.#lines += 1;
    if (this.#lines <= mostLines) this.#log.info({ line }, 'the handler says');
    else if (this.#lines === mostLines + 1)
      this.#log.warn(
        `the handler says more than ${mostLines} lines in ${withinMilliseconds / 1000} s: the rest is not told`,
      );
  }
}
