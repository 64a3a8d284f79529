import { leastIntervals } from '../analysis/evidence.ts';
import type { StepFigures } from '../analysis/gates.ts';
import { mostIntervals, type PodSeries } from '../analysis/pod-series.ts';
import {
  type CanaryRecord,
  canaryPolicyOf,
  type Gate,
  type Measurement,
  type PolicyStep,
} from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import { canonical } from '../canonical.ts';
import type { Observed } from '../observed.ts';
import type { Canary } from './canary.ts';
import type { Revision } from './revision.ts';

/** The first whole interval of a step. An interval's number is its beginning, since 1970, over its length. */
export function firstInterval({ time }: Pick<CanaryRecord, 'time'>, intervalSeconds: number): number {
  return Math.floor(Date.parse(time) / (intervalSeconds * 1000)) + 1;
}

/** The whole intervals of the step that is under way, and what is known from before. */
export function figuresOf(
  { model, series, queries, countedSince }: Observed,
  { record, target, stable }: Canary,
  now: Date,
): StepFigures {
  const { analysis, routing } = canaryPolicyOf(model.spec);
  const { intervalSeconds } = analysis;
  const last = Math.floor(now.getTime() / (intervalSeconds * 1000)) - 1;
  const of = (revision: Revision) => series.filter((pod: PodSeries) => pod.revision === revision.metadata.name);
  const begin = firstInterval(record, intervalSeconds);
  // A leader that has just begun has counted nothing of what was before.
  const counted = Math.floor((countedSince ?? now.getTime()) / (intervalSeconds * 1000)) + 1;
  const first = Math.max(begin, counted);
  const dropped = series.flatMap(({ intervals: [oldest, ...rest] }) =>
    oldest === undefined || rest.length + 1 < mostIntervals ? [] : [oldest.interval],
  );
  return {
    stable: of(stable),
    canary: of(target),
    step: { first, last },
    forgotten: Math.max(first, ...dropped) - begin,
    history: { first: 0, last },
    isPassedOn: routing.kind === 'Pods',
    queries,
  };
}

/**
 * What a step is judged by: without a share, only what mirrored requests can tell; with all requests, what needs none that the
 * revision that serves answers, since there are none to compare with.
 */
export function gatesOf({ model }: Pick<Observed, 'model'>, { weight }: Pick<PolicyStep, 'weight'>): readonly Gate[] {
  const { analysis, mirrorPercent } = canaryPolicyOf(model.spec);
  if (weight === 100)
    return analysis.gates.filter(({ metric }) => metric !== 'Agreement' && metric !== 'LatencyVersusStable');
  if (weight > 0) return analysis.gates;
  return mirrorPercent === 0 ? [] : analysis.gates.filter(({ metric }) => metric !== 'ErrorRate');
}

/** Since when this leader has watched a step. */
export function watchedSince({ countedSince }: Observed, { time }: CanaryRecord, now: Date): string {
  return timestamp(new Date(Math.max(Date.parse(time), countedSince ?? now.getTime())));
}

/** A step lasts as long as it should, and until gates can tell anything. */
export function hasEnded(
  { holdSeconds }: PolicyStep,
  { time }: Pick<CanaryRecord, 'time'>,
  judged: StepFigures | undefined,
  now: Date,
): boolean {
  if (holdSeconds === undefined || now.getTime() < Date.parse(time) + holdSeconds * 1000) return false;
  return judged === undefined || judged.step.last - judged.step.first + 1 >= leastIntervals;
}

/** What a gate has found, in words. */
export function inWords({ gate, verdict, requests, value, lower, upper, message }: Measurement): string {
  if (value === undefined) return `${gate}: ${message ?? 'nothing was counted yet'}`;
  if (lower === undefined && upper === undefined) return `${gate}: ${value}, after ${requests} intervals`;
  const interval = `${lower ?? '0%'} to ${upper ?? 'anything'}`;
  const found = `${value} of ${requests} requests (surely ${interval})`;
  return verdict === 'Inconclusive' ? `${gate}: inconclusive, ${found}` : `${gate}: ${found}`;
}

/** Without figures, which change all the time. */
export function gatesOpen(open: readonly Measurement[]): string {
  return `inconclusive: ${open.map(({ gate, message }) => (message === undefined ? gate : `${gate} (${message})`)).join(', ')}`;
}

/** Figures change all the time: they are written anew with a verdict, and otherwise no more than once in an interval. */
export function withNews(
  { model }: Pick<Observed, 'model'>,
  record: CanaryRecord,
  measured: readonly Measurement[],
  isNews: boolean,
  now: Date,
): CanaryRecord {
  const { measurements = [], measuredTime } = record;
  const { intervalSeconds } = canaryPolicyOf(model.spec).analysis;
  const age = now.getTime() - Date.parse(measuredTime ?? '');
  // A leader whose clock was ahead may have written it.
  const isDue = !(age >= 0 && age < intervalSeconds * 1000);
  const changed = isDue ? canonical : verdictsOf;
  if (!isNews && changed(measurements) === changed(measured)) return record;
  return { ...record, measurements: [...measured], measuredTime: timestamp(now) };
}

function verdictsOf(measured: readonly Measurement[]): string {
  return canonical(measured.map(({ gate, verdict, message }) => ({ gate, verdict, message })));
}
