import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { logBetaAbove, logBetaBelow, logGamma } from './beta-distribution.ts';
import { intervalOf, logEvidenceAbove, logEvidenceBelow } from './proportion.ts';

const between = (min: number, max: number) => fc.double({ min, max, noNaN: true });

describe('the beta distribution', () => {
  test('has the values that can be written down', () => {
    for (let n = 1; n < 20; n++) {
      const factorial = Array.from({ length: n }, (_, index) => index + 1).reduce((product, each) => product * each, 1);
      expect(logGamma(n + 1)).toBeCloseTo(Math.log(factorial), 10);
    }
    expect(logGamma(0.5)).toBeCloseTo(Math.log(Math.PI) / 2, 12);
    for (const x of [0.001, 0.1, 0.5, 0.9, 0.999]) {
      expect(Math.exp(logBetaBelow(x, 1, 7))).toBeCloseTo(1 - (1 - x) ** 7, 12);
      expect(Math.exp(logBetaBelow(x, 2, 3))).toBeCloseTo(x ** 2 * (6 - 8 * x + 3 * x ** 2), 12);
    }
  });

  test('is whole', () => {
    fc.assert(
      fc.property(between(1e-6, 1 - 1e-6), between(0.1, 1e5), between(0.1, 1e5), (x, a, b) => {
        expect(Math.exp(logBetaBelow(x, a, b)) + Math.exp(logBetaAbove(x, a, b))).toBeCloseTo(1, 8);
      }),
    );
  });
});

describe('the evidence about a proportion', () => {
  const counts = fc.record({ bad: fc.nat(200), good: fc.nat(20_000), bound: between(0.0005, 0.5) });

  test('is nothing before anything was counted', () => {
    expect(logEvidenceAbove({ bad: 0, total: 0 }, 0.01)).toBeCloseTo(0, 12);
    expect(logEvidenceBelow({ bad: 0, total: 0 }, 0.01)).toBeCloseTo(0, 12);
  });

  // So it is a martingale, and Ville's inequality says the rest.
  test('grows by nothing on average while the proportion is the bound', () => {
    fc.assert(
      fc.property(counts, ({ bad, good, bound }) => {
        const total = bad + good;
        for (const evidence of [logEvidenceAbove, logEvidenceBelow]) {
          const now = evidence({ bad, total }, bound);
          const ifBad = evidence({ bad: bad + 1, total: total + 1 }, bound);
          const ifGood = evidence({ bad, total: total + 1 }, bound);
          expect(bound * Math.exp(ifBad - now) + (1 - bound) * Math.exp(ifGood - now)).toBeCloseTo(1, 6);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('shrinks on average while the proportion is on the other side', () => {
    fc.assert(
      fc.property(counts, between(0.01, 0.99), ({ bad, good, bound }, share) => {
        const total = bad + good;
        const below = bound * share;
        const above = bound + (1 - bound) * share;
        const growth = (evidence: typeof logEvidenceAbove, actual: number) => {
          const now = evidence({ bad, total }, bound);
          const ifBad = evidence({ bad: bad + 1, total: total + 1 }, bound) - now;
          const ifGood = evidence({ bad, total: total + 1 }, bound) - now;
          return actual * Math.exp(ifBad) + (1 - actual) * Math.exp(ifGood);
        };
        expect(growth(logEvidenceAbove, below)).toBeLessThan(1 + 1e-6);
        expect(growth(logEvidenceBelow, above)).toBeLessThan(1 + 1e-6);
      }),
      { numRuns: 500 },
    );
  });

  test('finds what is worse in time', () => {
    // Of 10,000 at twice the bound, and of 1,000 at five times the bound.
    expect(logEvidenceAbove({ bad: 200, total: 10_000 }, 0.01)).toBeGreaterThan(Math.log(1e6));
    expect(logEvidenceAbove({ bad: 50, total: 1000 }, 0.01)).toBeGreaterThan(Math.log(1e6));
    expect(logEvidenceAbove({ bad: 1, total: 10 }, 0.01)).toBeLessThan(Math.log(100));
  });
});

describe('the interval of a proportion', () => {
  test('holds the mean, narrows, and is wider for more confidence', () => {
    fc.assert(
      fc.property(fc.nat(100), fc.integer({ min: 1, max: 10_000 }), (bad, good) => {
        const total = bad + good;
        const loose = intervalOf({ bad, total }, 0.05);
        const strict = intervalOf({ bad, total }, 0.001);
        const later = intervalOf({ bad: 100 * bad, total: 100 * total }, 0.05);
        expect(loose.lower).toBeLessThanOrEqual(bad / total);
        expect(loose.upper).toBeGreaterThanOrEqual(bad / total);
        expect(strict.lower).toBeLessThanOrEqual(loose.lower);
        expect(strict.upper).toBeGreaterThanOrEqual(loose.upper);
        expect(later.upper - later.lower).toBeLessThan(loose.upper - loose.lower);
      }),
      { numRuns: 200 },
    );
  });

  test('says nothing of nothing', () => {
    expect(intervalOf({ bad: 0, total: 0 }, 0.01)).toEqual({ lower: 0, upper: 1 });
    const { lower, upper } = intervalOf({ bad: 0, total: 1000 }, 0.01);
    expect(lower).toBe(0);
    expect(upper).toBeGreaterThan(0.003);
    expect(upper).toBeLessThan(0.02);
  });
});
