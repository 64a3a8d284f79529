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
  /** By revision. */
  readonly #gone = new Map<string, PodSeries>();
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

  /** The pod is gone; what it has counted stays, as one with that of others of its revision that are gone. */
  end(pod: string): void {
    const ended = this.#pods.get(pod);
    this.#pods.delete(pod);
    if (ended === undefined || ended.intervals.length === 0) return;
    const { revision, passedOnTo } = ended;
    const before = this.#gone.get(revision);
    const intervals = before === undefined ? ended.intervals : togetherOf(before.intervals, ended.intervals);
    this.#gone.set(revision, { pod: `gone of ${revision}`, revision, passedOnTo, intervals });
    // Of many revisions, the last ones.
    for (const [oldest] of this.#gone) if (this.#gone.size > mostGone) this.#gone.delete(oldest);
  }

  /** However seldom a pod is asked: no step lasts longer. */
  #forgetOld(interval: number): void {
    this.#newest = interval;
    const oldest = interval - Math.ceil(keptSeconds / this.intervalSeconds);
    for (const { intervals } of this.#pods.values()) {
      const young = intervals.findIndex((counts) => counts.interval >= oldest);
      intervals.splice(0, young === -1 ? intervals.length : young);
    }
    for (const [revision, { intervals }] of this.#gone)
      if ((intervals.at(-1)?.interval ?? 0) < oldest) this.#gone.delete(revision);
  }

  get series(): readonly PodSeries[] {
    const living = Array.from(this.#pods, ([pod, { revision, passedOnTo, intervals }]) => ({
      pod,
      revision,
      passedOnTo,
      intervals,
    }));
    return [...living, ...this.#gone.values()];
  }
}

const mostGone = 8;

/** The newest intervals of two, each once. */
function togetherOf(a: readonly IntervalCounts[], b: readonly IntervalCounts[]): readonly IntervalCounts[] {
  const together = new Map<number, IntervalCounts>();
  for (const counts of [...a, ...b]) {
    const known = together.get(counts.interval);
    together.set(counts.interval, known === undefined ? counts : totalOf(known, counts));
  }
  return Array.from(together.values())
    .toSorted((one, other) => one.interval - other.interval)
    .slice(-mostIntervals);
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
