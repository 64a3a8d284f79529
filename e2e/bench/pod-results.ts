import type { Contender } from './contenders.ts';

/** What a server did at one number of connections. */
export interface Rate {
  readonly perSecond: number;
  /** What it computed for each request, in all its processes. */
  readonly microseconds: number;
}

/** Of one server and one case. */
export type Result =
  | {
      readonly kind: 'measured';
      readonly rates: readonly Rate[];
      readonly megabytes: number;
      /** Whether the client had no more to give, at any number of connections. */
      readonly clientBound: boolean;
    }
  | { readonly kind: 'failed'; readonly reason: string };

/** Of one case: what each server did. */
export interface Column {
  readonly title: string;
  readonly results: ReadonlyMap<Contender, Result>;
}

/** The better of two rounds: whatever else the machine does only slows them down. */
export function better(one: Result | undefined, other: Result): Result {
  if (one?.kind !== 'measured' || other.kind !== 'measured') return other;
  return {
    kind: 'measured',
    rates: one.rates.map(({ perSecond, microseconds }, index) => ({
      perSecond: Math.max(perSecond, other.rates[index]?.perSecond ?? 0),
      microseconds: Math.min(microseconds, other.rates[index]?.microseconds ?? Number.POSITIVE_INFINITY),
    })),
    megabytes: Math.max(one.megabytes, other.megabytes),
    clientBound: one.clientBound || other.clientBound,
  };
}

/** The lines of a case for a terminal. */
export function describeColumn({ title, results }: Column, connections: readonly number[]): readonly string[] {
  const lines = Array.from(results, ([contender, result]) => [contender.title, speedOf(result)] as const);
  const below = ratioKinds.map(({ title: name, kind }) => [name, ratios(results, kind)] as const);
  return [
    `${title}: requests a second at ${connections.join(' / ')} connections, and memory`,
    ...[...lines, ...below].map(([name, text]) => `  ${name.padEnd(50)} ${text}`),
  ];
}

/** All cases as tables in Markdown. */
export function describeTables(
  columns: readonly Column[],
  contenders: readonly Contender[],
  connections: readonly number[],
): string {
  const head = ['server', ...columns.map(({ title }) => title)];
  const rows = (describe: (result: Result) => string) =>
    contenders.map((each) => [each.title, ...columns.map(({ results }) => optional(results.get(each), describe))]);
  const below = ratioKinds.map(({ title, kind }) => [title, ...columns.map(({ results }) => ratios(results, kind))]);
  return [
    `Requests a second at ${connections.join(' / ')} connections, and memory afterwards; - is not spoken by the server, * was`,
    'limited by the client:',
    '',
    ...table(head, [...rows(speedOf), ...below]),
    '',
    `Microseconds computed for each request at ${connections.join(' / ')} connections:`,
    '',
    ...table(head, rows(workOf)),
  ].join('\n');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
}

function optional(result: Result | undefined, describe: (result: Result) => string): string {
  return result === undefined ? '-' : describe(result);
}

function speedOf(result: Result): string {
  if (result.kind === 'failed') return result.reason;
  const mark = result.clientBound ? ' *' : '';
  return `${listed(result.rates.map(({ perSecond }) => perSecond))}${mark}, ${result.megabytes} MB`;
}

function workOf(result: Result): string {
  return result.kind === 'failed' ? '-' : listed(result.rates.map(({ microseconds }) => microseconds));
}

function listed(values: readonly number[]): string {
  return values.map((value) => Math.round(value).toLocaleString('en')).join(' / ');
}

const ratioKinds = [
  { title: 'Slipway to the better limit', kind: 'limit' },
  { title: 'Slipway to the best peer', kind: 'peer' },
] as const;

/** At each number of connections against the best of that kind there. */
function ratios(results: Column['results'], kind: Contender['kind']): string {
  const best = bestOf(results, kind);
  const own = bestOf(results, 'pod');
  if (best.length === 0 || own.length === 0) return '-';
  return own.map((each, index) => (each / (best[index] ?? 0)).toFixed(2)).join(' / ');
}

function bestOf(results: Column['results'], kind: Contender['kind']): readonly number[] {
  const speeds = Array.from(results)
    .filter(([contender]) => contender.kind === kind)
    .map(([, result]) => (result.kind === 'measured' ? result.rates.map(({ perSecond }) => perSecond) : []));
  const [first = []] = speeds.filter(({ length }) => length > 0);
  return first.map((_, index) => Math.max(...speeds.map((each) => each[index] ?? 0)));
}
