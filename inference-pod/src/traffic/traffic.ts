import { createHash } from 'node:crypto';
import type { Table } from '../../../contract/src/link.ts';
import {
  type CanaryPod,
  mostCanaryPods,
  nothingPassedOn,
  type PassedOn,
  shareOf,
  type TrafficShare,
} from '../../../contract/src/traffic.ts';
import { shorten } from '../protocol/json-reader.ts';
import { RequestError } from '../protocol/request-error.ts';
import { type CanaryAnswer, type CanaryRequest, passedOnHeader, type Verdict } from './canary-answer.ts';
import { type Ask, Comparison, type Counts, mostComparedBytes, mostComparisons } from './comparison.ts';
import { ComparisonBudget } from './comparison-budget.ts';
import { GrpcCanaries } from './grpc-canary.ts';
import { HttpCanaries } from './http-canary.ts';
import { type Channel, Passing } from './passing.ts';
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
  /** What this pod itself needs no more than, as a rule. */
  readonly usualMilliseconds: () => number;
  /** Of the share, passed on at once; what comes beyond that is answered here. */
  readonly mostUnderWay: number;
  readonly mostAnswerBytes: number;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
  /** For how many milliseconds this thread has computed. */
  readonly computed: () => number;
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

/** Requests that ask for the canary themselves, passed on at once: whoever may call may send them. */
const mostAsked = 32;

/** Decides which requests a canary is asked, and counts what becomes of them. */
export class Traffic {
  readonly #options: TrafficOptions;
  readonly #split: TrafficSplit;
  readonly #mirrorSplit: TrafficSplit;
  /** Neither those that ask for a canary nor comparisons take connections of the share's. */
  readonly #http: Readonly<Record<CanaryRequest['why'], HttpCanaries>>;
  readonly #grpc: Readonly<Record<CanaryRequest['why'], GrpcCanaries>>;
  #table: Table | undefined;
  #share: TrafficShare | undefined;
  #counts: Counts = { ...nothingPassedOn };
  #comparisons = 0;
  readonly #budget: ComparisonBudget;
  #turn: number;
  readonly #underWay = { share: 0, asked: 0 };
  #idle: (() => void)[] = [];

  constructor(options: TrafficOptions) {
    const { random, mostAnswerBytes, mostUnderWay } = options;
    this.#options = options;
    this.#split = new TrafficSplit(random);
    this.#mirrorSplit = new TrafficSplit(random);
    this.#http = {
      share: new HttpCanaries(mostAnswerBytes, mostUnderWay),
      asked: new HttpCanaries(mostAnswerBytes, mostAsked),
      mirror: new HttpCanaries(mostComparedBytes, mostComparisons),
    };
    this.#grpc = {
      share: new GrpcCanaries(mostAnswerBytes),
      asked: new GrpcCanaries(mostAnswerBytes),
      mirror: new GrpcCanaries(mostComparedBytes),
    };
    this.#budget = new ComparisonBudget(options.now, options.computed);
    // Many pods do not all begin with the same one.
    this.#turn = Math.floor(random() * mostCanaryPods);
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

  /** Resolves once no request is with a canary. */
  async idle(): Promise<void> {
    if (this.#underWay.share + this.#underWay.asked > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /**
   * @returns undefined when this pod is to answer
   * @throws RequestError 404 when the request asks for a revision that answers nowhere here; 503 when too many ask for a canary
   */
  begin(asked: Asked): Passing | undefined {
    const { share } = this;
    const { revision, version } = this.#options;
    if (asked.revision !== undefined && revision !== undefined && asked.revision !== revision) {
      if (asked.revision !== share?.revision || asked.header(passedOnHeader) !== undefined)
        throw unknownRevision(asked.revision, revision, share);
      return this.#asking(share);
    }
    if (share === undefined || asked.revision !== undefined || asked.version === version) return undefined;
    if (asked.version === share.version) return this.#asking(share);
    if (this.#underWay.share >= this.#options.mostUnderWay || share.pods.length === 0) return undefined;
    if (!this.#isChosen(share, asked)) return undefined;
    return new Passing(share.revision, false, this.#channelTo(share, 'share'));
  }

  /**
   * @returns how the canary's answer is compared with this pod's own, which is sent first; undefined when it is not
   */
  mirror(request: Pick<CanaryRequest, 'path' | 'headers' | 'body'>, over: keyof CanaryPod): Comparison | undefined {
    const { share } = this;
    if (share?.mirror === undefined || request.body.length > mostComparedBytes) return undefined;
    const pod = this.#nextPod(share);
    if (pod === undefined || this.#comparisons >= mostComparisons) return undefined;
    if (!this.#mirrorSplit.next(share.mirror.percent) || !this.#budget.isThere) return undefined;
    this.#comparisons++;
    const ask: Ask = (asked) => this.#ask(pod, asked, over);
    return new Comparison(request, share, ask, this.#countsOf(share), this.#budget, () => {
      this.#comparisons--;
    });
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

  #asking(share: TrafficShare): Passing {
    if (this.#underWay.asked >= mostAsked)
      throw new RequestError(503, `${mostAsked} requests that ask for ${share.revision} are under way: try again`);
    return new Passing(share.revision, true, this.#channelTo(share, 'asked'));
  }

  #nextPod({ pods }: TrafficShare) {
    return pods[this.#turn++ % Math.max(1, pods.length)];
  }

  #channelTo(share: TrafficShare, why: 'share' | 'asked'): Channel {
    const pod = this.#nextPod(share);
    const counts = this.#countsOf(share);
    const { revision } = share;
    return {
      send: async (request, over) => {
        if (pod === undefined) return { kind: 'none', reason: 'it has no pod that serves' };
        return this.#ask(pod, { ...request, revision, why }, over);
      },
      // Whoever asks for the canary says nothing of what others would be answered.
      count: (verdict) => {
        if (why === 'share') countIn(counts, verdict);
      },
      begin: () => {
        this.#underWay[why]++;
        return () => this.#end(why);
      },
      patienceMilliseconds: this.#options.patienceMilliseconds,
      usualMilliseconds: this.#options.usualMilliseconds,
    };
  }

  #ask(pod: CanaryPod, request: CanaryRequest, over: keyof CanaryPod): Promise<CanaryAnswer> {
    const canaries = over === 'http' ? this.#http : this.#grpc;
    return canaries[request.why].ask(pod[over], request);
  }

  #end(why: 'share' | 'asked'): void {
    this.#underWay[why]--;
    if (this.#underWay.share + this.#underWay.asked > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }
}

function countIn(counts: Counts, verdict: Verdict): void {
  if (verdict === 'none') return;
  counts.requests++;
  if (verdict === 'failed') counts.failed++;
  if (verdict === 'saturated') counts.saturated++;
}

function unknownRevision(asked: string, own: string, share: TrafficShare | undefined): RequestError {
  const known = share === undefined ? `only ${own}` : `only ${own} and ${share.revision}`;
  return new RequestError(404, `there is no revision '${shorten(asked)}' here, ${known}: leave x-slipway-revision out`);
}
