import { type Buckets, bucketEdges } from './buckets.ts';

type Labels = Readonly<Record<string, string>>;

/** All samples of one metric. */
export type Family =
  | {
      readonly name: string;
      readonly help: string;
      readonly type: 'counter' | 'gauge';
      readonly samples: readonly { readonly labels: Labels; readonly value: number }[];
    }
  | {
      readonly name: string;
      readonly help: string;
      readonly type: 'histogram';
      readonly samples: readonly { readonly labels: Labels; readonly value: Buckets }[];
    };

/** The text format of Prometheus 0.0.4. */
export function formatFamilies(families: readonly Family[]): string {
  return families
    .map((family) => `\n# HELP ${family.name} ${family.help}\n# TYPE ${family.name} ${family.type}\n${lines(family)}`)
    .join('');
}

function lines(family: Family): string {
  const { name } = family;
  if (family.type !== 'histogram') {
    return family.samples.map(({ labels, value }) => line(name, labels, value)).join('');
  }
  return family.samples.map(({ labels, value }) => histogramLines(name, labels, value)).join('');
}

function histogramLines(name: string, labels: Labels, { counts, sum }: Buckets): string {
  let count = 0;
  const buckets = Array.from(counts, (inBucket, bucket) => {
    count += inBucket;
    return line(`${name}_bucket`, { ...labels, le: String(bucketEdges[bucket] ?? '+Inf') }, count);
  });
  return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, count)].join('');
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`;
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
