import type { Logger } from 'pino';
import type { PassedOn, TrafficShare } from '../../../contract/src/traffic.ts';
import type { Signature } from '../protocol/datatypes.ts';
import { RequestError } from '../protocol/request-error.ts';
import { type Answer, agree } from './agreement.ts';
import type { CanaryAnswer, CanaryRequest } from './canary-answer.ts';
import type { ComparisonBudget } from './comparison-budget.ts';
import { within } from './passing.ts';

export type Counts = { -readonly [field in keyof PassedOn]: PassedOn[field] };

/** Never rejects. */
export type Ask = (request: CanaryRequest) => Promise<CanaryAnswer>;

/** So many comparisons may be under way at once, of requests and answers of so many bytes: more are left out. */
export const mostComparisons = 4;
export const mostComparedBytes = 262_144;
const comparedTensorBytes = 2 ** 20;
const comparedWithinMilliseconds = 10_000;

/** A request that this pod answers itself, and that a canary is asked as well once it has. It holds a place until it ends. */
export class Comparison {
  readonly #request: Pick<CanaryRequest, 'path' | 'headers' | 'body'>;
  readonly #share: TrafficShare;
  readonly #askCanary: Ask;
  readonly #counts: Counts;
  readonly #budget: ComparisonBudget;
  readonly #onEnd: () => void;
  #isUnderWay = false;

  /** @param onEnd gives its place back */
  constructor(
    request: Pick<CanaryRequest, 'path' | 'headers' | 'body'>,
    share: TrafficShare,
    ask: Ask,
    counts: Counts,
    budget: ComparisonBudget,
    onEnd: () => void,
  ) {
    // The memory of the request is used again once it is answered.
    this.#request = { ...request, body: Buffer.from(request.body) };
    this.#share = share;
    this.#askCanary = ask;
    this.#counts = counts;
    this.#budget = budget;
    this.#onEnd = onEnd;
  }

  /**
   * Asks the canary, and compares. Never rejects: whoever asked has its answer already.
   *
   * @param signature of this pod's own model
   * @param sent resolves once this pod's own answer is
   */
  async with(own: Answer, signature: Signature, log: Logger, sent = Promise.resolve()): Promise<void> {
    this.#isUnderWay = true;
    try {
      // A client that does not read keeps no place.
      if ((await within(comparedWithinMilliseconds, new AbortController(), () => sent)) === 'late') return;
      if (own.body.length <= mostComparedBytes) await this.#ask(own, signature);
    } catch (error) {
      if (error instanceof RequestError) log.debug({ reason: error.message }, 'an answer cannot be compared');
      else log.error({ err: error }, 'an answer could not be compared');
    } finally {
      this.#onEnd();
    }
  }

  /** Of a request that was not answered well there is nothing to compare. */
  endUnlessUnderWay(): void {
    if (!this.#isUnderWay) this.#onEnd();
    this.#isUnderWay = true;
  }

  async #ask(own: Answer, signature: Signature): Promise<void> {
    const { revision, mirror } = this.#share;
    this.#budget.ask();
    const answer = await within(comparedWithinMilliseconds, new AbortController(), (signal) =>
      this.#askCanary({ ...this.#request, revision, why: 'mirror', hold: () => true, signal }),
    );
    const given = typeof answer === 'object' && answer.kind === 'answer' ? answer : undefined;
    // A canary without room says nothing of its model.
    if (given?.status === 503) return;
    const { headerLength, body } = given ?? {};
    const length = headerLength === undefined ? undefined : Number(headerLength);
    const limits = { mostTensorBytes: comparedTensorBytes };
    const isSame =
      given?.status === 200 &&
      body !== undefined &&
      this.#budget.spend(() =>
        agree(own, { over: own.over, body, headerLength: length }, mirror?.outputs ?? [], signature, limits),
      );
    this.#counts.compared++;
    if (!isSame) this.#counts.differing++;
  }
}
