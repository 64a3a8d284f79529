import type { Count } from './proportion.ts';

/** Fewer blocks say little of how much they vary. */
const leastBlocks = 4;

/**
 * How many times as much counts vary as those of independent requests would, which have neither pods that are worse nor
 * times that are, for as far as they would at a rate of `bound`: that counts are bad in one half and good in the other, say, is
 * no reason to count a rate for little that is far above it. Pearson's statistic for the heterogeneity of proportions over its degrees of freedom, the dispersion of
 * P. McCullagh and J. A. Nelder, "Generalized Linear Models" (1989), section 4.5, of the cells themselves and of blocks of
 * 1, 2, 4... intervals, as long as there are four: what is long correlated shows in long blocks (the batch means of G. Fishman,
 * Management Science 24, 1978). The largest is the design effect of L. Kish, "Survey Sampling" (1965).
 *
 * @param intervals one after the other, each with the cells of its pods
 * @returns at least 1: that counts vary less than chance is chance
 */
export function designEffect(intervals: readonly (readonly Count[])[], bound: number): number {
  const sums = intervals.map(sumOf);
  const { bad, total } = sumOf(sums);
  let largest = Math.max(1, dispersion(intervals.flat()));
  for (let length = 1; sums.length >= leastBlocks * length; length *= 2) {
    largest = Math.max(largest, dispersion(blocksOf(sums, length)));
  }
  if (largest === 1) return 1;
  // Rates that vary by as much of their mean have a dispersion, less 1, that is in proportion to its odds.
  return 1 + (largest - 1) * Math.min(1, oddsOf(bound) / oddsOf(bad / total));
}

function oddsOf(rate: number): number {
  return rate / (1 - rate);
}

/** By how much rates vary beyond chance: variances relative to the square of the mean rate. */
export interface RateVariance {
  /** Over how many intervals each rate was counted. */
  readonly intervals: number;
  /** The mean of the rates. */
  readonly rate: number;
  /** Of what all pods have in common. */
  readonly shared: number;
  /** Of what each pod has of its own. */
  readonly own: number;
  /** Of freedom: how well these variances are known. */
  readonly degrees: number;
}

/**
 * How the errors of a long history come together, over 1, 2, 4... intervals: a canary's own is too short to show what lasts as
 * long as it has been there. The rates of single pods and those of all pods together tell what pods share, as the components
 * of variance do in S. Searle, G. Casella, C. McCulloch, "Variance Components" (1992), chapter 3.
 *
 * @param history intervals, one after the other, each with a cell for each pod, in the same order
 */
export function rateVariances(history: readonly (readonly Count[])[]): readonly RateVariance[] {
  const pods = history[0]?.length ?? 0;
  const histories = Array.from({ length: pods }, (_, pod) =>
    history.map((cells) => cells[pod] ?? { bad: 0, total: 0 }),
  );
  const sums = history.map(sumOf);
  const { bad, total } = sumOf(sums);
  const rate = total === 0 ? 0 : bad / total;
  const variances: RateVariance[] = [];
  for (let length = 1; sums.length >= leastBlocks * length; length *= 2) {
    const ofOne = relativeVariance(histories.flatMap((cells) => blocksOf(cells, length)));
    const blocks = blocksOf(sums, length);
    const ofAll = relativeVariance(blocks);
    const shared = pods < 2 ? ofOne : Math.min(ofOne, Math.max(0, (pods * ofAll - ofOne) / (pods - 1)));
    variances.push({ intervals: length, rate, shared, own: ofOne - shared, degrees: degreesOf(blocks) });
  }
  return variances;
}

/** With fewer, the upper end of a variance is anything. */
const leastDegrees = 5;

/**
 * How many independent values of a normal distribution would tell its variance as well as these cells tell theirs: few where one
 * cell is unlike all the others. By the kurtosis of their rates, which the variance of a variance depends on (G. Box,
 * "Non-normality and tests on variances", Biometrika 40, 1953).
 */
function degreesOf(cells: readonly Count[]): number {
  const rates = cells.filter(({ total }) => total > 0).map(({ bad, total }) => bad / total);
  const count = rates.length;
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / count;
  const moment = (power: number) => rates.reduce((sum, rate) => sum + (rate - mean) ** power, 0) / count;
  if (count < 2 || moment(2) === 0) return Math.max(1, count - 1);
  const kurtosis = moment(4) / moment(2) ** 2;
  return Math.min(count - 1, Math.max(leastDegrees, (2 * count) / (kurtosis - (count - 3) / (count - 1))));
}

function relativeVariance(cells: readonly Count[]): number {
  const { bad, total } = sumOf(cells);
  if (bad === 0) return 0;
  return (Math.max(0, dispersion(cells) - 1) * (1 - bad / total) * cells.length) / bad;
}

