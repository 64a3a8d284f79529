import type { Contender } from './contenders.ts';

/** Of one server and one case. */
export type Result =
  | {
      readonly kind: 'measured';
      readonly perSecond: readonly number[];
      readonly megabytes: number;
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
  if (one?.kind !== 'measured') return other;
  if (other.kind !== 'measured') return other;
  return {
    kind: 'measured',
    perSecond: one.perSecond.map((each, index) => Math.max(each, other.perSecond[index] ?? 0)),
    megabytes: Math.max(one.megabytes, other.megabytes),
    clientBound: one.clientBound || other.clientBound,
  };
}

/** The lines of a case for a terminal. */
export function describeColumn({ title, results }: Column, connections: readonly number[]): readonly string[] {
  const lines = Array.from(results, ([contender, result]) => `  ${contender.title.padEnd(50)} ${describe(result)}`);
  return [
    `${title}: requests a second at ${connections.join(' / ')} connections`,
    ...lines,
    ...ratioKinds.map(({ title: name, kind }) => `  ${name.padEnd(50)} ${ratios(results, kind)}`),
  ];
}

/** All cases as a table in Markdown. */
export function describeTable(columns: readonly Column[], contenders: readonly Contender[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const cell = (result: Result | undefined) => (result === undefined ? '-' : describe(result));
  return [
    row(['server (one core)', ...columns.map(({ title }) => title)]),
    row(['---', ...columns.map(() => '---')]),
    ...contenders.map((each) => row([each.title, ...columns.map(({ results }) => cell(results.get(each)))])),
    ...ratioKinds.map(({ title, kind }) => row([title, ...columns.map(({ results }) => ratios(results, kind))])),
  ].join('\n');
}

function describe(result: Result): string {
  if (result.kind === 'failed') return result.reason;
  const mark = result.clientBound ? ' *' : '';
  return `${result.perSecond.map((each) => Math.round(each).toLocaleString('en')).join(' / ')}${mark}, ${result.megabytes} MB`;
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
  return Array.from(results)
    .filter(([contender]) => contender.kind === kind)
    .map(([, result]) => (result.kind === 'measured' ? result.perSecond : []))
    .reduce(
      (best, each) =>
        Array.from({ length: Math.max(best.length, each.length) }, (_, index) =>
          Math.max(best[index] ?? 0, each[index] ?? 0),
        ),
      [],
    );
}
