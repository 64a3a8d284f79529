/** Coefficients of the Lanczos approximation with g = 7 and nine terms, good to 15 digits. */
const lanczos = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];
const lanczosG = 7;

/** The logarithm of the gamma function of a positive number (C. Lanczos, SIAM J. Numer. Anal. B 1, 1964). */
export function logGamma(x: number): number {
  // The reflection formula.
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const base = x + lanczosG - 0.5;
  const series = lanczos.reduce(
    (sum, coefficient, index) => sum + (index === 0 ? coefficient : coefficient / (x + index - 1)),
  );
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(base) - base + Math.log(series);
}

/** The logarithm of the beta function of two positive numbers. */
export function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

const mostTerms = 10_000;
const smallest = 1e-300;
const precision = 1e-14;

/**
 * The logarithm of the probability that a beta distribution is at most x: of the regularised incomplete beta function, by its
 * continued fraction (DLMF 8.17.22, https://dlmf.nist.gov/8.17), evaluated by Lentz's method. The logarithm keeps what is
 * too small for a double.
 *
 * @param a positive
 * @param b positive
 */
export function logBetaBelow(x: number, a: number, b: number): number {
  if (x <= 0) return Number.NEGATIVE_INFINITY;
  if (x >= 1) return 0;
  // The fraction converges quickly below the mean; above it, the other tail is taken.
  if (x < (a + 1) / (a + b + 2)) return logTail(x, a, b);
  return Math.log1p(-Math.exp(logTail(1 - x, b, a)));
}

/** The same above x. */
export function logBetaAbove(x: number, a: number, b: number): number {
  return logBetaBelow(1 - x, b, a);
}

function logTail(x: number, a: number, b: number): number {
  const front = a * Math.log(x) + b * Math.log1p(-x) - Math.log(a) - logBeta(a, b);
  let d = 1 / awayFromZero(1 - ((a + b) * x) / (a + 1));
  let c = 1;
  let fraction = d;
  for (let m = 1; m <= mostTerms; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / awayFromZero(1 + even * d);
    c = awayFromZero(1 + even / c);
    fraction *= c * d;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / awayFromZero(1 + odd * d);
    c = awayFromZero(1 + odd / c);
    fraction *= c * d;
    if (Math.abs(c * d - 1) < precision) break;
  }
  return front + Math.log(fraction);
}

function awayFromZero(value: number): number {
  return Math.abs(value) < smallest ? smallest : value;
}