/** So many times as many errors as a history had may come in bursts that are as many times as large; more of them, in more bursts. */
const mostTimesLarger = 4;

/**
 * So many times what a history has shown is expected at most, for having more errors and for being known badly: with more, one
 * burst in an otherwise clean history blinds a gate to a canary that fails at everything; with less, versions are rolled back for
 * bursts that their history had too few of to show (e2e/bench/analysis.ts).
 */
const mostTimesTogether = 11;

/**
 * The design effect of counts that are bad at a rate of `bound` and vary as those of a history did: one burst in a history
 * without errors does not tell of bursts a hundred times as large. A variance that few blocks
 * have shown may well be larger than they have shown: it is taken at the upper end of its confidence interval. Rates of longer
 * times vary no more than those of shorter ones, and no less than if these were independent: where chance has hidden a
 * variance at one length, those at others tell of it.
 *
 * @param variances of the history, of `rateVariances`
 * @param pods that have answered
 */
export function expectedEffect(
  intervals: readonly (readonly Count[])[],
  variances: readonly RateVariance[],
  bound: number,
  pods: number,
): number {
  const { total } = sumOf(intervals.flat());
  const longest = variances.findLast((variance) => variance.intervals <= intervals.length);
  if (longest === undefined) return 1;
  const estimates = variances.map(
    ({ shared, own, intervals: length }) => (shared + own / pods) * Math.min(1, length / longest.intervals),
  );
  if (longest.rate === 0) return 1;
  const times = Math.min(bound / longest.rate, mostTimesLarger) * upperFactor(longest.degrees);
  return 1 + (total * Math.max(...estimates) * longest.rate * Math.min(times, mostTimesTogether)) / (1 - bound);
}

/** So sure is it that a variance is not larger than it is taken for. */
const quantileOfTwoAndAHalfPercent = -1.96;

/**
 * How many times an estimated variance the upper end of its confidence interval is: the degrees of freedom over the quantile of
 * chi-square, in the approximation of E. Wilson and M. Hilferty, Proc. Natl. Acad. Sci. 17 (1931).
 */
function upperFactor(degrees: number): number {
  const step = 2 / (9 * degrees);
  return 1 / Math.max(0.01, 1 - step + quantileOfTwoAndAHalfPercent * Math.sqrt(step)) ** 3;
}

/** Whole blocks, of which the last ends with the last interval. */
function blocksOf(sums: readonly Count[], length: number): readonly Count[] {
  const blocks = Math.floor(sums.length / length);
  const first = sums.length - blocks * length;
  return Array.from({ length: blocks }, (_, block) =>
    sumOf(sums.slice(first + block * length, first + (block + 1) * length)),
  );
}

function dispersion(cells: readonly Count[]): number {
  const counted = cells.filter(({ total }) => total > 0);
  const { bad, total } = sumOf(counted);
  if (counted.length < 2 || bad === 0 || bad === total) return 0;
  const mean = bad / total;
  const statistic = counted.reduce(
    (sum, cell) => sum + (cell.bad - cell.total * mean) ** 2 / (cell.total * mean * (1 - mean)),
    0,
  );
  return statistic / (counted.length - 1);
}

/** With one interval, versions are rolled back for what all pods share for minutes (e2e/bench/analysis.ts). */
const intervalsOfOneRequest = 2;

/**
 * All cells as one count, made as small as its information is: by what they show themselves of how errors come together, or
 * by what a history does, whichever is more. Two intervals count for one request at least, as if all of their requests shared one
 * fate: whatever a history has had, a canary that fails at everything is known by its intervals.
 *
 * @param variances of the history, of `rateVariances`; none where there is none
 * @param bound what the rate is to be compared with, from 0 to 1, both excluded
 * @param pods that have answered: those of the cells, unless others have counted for them
 */
export function discounted(
  intervals: readonly (readonly Count[])[],
  variances: readonly RateVariance[],
  bound: number,
  pods: number = Math.max(1, ...intervals.map((cells) => cells.length)),
): Count {
  const { bad, total } = sumOf(intervals.flat());
  const effect = Math.max(designEffect(intervals, bound), expectedEffect(intervals, variances, bound, pods));
  const counted = intervals.filter((cells) => cells.some((cell) => cell.total > 0)).length;
  const most = Math.max(1, (intervalsOfOneRequest * total) / Math.max(1, counted));
  return { bad: bad / Math.min(effect, most), total: total / Math.min(effect, most) };
}

export function sumOf(cells: readonly Count[]): Count {
  return cells.reduce((sum, { bad, total }) => ({ bad: sum.bad + bad, total: sum.total + total }), {
    bad: 0,
    total: 0,
  });
}
