import { bucketOf, edgeOf, mostBuckets } from '../../../contract/src/histogram.ts';
import type { Gate, Measurement } from '../api/model-deployment.ts';
import { discounted, type RateVariance, rateVariances, sumOf } from './design-effect.ts';
import { countedIntervals, leastIntervals, strongestEvidence } from './evidence.ts';
import { beyond, cellsOf, groupsOf, type IntervalCounts, type PodSeries, type Span, sampleOf } from './pod-series.ts';
import { type Count, type Interval, intervalOf, logEvidenceAbove, logEvidenceBelow } from './proportion.ts';
import { judgeQuery, type QueryAnswer } from './query-gate.ts';

/** What is known of a step of a canary. */
export interface StepFigures {
  /** Of the revision that serves, and of the one that is tried. */
  readonly stable: readonly PodSeries[];
  readonly canary: readonly PodSeries[];
  /** The whole intervals of the step. */
  readonly step: Span;
  /** How many of those there were at most of which nothing is known any more. */
  readonly forgotten: number;
  /** Those that are known of the revision that serves. */
  readonly history: Span;
  /** Whether pods of the revision that serves pass requests on, and count what became of them. */
  readonly isPassedOn: boolean;
  /** What queries of Prometheus have given, by the names of their gates. */
  readonly queries: ReadonlyMap<string, QueryAnswer>;
}

export interface GateSettings {
  /** The error that is allowed to this gate in this step. */
  readonly alpha: number;
  /** With fewer, nothing is passed for want of evidence. */
  readonly minRequests: number;
}

/** A gate in words. */
export function gateInWords(gate: Gate): string {
  const { metric, max = '', min = '', percentile = 0, maxMilliseconds = 0, name = '' } = gate;
  switch (metric) {
    case 'ErrorRate':
      return `ErrorRate at most ${max}`;
    case 'Latency':
      return `Latency p${percentile} at most ${maxMilliseconds}ms`;
    case 'LatencyVersusStable':
      return `Latency p${percentile} at most ${max} of stable's`;
    case 'Agreement':
      return `Agreement at least ${min}`;
    case 'PromQL':
      return `PromQL ${name} at ${max === '' ? `least ${min}` : `most ${max}`}`;
  }
}

/** What a gate has found, and whether the step may end with that. */
export interface Judgement {
  readonly measurement: Measurement;
  /** Passed, or nothing speaks against the canary in requests and intervals enough. */
  readonly isPassable: boolean;
}

/**
 * Judges a canary by a gate: `Failed` once the bound is excluded at the confidence of the gate, however often it is looked at;
 * `Passed` once it is excluded on the other side; `Inconclusive` otherwise.
 */
export function judge(gate: Gate, figures: StepFigures, settings: GateSettings): Judgement {
  switch (gate.metric) {
    case 'ErrorRate':
      // What a canary has not answered is known by the pods that asked it: one that has crashed tells nothing.
      return figures.isPassedOn
        ? judgeShare(gate, figures.stable, shareOf(gate.max), figures, settings, {
            counted: ({ passedOn, passedOnFailed, saturated }) => ({
              bad: passedOnFailed,
              total: passedOn - saturated,
            }),
            historical: ownErrors,
          })
        : judgeShare(gate, figures.canary, shareOf(gate.max), figures, settings, {
            counted: ownErrors,
            historical: ownErrors,
          });
    case 'Latency': {
      const beyondMax = beyond(bucketOf((gate.maxMilliseconds ?? 0) / 1000));
      const share = 1 - (gate.percentile ?? 0) / 100;
      return judgeShare(gate, figures.canary, share, figures, settings, { counted: beyondMax, historical: beyondMax });
    }
    case 'LatencyVersusStable':
      return judgeQuantiles(gate, figures, settings);
    case 'Agreement':
      // Of answers that differ: no history shows how those come together.
      return judgeShare(gate, figures.stable, 1 - shareOf(gate.min), figures, settings, {
        counted: ({ compared, differing }) => ({ bad: differing, total: compared }),
        historical: () => ({ bad: 0, total: 0 }),
      });
    case 'PromQL': {
      const answer = figures.queries.get(gate.name ?? '');
      const measurement = judgeQuery(gate, gateInWords(gate), answer, figures.step);
      return { measurement, isPassable: measurement.verdict === 'Passed' };
    }
  }
}

const ownErrors = ({ requests, failed }: IntervalCounts): Count => ({ bad: failed, total: requests });

/** A percentage as a share. */
function shareOf(percentage = '0%'): number {
  return Number(percentage.slice(0, -1)) / 100;
}

