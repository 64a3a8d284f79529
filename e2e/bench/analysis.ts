/**
 * What an analysis of a canary makes of versions that are no worse and of versions that are, beside the rules of Argo Rollouts
 * and Flagger, on the same simulated requests.
 */
import { type RateVariance, rateVariances, sumOf } from '../../operator/src/analysis/design-effect.ts';
import { strongestEvidence } from '../../operator/src/analysis/evidence.ts';
import type { Count } from '../../operator/src/analysis/proportion.ts';
import { print } from '../cluster/progress.ts';

/** Seconds between two looks of an analysis; the other two look each minute. */
const intervalSeconds = 15;
const intervalsPerMinute = 60 / intervalSeconds;
/** Of a canary of three steps of ten minutes, and what its pods are sent in each interval. */
const steps = [
  { intervals: 10 * intervalsPerMinute, requests: 30 },
  { intervals: 10 * intervalsPerMinute, requests: 150 },
  { intervals: 10 * intervalsPerMinute, requests: 300 },
] as const;
const pods = 2;
/** What runs beside it: two hours of it are known, of so many requests for each pod in an interval, at a share of the errors that are allowed. */
const stable = { pods: 4, intervals: 120 * intervalsPerMinute, requests: 150, share: 0.5 } as const;
const confidence = 0.99;

/** A random number from 0 to 1. */
type Random = () => number;

/** Mulberry32, of which each seed gives another sequence. */
function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How many of so many independent requests fail. */
function binomial(random: Random, total: number, probability: number): number {
  let bad = 0;
  for (let request = 0; request < total; request++) if (random() < probability) bad++;
  return bad;
}

/** The errors of one pod, interval after interval. */
type Errors = (total: number) => number;

/** How errors come to the pods of one track, at the same rate on average. */
type Stream = (random: Random, rate: number, pods: number) => readonly Errors[];

/** Each pod has errors of its own. */
const own =
  (errors: (random: Random, rate: number) => Errors): Stream =>
  (random, rate, pods) =>
    Array.from({ length: pods }, () => errors(random, rate));

const kinds: Readonly<Record<string, (random: Random, rate: number) => Errors>> = {
  independent: (random, rate) => (total) => binomial(random, total, rate),
  // A tenth of the time everything is five times as bad, for two minutes on average.
  'in bursts': (random, rate) => {
    let isBurst = random() < 0.1;
    return (total) => {
      if (random() < 1 / (2 * intervalsPerMinute)) isBurst = random() < 0.1;
      return binomial(random, total, Math.min(1, (isBurst ? 5 : 5 / 9) * rate));
    };
  },
  // The rate itself wanders: the exponential of an AR(1) process whose intervals share 0.8.
  autocorrelated: (random, rate) => {
    const spread = 0.5;
    const share = 0.8;
    let level = spread * normal(random);
    return (total) => {
      level = share * level + spread * Math.sqrt(1 - share ** 2) * normal(random);
      return binomial(random, total, Math.min(1, rate * Math.exp(level - spread ** 2 / 2)));
    };
  },
  // Each pod stands still now and then: an interval in which every tenth request fails, made up for in the others.
  'with pauses': (random, rate) => {
    const share = rate / 10;
    return (total) => binomial(random, total, random() < share ? 0.1 + rate : rate * 0.9);
  },
};

/** All pods of a track are in a burst at once: what they hang on is slow, say. */
const sharedBursts: Stream = (random, rate, pods) => {
  let isBurst = random() < 0.1;
  return Array.from({ length: pods }, (_, pod) => (total: number) => {
    if (pod === 0 && random() < 1 / (2 * intervalsPerMinute)) isBurst = random() < 0.1;
    return binomial(random, total, Math.min(1, (isBurst ? 5 : 5 / 9) * rate));
  });
};

/** The rate of all pods of a track wanders together. */
const sharedAutocorrelation: Stream = (random, rate, pods) => {
  const spread = 0.5;
  const share = 0.8;
  let level = spread * normal(random);
  return Array.from({ length: pods }, (_, pod) => (total: number) => {
    if (pod === 0) level = share * level + spread * Math.sqrt(1 - share ** 2) * normal(random);
    return binomial(random, total, Math.min(1, rate * Math.exp(level - spread ** 2 / 2)));
  });
};

