/** Divisors of the suffixes below one: dividing is exact where multiplying by 0.001 is not. */
const divisors: Readonly<Record<string, number>> = { n: 1e9, u: 1e6, m: 1e3 };

/** Factors of the suffixes of a quantity (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/). */
const suffixes: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The value of a quantity such as `250m` or `2Gi`; undefined if it is none. */
export function parseQuantity(quantity: string | number): number | undefined {
  const [, digits, exponent, suffix] = /^([+-]?[\d.]+)(?:([eE][+-]?\d+)|([a-zA-Z]*))$/.exec(String(quantity)) ?? [];
  const [divisor, factor] = [divisors[suffix ?? ''], suffixes[suffix ?? '']];
  const value = Number(`${digits}${exponent ?? ''}`);
  if (digits === undefined || Number.isNaN(value)) return undefined;
  if (divisor !== undefined) return value / divisor;
  return factor === undefined ? undefined : value * factor;
}
