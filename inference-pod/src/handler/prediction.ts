import { setImmediate as immediate } from 'node:timers/promises';
import type { OutputTensor } from '@slipway/handler';
import type { Said } from './handler-work.ts';

/** A run of a model that a handler has asked for, and waits for. */
export interface AskedRun {
  /** The place of the model among all. */
  readonly model: number;
  readonly said: Said;
  resolve(outputs: Readonly<Record<string, OutputTensor>>): void;
  reject(error: unknown): void;
}

/** A request that a handler answers, step by step: it goes on whenever a model has answered, and says what it needs next. */
export class Prediction {
  readonly #asked: AskedRun[] = [];
  readonly #answered: Promise<Said>;
  #onAsked: (() => void) | undefined;
  #current: AskedRun | undefined;

  /** @param answer never rejects */
  constructor(answer: (ask: (run: AskedRun) => void) => Promise<Said>) {
    this.#answered = answer((run) => {
      this.#asked.push(run);
      this.#onAsked?.();
    });
  }

  /** The run that is under way; undefined when none was asked for. */
  get current(): AskedRun | undefined {
    return this.#current;
  }

  /** Nobody waits for the answer any more: what it waits for does not come. */
  end(): void {
    const ended = new Error('the request that has asked for this run has ended');
    for (const run of [this.#current, ...this.#asked.splice(0)]) run?.reject(ended);
  }

  /** What is said next: an answer, or a run that was asked for, in their order and one at a time. */
  async next(): Promise<Said> {
    // A call that has asked for a run without waiting for it may be about to end.
    await immediate();
    const asked = new Promise<undefined>((resolve) => {
      this.#onAsked = () => resolve(undefined);
      if (this.#asked.length > 0) resolve(undefined);
    });
    const answer = await Promise.race([this.#answered, asked]);
    if (answer !== undefined) return answer;
    this.#current = this.#asked.shift();
    return this.#current?.said ?? this.#answered;
  }
}
