import { createHash } from 'node:crypto';
import type { Table } from '../../../contract/src/link.ts';
import {
  type CanaryPod,
  nothingPassedOn,
  type OutputComparison,
  type PassedOn,
  shareOf,
  type TrafficShare,
} from '../../../contract/src/traffic.ts';
import type { Deadline } from '../execution/deadline.ts';
import { shorten } from '../protocol/json-reader.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Answer } from './agreement.ts';
import { type CanaryAnswer, type CanaryRequest, passedOnHeader, type Verdict, verdictOf } from './canary-answer.ts';
import { GrpcCanaries } from './grpc-canary.ts';
import { HttpCanaries } from './http-canary.ts';
import { TrafficSplit } from './traffic-split.ts';

export interface TrafficOptions {
  /** The revision of this pod; undefined outside a cluster. */
  readonly revision: string | undefined;
  /** The version of its model. */
  readonly version: string;
  /** What the operator wants, for as long as it holds. */
  readonly table: () => Table | undefined;
  /** How long a canary is waited for at most, where more is known than the deadline of the request. */
  readonly patienceMilliseconds: () => number;
  /** Passed on at once; what comes beyond that is answered here. */
  readonly mostUnderWay: number;
  readonly mostAnswerBytes: number;
  /** From 0 to 1, 1 excluded. */
  readonly random: () => number;
}

/** Who is to answer a request, as far as it says. */
export interface Asked {
  /** By the header x-slipway-revision. */
  readonly revision: string | undefined;
  /** By its path, or its message. */
  readonly version: string | undefined;
  readonly header: (name: string) => string | undefined;
}

/** So many comparisons may be under way at once, of requests and answers of so many bytes: more are left out. */
const mostComparisons = 4;
const mostComparedBytes = 262_144;
const comparedWithinMilliseconds = 10_000;

