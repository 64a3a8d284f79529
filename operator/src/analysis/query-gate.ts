import type { Gate, Measurement } from '../api/model-deployment.ts';
import type { Span } from './pod-series.ts';

/** What a query of Prometheus has given. */
export type QueryAnswer =
  | { readonly kind: 'values'; readonly values: readonly QueryValue[] }
  | { readonly kind: 'failed'; readonly why: string };

/** What it gave at the end of an interval; NaN stands for no number. */
export interface QueryValue {
  readonly interval: number;
  readonly value: number;
}

/** What may stand in a query, and what it stands for. */
export interface QueryNames {
  readonly namespace: string;
  readonly name: string;
  readonly revision: string;
  readonly stableRevision: string;
  readonly interval: string;
}

/** A query with names filled in for `$namespace`, `$name`, `$revision`, `$stableRevision` and `$interval`. */
export function filledQuery(query: string, names: QueryNames): string {
  const filled: Readonly<Record<string, string>> = { ...names };
  return query.replaceAll(/\$(\w+)/g, (text, name: string) => filled[name] ?? text);
}

/**
 * So many intervals in succession decide. A number out of Prometheus has no sample size that could be reasoned with, so this
 * is a rule of thumb and no test: a query that is beyond its bound now and then, by chance, fails nothing.
 */
const successive = 4;

/**
 * Judges what a query gave in a step: `Failed` once it was beyond the bound at the ends of four intervals in succession, those
 * without a number left out; `Passed` while it has been within at the last four; `Inconclusive` otherwise.
 *
 * @param words the gate in words
 */
export function judgeQuery(
  { max, min }: Gate,
  words: string,
  answer: QueryAnswer | undefined,
  { first, last }: Span,
): Measurement {
  const unknown = { gate: words, verdict: 'Inconclusive', requests: 0 } as const;
  if (answer === undefined) return unknown;
  if (answer.kind === 'failed') return { ...unknown, message: answer.why };
  const told = answer.values.filter(
    ({ interval, value }) => interval >= first && interval <= last && !Number.isNaN(value),
  );
  const values = told.map(({ value }) => value);
  const newest = values.at(-1);
  if (newest === undefined) return { ...unknown, message: 'the query gives no number' };
  const isOld = (told.at(-1)?.interval ?? 0) < last - successive;
  const isWithin = (value: number) =>
    (max === undefined || value <= Number(max)) && (min === undefined || value >= Number(min));
  const runs = values
    .map((_, index) => values.slice(index, index + successive))
    .filter(({ length }) => length === successive);
  const hasFailed = runs.some((run) => !run.some(isWithin));
  const hasPassed = runs.at(-1)?.every(isWithin) === true;
  return {
    gate: words,
    verdict: hasFailed ? 'Failed' : hasPassed && !isOld ? 'Passed' : 'Inconclusive',
    requests: values.length,
    value: String(Number(newest.toPrecision(4))),
    ...(isOld ? { message: 'the query gives no number any more' } : {}),
  };
}
