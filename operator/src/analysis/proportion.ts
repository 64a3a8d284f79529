import { logBeta, logBetaAbove, logBetaBelow } from './beta-distribution.ts';

/** How many of so many were bad. The number may be a fraction, where counts were discounted for what they have in common. */
export interface Count {
  readonly bad: number;
  readonly total: number;
}

/**
 * The evidence that a proportion is above a bound, as the logarithm of an e-value: if it is not above, the probability that
 * the evidence ever reaches log(1/alpha), however often it is looked at, is at most alpha (Ville's inequality).
 *
 * It is the likelihood ratio of the counts, mixed over the proportions above the bound by distributions that are cut off
 * there: the method of mixtures of H. Robbins, Ann. Math. Stat. 41 (1970), in the beta-binomial form of S. Howard, A. Ramdas,
 * J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49 (2021). The
 * mixture is one half of a beta distribution that has the bound as its mean and is as wide as it, so that proportions of 1.5 to 10
 * times the bound weigh, and one half of the uniform one: when nearly everything is bad, few counts are enough.
 *
 * @param bound from 0 to 1, both excluded
 */
export function logEvidenceAbove(count: Count, bound: number): number {
  const near = logEvidence(count, bound, { a: 1, b: (1 - bound) / bound }, logBetaAbove);
  const far = logEvidence(count, bound, { a: 1, b: 1 }, logBetaAbove);
  const [larger, smaller] = near > far ? [near, far] : [far, near];
  return larger + Math.log1p(Math.exp(smaller - larger)) - Math.LN2;
}

/** The same that it is below a bound; the beta distribution alone. */
export function logEvidenceBelow(count: Count, bound: number): number {
  return logEvidence(count, bound, { a: 1, b: (1 - bound) / bound }, logBetaBelow);
}

/** @param logShare of a beta distribution, on the side of the bound that there is evidence for */
function logEvidence(
  { bad, total }: Count,
  bound: number,
  { a, b }: { readonly a: number; readonly b: number },
  logShare: typeof logBetaAbove,
): number {
  const good = total - bad;
  return (
    logBeta(a + bad, b + good) +
    logShare(bound, a + bad, b + good) -
    logBeta(a, b) -
    logShare(bound, a, b) -
    bad * Math.log(bound) -
    good * Math.log1p(-bound)
  );
}

export interface Interval {
  readonly lower: number;
  readonly upper: number;
}

const steps = 60;

/**
 * A confidence sequence of a proportion: the probability that it is ever below the interval is at most alpha, and so is the
 * probability that it is ever above.
 *
 * @param alpha from 0 to 1, both excluded
 */
export function intervalOf(count: Count, alpha: number): Interval {
  if (count.total === 0) return { lower: 0, upper: 1 };
  const threshold = -Math.log(alpha);
  const mean = count.bad / count.total;
  return {
    lower: mean === 0 ? 0 : edge(0, mean, (bound) => logEvidenceAbove(count, bound) >= threshold),
    upper: mean === 1 ? 1 : edge(1, mean, (bound) => logEvidenceBelow(count, bound) >= threshold),
  };
}

/** Where what holds at one end ceases to hold on the way to the other, where it does not. */
function edge(holds: number, fails: number, isExcluded: (bound: number) => boolean): number {
  let from = holds;
  let to = fails;
  for (let step = 0; step < steps; step++) {
    const middle = (from + to) / 2;
    if (isExcluded(middle)) from = middle;
    else to = middle;
  }
  return from;
}