const streams: Readonly<Record<string, Stream>> = {
  ...Object.fromEntries(Object.entries(kinds).map(([name, errors]) => [name, own(errors)])),
  'in bursts that pods share': sharedBursts,
  'autocorrelated together': sharedAutocorrelation,
};

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Whether a version is rolled back, by the cells of each interval of the step under way and by what is known of stable's; asked after each. */
type Rule = (intervals: readonly (readonly Count[])[], max: number, variances: readonly RateVariance[]) => boolean;

const rules: Readonly<Record<string, () => Rule>> = {
  Slipway: () => {
    const threshold = Math.log(steps.length / (1 - confidence));
    return (intervals, max, variances) =>
      (strongestEvidence(intervals, variances, max, pods)?.logEvidence ?? 0) >= threshold;
  },
  // The documentation's example: a measurement each minute, failureLimit 3, over the whole of a rollout.
  'Argo Rollouts': () => pointEstimates(3),
  // The documentation's example: each minute, threshold 5.
  Flagger: () => pointEstimates(4),
};

/** Fails when more than so many minutes were above the threshold. */
function pointEstimates(allowed: number): Rule {
  let failed = 0;
  return (intervals, max) => {
    if (intervals.length % intervalsPerMinute !== 0) return false;
    const { bad, total } = sumOf(intervals.slice(-intervalsPerMinute).flat());
    if (total > 0 && bad / total > max) failed++;
    return failed > allowed;
  };
}

interface Outcome {
  /** The step in which it was rolled back, from 0; infinity if it was promoted. */
  readonly step: number;
  /** Bad answers that were given until then. */
  readonly bad: number;
}

function rollOut(stream: Stream, rate: number, max: number, seed: number) {
  const running = new Map(Object.entries(rules).map(([name, rule]) => [name, rule()]));
  const outcomes = new Map<string, Outcome>();
  const random = randomOf(seed);
  const errors = stream(random, rate, pods);
  let bad = 0;
  const ofStable = stream(random, stable.share * max, stable.pods);
  const variances = rateVariances(
    Array.from({ length: stable.intervals }, () =>
      ofStable.map((errorsOf) => ({ bad: errorsOf(stable.requests), total: stable.requests })),
    ),
  );
  for (const [step, { intervals: length, requests }] of steps.entries()) {
    const intervals: Count[][] = [];
    for (let interval = 0; interval < length; interval++) {
      const total = Math.round(requests / pods);
      const cells = errors.map((errorsOf) => ({ bad: errorsOf(total), total }));
      bad += sumOf(cells).bad;
      intervals.push(cells);
      for (const [name, rule] of running) {
        if (!outcomes.has(name) && rule(intervals, max, variances)) outcomes.set(name, { step, bad });
      }
    }
  }
  return (name: string): Outcome => outcomes.get(name) ?? { step: Number.POSITIVE_INFINITY, bad };
}

/** Error rates that the gate allows at most. */
const thresholds = [0.001, 0.01, 0.05];
/** How many times as many errors a version gives: up to 1 it is no worse than is allowed. */
const factors = [0.5, 1, 1.5, 2, 5, 10];

/** Prints, for each kind of stream, the share of versions that each rule has rolled back, and what they cost until then. */
export function benchAnalysis({ rollouts }: { readonly rollouts: number }): void {
  print(
    `${rollouts} rollouts each, of ${steps.length} steps. Percent rolled back by the end of each step, and bad answers until then:`,
  );
  for (const [name, stream] of Object.entries(streams)) {
    print(`\nErrors ${name}\n`);
    print(`| allowed | of that | ${Object.keys(rules).join(' | ')} |`);
    print(`| --- | --- |${' --- |'.repeat(Object.keys(rules).length)}`);
    for (const max of thresholds) {
      for (const factor of factors) {
        const seen = Array.from({ length: rollouts }, (_, seed) => rollOut(stream, max * factor, max, seed + 1));
        const cells = Object.keys(rules).map((rule) => tell(seen.map((outcomeOf) => outcomeOf(rule))));
        print(`| ${100 * max} % | ${factor} | ${cells.join(' | ')} |`);
      }
    }
  }
}

function tell(outcomes: readonly Outcome[]): string {
  const caught = steps.map((_, step) => outcomes.filter((outcome) => outcome.step <= step).length / outcomes.length);
  const bad = outcomes.reduce((sum, outcome) => sum + outcome.bad, 0) / outcomes.length;
  return `${caught.map((share) => (100 * share).toFixed(1)).join(' / ')}, ${bad.toFixed(0)}`;
}
