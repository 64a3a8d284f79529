import type { PodFigures } from '../../../contract/src/link.ts';
import type { IntervalCounts, PodSeries } from '../analysis/pod-series.ts';

/** How long counts are kept: so much of a history shows how errors come together. */
const keptMilliseconds = 2 * 3_600_000;

/** What a process has counted since it started. */
interface Totals {
  readonly nonce: string;
  readonly figures: PodFigures;
}

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
  readonly #pods = new Map<string, Recorded>();

  /** @param hasLatency whether histograms are kept as well, which take the most memory */
  constructor(intervalSeconds: number, hasLatency: boolean) {
    this.intervalSeconds = intervalSeconds;
    this.hasLatency = hasLatency;
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
    if (newest?.interval === interval) known.intervals.splice(-1, 1, sumOf(newest, counts));
    // What is idle takes no memory.
    else if (!isNothing(counts)) known.intervals.push({ ...counts, interval });
    const oldest = interval - Math.floor(keptMilliseconds / (this.intervalSeconds * 1000));
    while (known.intervals[0] !== undefined && known.intervals[0].interval < oldest) known.intervals.shift();
  }

  /** The pod is gone; what it has counted stays for as long as that of others. */
  end(pod: string, now: number): void {
    const oldest = Math.floor((now - keptMilliseconds) / (this.intervalSeconds * 1000));
    for (const [uid, { intervals }] of this.#pods) {
      if ((intervals.at(-1)?.interval ?? 0) < oldest || (uid === pod && intervals.length === 0)) this.#pods.delete(uid);
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

const noBuckets: readonly number[] = [];

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
      ? measures.latency.buckets.map((count, bucket) => since(count, old?.latency.buckets[bucket]))
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

function sumOf(a: IntervalCounts, b: Counts): IntervalCounts {
  const length = Math.max(a.buckets.length, b.buckets.length);
  return {
    interval: a.interval,
    requests: a.requests + b.requests,
    failed: a.failed + b.failed,
    buckets:
      length === 0
        ? noBuckets
        : Array.from({ length }, (_, bucket) => (a.buckets[bucket] ?? 0) + (b.buckets[bucket] ?? 0)),
    passedOn: a.passedOn + b.passedOn,
    passedOnFailed: a.passedOnFailed + b.passedOnFailed,
    saturated: a.saturated + b.saturated,
    compared: a.compared + b.compared,
    differing: a.differing + b.differing,
  };
}
