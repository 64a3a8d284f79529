import type { ModelSession } from '../model/session.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import type { TaskWire } from '../protocol/wires.ts';
import type { TextTokenizer } from './text-tokenizer.ts';

/** Makes of a request's body an answer's, in JSON. */
export type Answering = (body: Buffer, progress: Progress, wire: TaskWire) => Promise<string>;

/** What the answers of every task need. */
export interface TaskTools {
  readonly session: ModelSession;
  readonly name: string;
  readonly mostAnswerBytes: number;
}

/** What those of texts need as well. */
export interface TextTools extends TaskTools {
  readonly tokenizer: TextTokenizer;
}

/** How far one request has got. */
export class Progress {
  readonly #until: number;
  /** That the runs of the model took; undefined as long as there was none. */
  seconds: number | undefined;

  constructor(leftMilliseconds: number) {
    this.#until = performance.now() + leftMilliseconds;
  }

  /** @throws RequestError 504 when nobody waits any more */
  readonly goOn = (): void => {
    if (performance.now() > this.#until)
      throw new RequestError(504, 'it was not done in the time that the answer may take: send less at once');
  };

  async timed<T>(run: Promise<T>): Promise<T> {
    const start = performance.now();
    const given = await run;
    this.took((performance.now() - start) / 1000);
    return given;
  }

  took(seconds: number): void {
    this.seconds = (this.seconds ?? 0) + seconds;
  }
}

/** @throws RequestError 400 when an answer would be larger than may be sent */
export function refuseLarger(bytes: number, most: number): void {
  if (bytes > most)
    throw badRequest(`the answer may have ${bytes} bytes, and at most ${most} are sent: send less at once`);
}