/** Decides which requests a canary is asked, and counts what becomes of them. */
export class Traffic {
  readonly #options: TrafficOptions;
  readonly #split: TrafficSplit;
  readonly #http: HttpCanaries;
  readonly #grpc: GrpcCanaries;
  #table: Table | undefined;
  #share: TrafficShare | undefined;
  readonly #mirrorSplit: TrafficSplit;
  #counts: Counts = { ...nothingPassedOn };
  #comparisons = 0;
  #turn = 0;
  #underWay = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#split = new TrafficSplit(options.random);
    this.#mirrorSplit = new TrafficSplit(options.random);
    this.#http = new HttpCanaries(options.mostAnswerBytes);
    this.#grpc = new GrpcCanaries(options.mostAnswerBytes);
  }

  get passedOn(): PassedOn {
    return { ...this.#counts };
  }

  /** The share that is in force; undefined for none, and for the canary itself. */
  get share(): TrafficShare | undefined {
    const table = this.#options.table();
    if (table !== this.#table) {
      this.#table = table;
      const share = table === undefined ? undefined : shareOf(table);
      this.#share = share?.revision === this.#options.revision ? undefined : share;
    }
    return this.#share;
  }

  /**
   * @returns undefined when this pod is to answer
   * @throws RequestError 404 when the request asks for a revision that answers nowhere here
   */
  begin(asked: Asked): Passing | undefined {
    const { share } = this;
    const { revision, version } = this.#options;
    if (asked.revision !== undefined && revision !== undefined && asked.revision !== revision) {
      if (asked.revision !== share?.revision || asked.header(passedOnHeader) !== undefined)
        throw unknownRevision(asked.revision, revision, share);
      return this.#passing(share, true);
    }
    if (share === undefined || asked.revision !== undefined || asked.version === version) return undefined;
    if (asked.version === share.version) return this.#passing(share, true);
    if (this.#underWay >= this.#options.mostUnderWay || share.pods.length === 0) return undefined;
    if (!this.#isChosen(share, asked)) return undefined;
    return this.#passing(share, false);
  }

  /**
   * @returns how the canary's answer is compared with this pod's own, which is sent first; undefined when it is not
   */
  mirror(request: Pick<CanaryRequest, 'path' | 'headers' | 'body'>): Comparing | undefined {
    const { share } = this;
    const pod = share?.pods[this.#turn % Math.max(1, share.pods.length)];
    if (share?.mirror === undefined || pod === undefined || request.body.length > mostComparedBytes) return undefined;
    if (this.#comparisons >= mostComparisons || !this.#mirrorSplit.next(share.mirror.percent)) return undefined;
    this.#turn++;
    const { outputs } = share.mirror;
    const counts = this.#countsOf(share);
    // The memory of the request is used again once it is answered.
    const copy = { ...request, body: Buffer.from(request.body) };
    return async (own, compare) => {
      if (own.body.length > mostComparedBytes) return;
      this.#comparisons++;
      try {
        const answer = await within(comparedWithinMilliseconds, new AbortController(), (signal) =>
          this.#http.ask(pod.http, { ...copy, revision: share.revision, signal }),
        );
        const isGiven = answer.kind === 'answer' && answer.status === 200;
        // A canary without room says nothing of its model.
        if (answer.kind === 'answer' && answer.status === 503) return;
        const headerLength = isGiven && answer.headerLength !== undefined ? Number(answer.headerLength) : undefined;
        const isSame = isGiven && compare(own, { body: answer.body, headerLength }, outputs);
        counts.compared++;
        if (!isSame) counts.differing++;
      } finally {
        this.#comparisons--;
      }
    };
  }

  #countsOf(share: TrafficShare): Counts {
    if (this.#counts.revision !== share.revision) this.#counts = { ...nothingPassedOn, revision: share.revision };
    return this.#counts;
  }

  #isChosen({ percent, stickyBy, revision }: TrafficShare, { header }: Asked): boolean {
    const caller = stickyBy === undefined ? undefined : header(stickyBy);
    if (caller === undefined) return this.#split.next(percent);
    // By the revision as well, so that it is not always the same callers.
    const hash = createHash('sha256').update(`${revision}\n${caller}`).digest().readUInt32BE(0);
    return hash / 2 ** 32 < percent / 100;
  }

  #passing(share: TrafficShare, isAsked: boolean): Passing {
    const pod = share.pods[this.#turn++ % Math.max(1, share.pods.length)];
    const counts = this.#countsOf(share);
    // Whoever asks for the canary says nothing of what others would be answered.
    const count = (verdict: Verdict) => {
      if (isAsked) return;
      counts.requests++;
      if (verdict === 'failed') counts.failed++;
      if (verdict === 'saturated') counts.saturated++;
    };
    const send = async (request: CanaryRequest, over: keyof CanaryPod): Promise<CanaryAnswer> => {
      if (pod === undefined) return { kind: 'none', reason: 'it has no pod that serves' };
      this.#underWay++;
      try {
        return over === 'http' ? await this.#http.ask(pod.http, request) : await this.#grpc.ask(pod.grpc, request);
      } finally {
        this.#underWay--;
      }
    };
    return new Passing(share.revision, isAsked, send, count, this.#options.patienceMilliseconds);
  }
}

type Counts = { -readonly [field in keyof PassedOn]: PassedOn[field] };

/** Compares a canary's answer with this pod's own; rejects with what the comparison throws. */
export type Comparing = (
  own: Answer,
  compare: (own: Answer, other: Answer, outputs: readonly OutputComparison[]) => boolean,
) => Promise<void>;

/** One request that a canary is asked. */
export class Passing {
  readonly revision: string;
  /** Whether the request itself asks for the canary: then nobody else answers it. */
  readonly #isAsked: boolean;
  readonly #send: (request: CanaryRequest, over: keyof CanaryPod) => Promise<CanaryAnswer>;
  readonly #count: (verdict: Verdict) => void;
  readonly #patience: () => number;
  #isRefused = false;

  constructor(
    revision: string,
    isAsked: boolean,
    send: (request: CanaryRequest, over: keyof CanaryPod) => Promise<CanaryAnswer>,
    count: (verdict: Verdict) => void,
    patience: () => number,
  ) {
    this.revision = revision;
    this.#isAsked = isAsked;
    this.#send = send;
    this.#count = count;
    this.#patience = patience;
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
    request: Pick<CanaryRequest, 'path' | 'headers' | 'body'>,
    deadline: Deadline,
    now: number,
    gone: AbortController,
  ): Promise<Extract<CanaryAnswer, { kind: 'answer' }> | undefined> {
    const left = deadline.at - now;
    // What is left then is for this pod's own answer.
    const timeoutMilliseconds = Math.max(1, Math.floor(this.#isAsked ? left : Math.min(left / 2, this.#patience())));
    let isLate = false;
    const answer = await within(
      timeoutMilliseconds,
      gone,
      (signal) => this.#send({ ...request, revision: this.revision, signal }, over),
      () => {
        isLate = true;
      },
    );
    if (gone.signal.aborted && !isLate) return undefined;
    if (this.#isAsked) {
      if (answer.kind === 'answer') return answer;
      throw new RequestError(503, `revision ${this.revision} does not answer: ${answer.reason}`);
    }
    const verdict = verdictOf(answer);
    this.#isRefused = verdict === 'refused';
    if (!this.#isRefused) this.#count(verdict);
    return verdict === 'good' && answer.kind === 'answer' ? answer : undefined;
  }

  /** What this pod itself has made of a request that the canary did not answer: one that it refuses as well is at fault. */
  judge(isAnswered: boolean): void {
    if (this.#isRefused) this.#count(isAnswered ? 'failed' : 'good');
    this.#isRefused = false;
  }
}

/** Ends something that takes too long. No timer is left behind: as many requests as pass in that time would each have one. */
async function within<T>(
  milliseconds: number,
  end: AbortController,
  work: (signal: AbortSignal) => Promise<T>,
  onLate: () => void = () => undefined,
): Promise<T> {
  const timer = setTimeout(() => {
    onLate();
    end.abort();
  }, milliseconds);
  try {
    return await work(end.signal);
  } finally {
    clearTimeout(timer);
  }
}

function unknownRevision(asked: string, own: string, share: TrafficShare | undefined): RequestError {
  const known = share === undefined ? `only ${own}` : `only ${own} and ${share.revision}`;
  return new RequestError(404, `there is no revision '${shorten(asked)}' here, ${known}: leave x-slipway-revision out`);
}
