import type { CanaryPod } from '../../../contract/src/traffic.ts';
import type { Deadline } from '../execution/deadline.ts';
import { RequestError } from '../protocol/request-error.ts';
import { type CanaryAnswer, type CanaryRequest, type Verdict, verdictOf } from './canary-answer.ts';

/** What of a request a canary has to know. */
export type PassedRequest = Pick<CanaryRequest, 'path' | 'headers' | 'body' | 'hold'>;

/** The way to a canary. */
export interface Channel {
  /** Never rejects. */
  send(request: PassedRequest & Pick<CanaryRequest, 'signal'>, over: keyof CanaryPod): Promise<CanaryAnswer>;
  count(verdict: Verdict): void;
  /** Notes that a request is with the canary, until what is returned is called. */
  begin(): () => void;
  /** How long a canary is waited for at most, where more is known than the deadline of the request. */
  patienceMilliseconds(): number;
  /** What this pod itself needs no more than, as a rule, with something to spare; infinite where that is not known. */
  usualMilliseconds(): number;
}

/** What this pod's own answer has to tell of a canary's that was none. */
type Pending = { readonly kind: 'refused' } | { readonly kind: 'late'; readonly afterMilliseconds: number };

/** One request that a canary is asked. */
export class Passing {
  readonly revision: string;
  /** Whether the request itself asks for the canary: then nobody else answers it. */
  readonly #isAsked: boolean;
  readonly #channel: Channel;
  #pending: Pending | undefined;

  constructor(revision: string, isAsked: boolean, channel: Channel) {
    this.revision = revision;
    this.#isAsked = isAsked;
    this.#channel = channel;
  }

  /**
   * Asks the canary.
   *
   * @param now on the clock of the deadline
   * @param gone aborted by the caller when the client has gone, and here when the answer is too late
   * @returns what is to be sent to the client; undefined when this pod is to answer after all, or nobody waits any more
   * @throws RequestError 503 when the request itself asks for the canary, and that does not answer
   */
  async ask(
    over: keyof CanaryPod,
    request: PassedRequest,
    deadline: Deadline,
    now: number,
    gone: AbortController,
  ): Promise<Extract<CanaryAnswer, { kind: 'answer' }> | undefined> {
    if (request.body.length > mostPassedBytes && !this.#isAsked) return undefined;
    const left = deadline.at - now;
    // What is left then is for this pod's own answer.
    const most = this.#isAsked ? left : Math.min(left / 2, this.#channel.patienceMilliseconds());
    const afterMilliseconds = Math.max(1, Math.floor(most));
    const end = this.#channel.begin();
    const start = performance.now();
    const answer = await within(afterMilliseconds, gone, (signal) =>
      this.#channel.send({ ...request, signal }, over),
    ).finally(end);
    if (answer === 'gone') {
      // Clients that give up first leave no other trace of a canary that hangs.
      if (!this.#isAsked && performance.now() - start > this.#channel.usualMilliseconds())
        this.#channel.count('failed');
      return undefined;
    }
    if (this.#isAsked) return this.#toldAsIs(answer);
    if (answer === 'late') {
      this.#pending = { kind: 'late', afterMilliseconds };
      return undefined;
    }
    const verdict = verdictOf(answer);
    if (verdict === 'refused') this.#pending = { kind: 'refused' };
    else this.#channel.count(verdict);
    return verdict === 'good' && answer.kind === 'answer' ? answer : undefined;
  }

  /** @throws RequestError */
  #toldAsIs(answer: CanaryAnswer | 'late'): Extract<CanaryAnswer, { kind: 'answer' }> {
    if (answer !== 'late' && answer.kind === 'answer' && (answer.status === 200 || answer.status >= 400)) return answer;
    if (answer === 'late') throw new RequestError(504, `revision ${this.revision} does not answer in time`);
    const why = answer.kind === 'none' ? answer.reason : 'it answers oddly';
    throw new RequestError(503, `revision ${this.revision} does not answer: ${why}`);
  }

  /**
   * Counts a request that the canary did not answer by what this pod itself has made of it: one that it refuses as well is at
   * fault, and one that it takes nearly as long for says nothing of the canary.
   *
   * @param milliseconds that it took
   */
  judge(own: 'answered' | 'refused' | 'failed', milliseconds: number): void {
    if (this.#pending !== undefined) this.#channel.count(verdictBeside(this.#pending, own, milliseconds));
    this.#pending = undefined;
  }
}

function verdictBeside(pending: Pending, own: 'answered' | 'refused' | 'failed', milliseconds: number): Verdict {
  if (own === 'failed') return 'none';
  if (own === 'refused') return 'good';
  return pending.kind === 'refused' || milliseconds < pending.afterMilliseconds / longer ? 'failed' : 'good';
}

/** Larger requests are not sent twice: the pod answers them itself. */
export const mostPassedBytes = 16 * 2 ** 20;

/** A canary that takes so many times as long as this pod is late. */
const longer = 2;

/**
 * Waits for something, until it takes too long or nobody waits any more: whatever it is does not have to end for that. No timer
 * is left behind: as many requests as pass in that time would each have one.
 *
 * @param end aborted when it takes too long
 */
export async function within<T>(
  milliseconds: number,
  end: AbortController,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | 'late' | 'gone'> {
  const { promise, resolve } = Promise.withResolvers<'late' | 'gone'>();
  const timer = setTimeout(() => {
    resolve('late');
    end.abort();
  }, milliseconds);
  const onAbort = () => resolve('gone');
  end.signal.addEventListener('abort', onAbort, { once: true });
  try {
    if (end.signal.aborted) return 'gone';
    return await Promise.race([work(end.signal), promise]);
  } finally {
    clearTimeout(timer);
    end.signal.removeEventListener('abort', onAbort);
  }
}
