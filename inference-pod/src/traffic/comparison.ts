import type { OutputComparison, PassedOn, TrafficShare } from '../../../contract/src/traffic.ts';
import type { Answer } from './agreement.ts';
import type { CanaryRequest } from './canary-answer.ts';
import type { ComparisonBudget } from './comparison-budget.ts';
import type { HttpCanaries } from './http-canary.ts';
import { within } from './passing.ts';

export type Counts = { -readonly [field in keyof PassedOn]: PassedOn[field] };

/** Whether a canary's answer is this pod's own. */
export type Compare = (own: Answer, other: Answer, outputs: readonly OutputComparison[]) => boolean;

/** So many comparisons may be under way at once, of requests and answers of so many bytes: more are left out. */
export const mostComparisons = 4;
export const mostComparedBytes = 262_144;
const comparedWithinMilliseconds = 10_000;

/** A request that this pod answers itself, and that a canary is asked as well once it has. It holds a place until it ends. */
export class Comparison {
  readonly #request: Pick<CanaryRequest, 'path' | 'headers' | 'body'>;
  readonly #host: string;
  readonly #share: TrafficShare;
  readonly #canaries: HttpCanaries;
  readonly #counts: Counts;
  readonly #budget: ComparisonBudget;
  readonly #onEnd: () => void;
  #isUnderWay = false;

  /** @param onEnd gives its place back */
  constructor(
    request: Pick<CanaryRequest, 'path' | 'headers' | 'body'>,
    host: string,
    share: TrafficShare,
    canaries: HttpCanaries,
    counts: Counts,
    budget: ComparisonBudget,
    onEnd: () => void,
  ) {
    // The memory of the request is used again once it is answered.
    this.#request = { ...request, body: Buffer.from(request.body) };
    this.#host = host;
    this.#share = share;
    this.#canaries = canaries;
    this.#counts = counts;
    this.#budget = budget;
    this.#onEnd = onEnd;
  }

  /**
   * Asks the canary, and compares.
   *
   * @throws what the comparison throws
   */
  async with(own: Answer, compare: Compare): Promise<void> {
    this.#isUnderWay = true;
    try {
      if (own.body.length <= mostComparedBytes) await this.#ask(own, compare);
    } finally {
      this.#onEnd();
    }
  }

  /** Of a request that was not answered well there is nothing to compare. */
  endUnlessUnderWay(): void {
    if (!this.#isUnderWay) this.#onEnd();
    this.#isUnderWay = true;
  }

  async #ask(own: Answer, compare: Compare): Promise<void> {
    const { revision, mirror } = this.#share;
    this.#budget.ask();
    const answer = await within(comparedWithinMilliseconds, new AbortController(), (signal) =>
      this.#canaries.ask(this.#host, { ...this.#request, revision, why: 'mirror', hold: () => true, signal }),
    );
    const given = typeof answer === 'object' && answer.kind === 'answer' ? answer : undefined;
    // A canary without room says nothing of its model.
    if (given?.status === 503) return;
    const { headerLength, body } = given ?? {};
    const length = headerLength === undefined ? undefined : Number(headerLength);
    const isSame =
      given?.status === 200 &&
      body !== undefined &&
      this.#budget.spend(() => compare(own, { body, headerLength: length }, mirror?.outputs ?? []));
    this.#counts.compared++;
    if (!isSame) this.#counts.differing++;
  }
}
