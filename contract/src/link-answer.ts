import { type Histogram, mostBuckets } from './histogram.ts';
import {
  type Counters,
  goldenVerdicts,
  type LinkAnswer,
  type LinkedModel,
  type LinkGreeting,
  type Measures,
  type ModelSignature,
  type PodFigures,
  type Refusal,
  refusals,
  type Table,
  type TensorDescription,
} from './link.ts';
import type { PassedOn } from './traffic.ts';

/** What a pod may tell at most: it may run any image, and what it tells is kept, added up and shown. */
const most = { text: 256, uri: 2048, tensors: 4096, dimensions: 64 } as const;

/**
 * Reads an answer of a pod, which may run any image: every field is checked, and what is not known is left out.
 *
 * @throws NotALink that says what is wrong with it
 */
export function parseLinkAnswer(value: unknown): LinkAnswer {
  const answer = object(value, 'the answer');
  const greeting: LinkGreeting = {
    version: count(answer['version'], 'version'),
    pod: text(answer['pod'], 'pod'),
    nonce: text(answer['nonce'], 'nonce'),
    clock: amount(answer['clock'], 'clock'),
  };
  switch (answer['kind']) {
    case 'greeting':
      return { kind: 'greeting', ...greeting };
    case 'refused':
      return { kind: 'refused', ...greeting, refusal: refusalOf(answer['refusal']) };
    case 'figures':
      return { kind: 'figures', ...greeting, ...figures(answer) };
    default:
      throw wrong('kind');
  }
}

/**
 * Reads a signature, as a pod tells it or a record keeps it.
 *
 * @throws NotALink that says what is wrong with it
 */
export function parseModelSignature(value: unknown): ModelSignature {
  const { inputs, outputs } = object(value, 'signature');
  return { inputs: tensors(inputs, 'inputs'), outputs: tensors(outputs, 'outputs') };
}

function figures(answer: Fields): PodFigures {
  const { revision, model, measures, passedOn, table } = answer;
  return {
    revision: isNothing(revision) ? undefined : text(revision, 'revision'),
    model: isNothing(model) ? undefined : linkedModel(object(model, 'model')),
    measures: measuresOf(object(measures, 'measures')),
    passedOn: isNothing(passedOn) ? undefined : passedOnOf(object(passedOn, 'passedOn')),
    table: isNothing(table) ? undefined : tableOf(object(table, 'table')),
  };
}

function linkedModel({
  name,
  version,
  digest,
  signature,
  resolvedUri,
  movedTo,
  signedBy,
  goldenSet,
}: Fields): LinkedModel {
  const bytes = text(digest, 'digest');
  if (!/^sha256:[a-f0-9]{64}$/.test(bytes)) throw wrong('digest');
  return {
    name: text(name, 'name'),
    version: text(version, 'version'),
    digest: bytes,
    signature: parseModelSignature(signature),
    // One that is too long to be kept is of no use.
    resolvedUri: uriOf(resolvedUri),
    movedTo: uriOf(movedTo),
    signedBy: typeof signedBy === 'string' && /^[a-f0-9]{64}$/.test(signedBy) ? signedBy : undefined,
    // A verdict that a later image may tell is none that is known here.
    goldenSet: goldenVerdicts.find((verdict) => verdict === goldenSet),
  };
}

function uriOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= most.uri ? value : undefined;
}

function tableOf({ sequence, table }: Fields): { readonly sequence: number; readonly table: Table } {
  return { sequence: count(sequence, 'sequence'), table: object(table, 'table') };
}

function measuresOf({ counters, latency }: Fields): Measures {
  return { counters: countersOf(object(counters, 'counters')), latency: histogramOf(object(latency, 'latency')) };
}

function passedOnOf({ revision, requests, failed, saturated, compared, differing }: Fields): PassedOn {
  return {
    revision: text(revision, 'passedOn'),
    requests: count(requests, 'passedOn'),
    failed: count(failed, 'passedOn'),
    saturated: count(saturated, 'passedOn'),
    compared: count(compared, 'passedOn'),
    differing: count(differing, 'passedOn'),
  };
}

function countersOf({ requests, refused, failed, abandoned }: Fields): Counters {
  return {
    requests: count(requests, 'requests'),
    refused: count(refused, 'refused'),
    failed: count(failed, 'failed'),
    abandoned: count(abandoned, 'abandoned'),
  };
}

function histogramOf({ buckets, sum }: Fields): Histogram {
  return {
    buckets: list(buckets, mostBuckets, 'buckets').map((inBucket) => count(inBucket, 'buckets')),
    sum: amount(sum, 'sum'),
  };
}

function tensors(value: unknown, what: string): readonly TensorDescription[] {
  return list(value, most.tensors, what).map((item) => {
    const { name, datatype, shape } = object(item, what);
    const dimensions = list(shape, most.dimensions, 'shape').map((dimension) => {
      if (!Number.isSafeInteger(dimension) || Number(dimension) < -1) throw wrong('shape');
      return Number(dimension);
    });
    return { name: text(name, 'name'), datatype: text(datatype, 'datatype'), shape: dimensions };
  });
}

type Fields = Readonly<Record<string, unknown>>;

function isNothing(value: unknown): boolean {
  return value === undefined || value === null;
}

function object(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(what);
  return value as Fields;
}

function list(value: unknown, longest: number, what: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length > longest) throw wrong(what);
  return value;
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value.length > most.text || !value.isWellFormed()) throw wrong(what);
  return value;
}

function count(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value) || Number(value) < 0) throw wrong(what);
  return Number(value);
}

function amount(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw wrong(what);
  return value;
}

function refusalOf(value: unknown): Refusal {
  const known = refusals.find((refusal) => refusal === value);
  if (known === undefined) throw wrong('refusal');
  return known;
}

/** What a pod has told is no answer of the pod link. */
export class NotALink extends Error {
  override readonly name = 'NotALink';

  constructor(what: string) {
    super(`the pod does not speak the link, its ${what} is none: its image is none of Slipway's`);
  }
}

function wrong(what: string): NotALink {
  return new NotALink(what);
}
