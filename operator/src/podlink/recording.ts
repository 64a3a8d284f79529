import type { PodFigures } from '../../../contract/src/link.ts';
import {
  bucketsOf,
  type IntervalCounts,
  mostIntervals,
  noBuckets,
  type PodSeries,
  totalOf,
} from '../analysis/pod-series.ts';

/** What a process has counted since it started. */
interface Totals {
  readonly nonce: string;
  readonly figures: PodFigures;
}

/** Eight days: a step and what was before it. */
const keptSeconds = 8 * 86_400;

interface Recorded {
  last: Totals;
  revision: string;
  passedOnTo: string;
  readonly intervals: IntervalCounts[];
}

/** What the pods of a ModelDeployment have counted, by intervals: differences of what each tells again and again. */
export class Recording {
  readonly intervalSeconds: number;
  readonly hasLatency: boolean;
  /** When it began, in milliseconds since 1970. */
  readonly since: number;
  readonly #pods = new Map<string, Recorded>();
  readonly #gone = new Set<string>();
  #newest = 0;

  /** @param hasLatency whether histograms are kept as well, which take the most memory */
  constructor(intervalSeconds: number, hasLatency: boolean, now: number) {
    this.intervalSeconds = intervalSeconds;
    this.hasLatency = hasLatency;
    this.since = now;
  }

  /**
   * @param pod its uid
   * @param nonce tells one life of the pod from another
   * @param now in milliseconds since 1970
   */
  tell(pod: string, nonce: string, figures: PodFigures, now: number): void {
    const { revision = '' } = figures;
    const known = this.#pods.get(pod);
    const passedOnTo = figures.passedOn?.revision ?? '';
    if (known === undefined) {
      // What it counted before belongs to no interval.
      this.#pods.set(pod, { last: { nonce, figures }, revision, passedOnTo, intervals: [] });
      return;
    }
    const counts = differenceOf(known.last, { nonce, figures }, this.hasLatency);
    known.last = { nonce, figures };
    known.revision = revision;
    known.passedOnTo = passedOnTo;
    const interval = Math.floor(now / (this.intervalSeconds * 1000));
    const newest = known.intervals.at(-1);
    if (newest?.interval === interval) known.intervals.splice(-1, 1, totalOf(newest, counts));
    // What is idle takes no memory.
    else if (!isNothing(counts)) known.intervals.push({ ...counts, interval });
    if (known.intervals.length > mostIntervals) known.intervals.shift();
    if (interval !== this.#newest) this.#forgetOld(interval);
  }

  /** The pod is gone; what it has counted stays for as long as that of others. */
  end(pod: string): void {
    if (this.#pods.get(pod)?.intervals.length === 0) this.#pods.delete(pod);
    else this.#gone.add(pod);
  }

  /** However seldom a pod is asked: no step lasts longer. */
  #forgetOld(interval: number): void {
    this.#newest = interval;
    const oldest = interval - Math.ceil(keptSeconds / this.intervalSeconds);
    for (const [uid, { intervals }] of this.#pods) {
      const young = intervals.findIndex((counts) => counts.interval >= oldest);
      intervals.splice(0, young === -1 ? intervals.length : young);
      if (intervals.length === 0 && this.#gone.delete(uid)) this.#pods.delete(uid);
    }
  }

  get series(): readonly PodSeries[] {
    return Array.from(this.#pods, ([pod, { revision, passedOnTo, intervals }]) => ({
      pod,
      revision,
      passedOnTo,
      intervals,
    }));
  }
}

type Counts = Omit<IntervalCounts, 'interval'>;

/** A process that began anew has counted everything since. */
function differenceOf(before: Totals, after: Totals, hasLatency: boolean): Counts {
  const isSame = before.nonce === after.nonce;
  const { measures, passedOn } = after.figures;
  const old = isSame ? before.figures.measures : undefined;
  const oldPassedOn =
    isSame && before.figures.passedOn?.revision === passedOn?.revision ? before.figures.passedOn : undefined;
  const since = (now = 0, then = 0) => Math.max(0, now - then);
  return {
    requests: since(measures.counters.requests, old?.counters.requests),
    failed: since(measures.counters.failed, old?.counters.failed),
    buckets: hasLatency
      ? bucketsOf(measures.latency.buckets.map((count, bucket) => since(count, old?.latency.buckets[bucket])))
      : noBuckets,
    passedOn: since(passedOn?.requests, oldPassedOn?.requests),
    passedOnFailed: since(passedOn?.failed, oldPassedOn?.failed),
    saturated: since(passedOn?.saturated, oldPassedOn?.saturated),
    compared: since(passedOn?.compared, oldPassedOn?.compared),
    differing: since(passedOn?.differing, oldPassedOn?.differing),
  };
}

function isNothing({ buckets: _, ...counts }: Counts): boolean {
  return Object.values(counts).every((count) => count === 0);
}