/** Counts that are so far above their bound let no step end, whatever chance and bursts may have made of them. */
const timesFarAbove = 3;
const leastBad = 4;

interface Counting {
  readonly counted: (counts: IntervalCounts) => Count;
  /** The same of the revision that serves, which shows how it comes together. */
  readonly historical: (counts: IntervalCounts) => Count;
}

function judgeShare(
  gate: Gate,
  pods: readonly PodSeries[],
  bound: number,
  figures: StepFigures,
  { alpha, minRequests }: GateSettings,
  { counted: countOf, historical }: Counting,
): Judgement {
  const cells = cellsOf(groupsOf(pods), figures.step, countOf);
  const raw = sumOf(cells.flat());
  if (raw.total === 0) return nothingCounted(gate, 0);
  const variances = rateVariances(cellsOf(sampleOf(figures.stable), figures.history, historical));
  const answering = Math.max(1, figures.canary.length);
  const evidence = strongestEvidence(cells, variances, bound, answering, figures.forgotten);
  const whole = discounted(cells, variances, bound, answering);
  const verdict = verdictOf(evidence?.logEvidence, logEvidenceBelow(whole, bound), alpha);
  const isEnough = evidence !== undefined && raw.total >= minRequests;
  const isFarAbove = raw.bad >= leastBad && raw.bad > timesFarAbove * bound * raw.total;
  const speaksAgainst = isFarAbove || logEvidenceAbove(whole, bound) > 0 || (evidence?.logEvidence ?? 0) > 0;
  const shown =
    verdict === 'Failed' && evidence !== undefined
      ? {
          cells: evidence.window,
          count: discounted(evidence.window, variances, bound, answering),
          alpha: alpha * evidence.weight,
        }
      : { cells, count: whole, alpha: alpha / 2 };
  return {
    measurement: {
      gate: gateInWords(gate),
      verdict,
      ...shareInWords(shown.cells, intervalOf(shown.count, shown.alpha)),
    },
    // An e-value of 1 speaks for neither side.
    isPassable: verdict === 'Passed' || (verdict === 'Inconclusive' && isEnough && !speaksAgainst),
  };
}

function shareInWords(cells: readonly (readonly Count[])[], { lower, upper }: Interval) {
  const { bad, total } = sumOf(cells.flat());
  return { requests: total, value: percent(bad / total), lower: percent(lower), upper: percent(upper) };
}

function nothingCounted(gate: Gate, requests: number): Judgement {
  return { measurement: { gate: gateInWords(gate), verdict: 'Inconclusive', requests }, isPassable: false };
}

/** @param above undefined where there are too few intervals to tell */
function verdictOf(above: number | undefined, below: number, alpha: number): Measurement['verdict'] {
  const threshold = -Math.log(alpha);
  if (above === undefined) return 'Inconclusive';
  if (above >= threshold) return 'Failed';
  return below >= threshold ? 'Passed' : 'Inconclusive';
}

/**
 * Compares a quantile of the canary's latency with stable's. The quantile is above an edge of the histogram if the share of
 * answers beyond it is above one less the quantile's, and the other way round; larger edges have less beyond them, so asking
 * at every edge costs no confidence. Each side has half of the error.
 */
function judgeQuantiles(gate: Gate, figures: StepFigures, { alpha, minRequests }: GateSettings): Judgement {
  const share = 1 - (gate.percentile ?? 0) / 100;
  const known = new Map<number, readonly RateVariance[]>();
  const sample = sampleOf(figures.stable);
  const variancesAt = (bucket: number) => {
    const variances = known.get(bucket) ?? rateVariances(cellsOf(sample, figures.history, beyond(bucket)));
    known.set(bucket, variances);
    return variances;
  };
  const canary = quantileOf(groupsOf(figures.canary), figures.step, share, alpha / 2, variancesAt);
  const stable = quantileOf(groupsOf(figures.stable), figures.step, share, alpha / 2, variancesAt);
  if (canary.value === undefined || stable.value === undefined) return nothingCounted(gate, canary.requests);
  const bound = shareOf(gate.max);
  const lower = stable.upper === Number.POSITIVE_INFINITY ? 0 : canary.lower / stable.upper;
  const upper = stable.lower === 0 ? Number.POSITIVE_INFINITY : canary.upper / stable.lower;
  const isEarly = countedIntervals(cellsOf(figures.canary, figures.step, beyond(0))) < leastIntervals;
  const verdict = isEarly || (lower < bound && upper > bound) ? 'Inconclusive' : lower >= bound ? 'Failed' : 'Passed';
  const ratio = canary.value / stable.value;
  const isEnough = !isEarly && canary.requests >= minRequests;
  return {
    measurement: {
      gate: gateInWords(gate),
      verdict,
      requests: canary.requests,
      // The last bucket has no end.
      ...(Number.isFinite(ratio) ? { value: percent(ratio) } : {}),
      lower: percent(lower),
      ...(Number.isFinite(upper) ? { upper: percent(upper) } : {}),
    },
    // The values are edges of buckets: one bucket more may be chance.
    isPassable: verdict === 'Passed' || (verdict === 'Inconclusive' && isEnough && ratio <= bound * bucketRatio),
  };
}

/** From one edge of the histogram to the next. */
const bucketRatio = edgeOf(2) / edgeOf(1);

interface Quantile {
  readonly requests: number;
  /** In seconds: the upper edge of its bucket; undefined where there is none. */
  readonly value: number | undefined;
  readonly lower: number;
  readonly upper: number;
}

function quantileOf(
  pods: readonly PodSeries[],
  span: Span,
  share: number,
  alpha: number,
  variancesAt: (bucket: number) => readonly RateVariance[],
): Quantile {
  const threshold = -Math.log(alpha);
  const totals = totalsOf(pods, span);
  const requests = totals.reduce((sum, count) => sum + count, 0);
  if (requests === 0) return { requests, value: undefined, lower: 0, upper: Number.POSITIVE_INFINITY };
  const countAt = (bucket: number) => discounted(cellsOf(pods, span, beyond(bucket)), variancesAt(bucket), share);
  const isAbove = (bucket: number) => logEvidenceAbove(countAt(bucket), share) >= threshold;
  const isBelow = (bucket: number) => logEvidenceBelow(countAt(bucket), share) >= threshold;
  const found = bucketOfQuantile(totals, share * requests);
  // The further from the quantile, the more evidence: each end is searched for by halving.
  const above = lastThat(isAbove, -1, found);
  const below = lastThat((bucket) => !isBelow(bucket), found - 1, mostBuckets);
  return {
    requests,
    value: edgeOf(found),
    lower: above < 0 ? 0 : edgeOf(above),
    upper: below + 1 >= mostBuckets ? Number.POSITIVE_INFINITY : edgeOf(below + 1),
  };
}

function totalsOf(pods: readonly PodSeries[], { first, last }: Span): readonly number[] {
  const totals = Array<number>(mostBuckets).fill(0);
  for (const { intervals } of pods) {
    for (const { interval, buckets } of intervals) {
      if (interval < first || interval > last) continue;
      const { first: begin, counts } = buckets;
      for (const [index, count] of counts.entries()) totals[begin + index] = (totals[begin + index] ?? 0) + count;
    }
  }
  return totals;
}

/** The first bucket that has no more than so many values beyond it. */
function bucketOfQuantile(totals: readonly number[], allowed: number): number {
  let beyondIt = 0;
  for (let bucket = totals.length - 1; bucket >= 0; bucket--) {
    beyondIt += totals[bucket] ?? 0;
    if (beyondIt > allowed) return bucket;
  }
  return 0;
}

/** The last number that something holds for which holds up to some number above `from`, and not at `to`. */
function lastThat(holds: (bucket: number) => boolean, from: number, to: number): number {
  let [low, high] = [from, to];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Whether a canary has had no room for requests in the last intervals of a step. */
export function isSaturated({ stable, step: { last } }: StepFigures): boolean {
  const recent = stable.flatMap(({ intervals }) =>
    intervals.filter(({ interval }) => interval > last - saturatedIntervals),
  );
  const saturated = recent.reduce((sum, counts) => sum + counts.saturated, 0);
  return saturated > mostSaturated * recent.reduce((sum, counts) => sum + counts.passedOn, 0);
}

const saturatedIntervals = 2;
const mostSaturated = 0.01;

/** Whether a canary has turned most requests away in so many intervals, the last ones of a step. */
export function turnsMostAway({ stable, step: { first, last } }: StepFigures, intervals: number): boolean {
  if (last - first + 1 < intervals) return false;
  const recent = stable.flatMap((pod) => pod.intervals.filter(({ interval }) => interval > last - intervals));
  const total = recent.reduce((sum, { passedOn }) => sum + passedOn, 0);
  return total > 0 && recent.reduce((sum, { saturated }) => sum + saturated, 0) > total / 2;
}

/** With three significant digits. */
function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))}%`;
}
