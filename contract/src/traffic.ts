import type { Table } from './link.ts';

/** Where the part of a table is that says which share of its requests a pod passes on. */
export const trafficPart = 'traffic';

/** Which share of its requests a pod passes on, and to whom. */
export interface TrafficShare {
  /** Of the canary. */
  readonly revision: string;
  /** The version of its model. */
  readonly version: string;
  /** From 0 to 100, whole. */
  readonly percent: number;
  /** A header of requests whose value decides instead of chance, in lower case. */
  readonly stickyBy?: string;
  /** Of the requests that the pod answers itself, which share the canary is asked as well, for comparison. */
  readonly mirror?: Mirror;
  readonly pods: readonly CanaryPod[];
}

export interface Mirror {
  /** From 1 to 100, whole. */
  readonly percent: number;
  /** How outputs are compared; those that are not named, within the tolerances of golden sets. */
  readonly outputs: readonly OutputComparison[];
}

export const comparisons = ['Exact', 'Tolerance', 'Argmax'] as const;

/** How the same output of two versions is compared. */
export interface OutputComparison {
  readonly name: string;
  /** Argmax: the place of the largest value in the last dimension. */
  readonly compare: (typeof comparisons)[number];
  /** How far a float may be off, and by which part of its value; the defaults of golden sets when absent. */
  readonly absolute?: number;
  readonly relative?: number;
}

const mostOutputs = 16;

/** Hosts and ports of a pod. */
export interface CanaryPod {
  readonly http: string;
  readonly grpc: string;
}

/** As many pods as a share names at most: a table is bounded, and a pod needs no more. */
export const mostCanaryPods = 256;

/** What became of the requests that a pod has passed on, since it did so to this revision. */
export interface PassedOn {
  /** '' for a pod that has passed on nothing yet. */
  readonly revision: string;
  /** That the canary was to answer, whatever became of them. */
  readonly requests: number;
  /** Refused by the canary's connection, reset, late, 5xx, or a 4xx that the pod itself does not give. */
  readonly failed: number;
  /** Turned away by a canary that had no room. */
  readonly saturated: number;
  /** Answers of its own that were compared with the canary's, and how many of them the canary gave otherwise, or not at all. */
  readonly compared: number;
  readonly differing: number;
}

export const nothingPassedOn: PassedOn = {
  revision: '',
  requests: 0,
  failed: 0,
  saturated: 0,
  compared: 0,
  differing: 0,
};

/** Reads the share of a table that is signed, but perhaps by an operator of another version: undefined for none. */
export function shareOf(table: Table): TrafficShare | undefined {
  const part = table[trafficPart];
  if (typeof part !== 'object' || part === null) return undefined;
  const { revision, version, percent, stickyBy, mirror, pods } = part as Partial<TrafficShare>;
  if (typeof revision !== 'string' || revision === '' || typeof version !== 'string') return undefined;
  if (!Number.isInteger(percent) || percent === undefined || percent < 0 || percent > 100) return undefined;
  if (!Array.isArray(pods) || pods.length > mostCanaryPods || !pods.every(isPod)) return undefined;
  return {
    revision,
    version,
    percent,
    pods,
    ...(typeof stickyBy === 'string' ? { stickyBy } : {}),
    ...(isMirror(mirror) ? { mirror } : {}),
  };
}

function isMirror(value: unknown): value is Mirror {
  if (typeof value !== 'object' || value === null) return false;
  const { percent, outputs } = value as Partial<Mirror>;
  if (!Number.isInteger(percent) || percent === undefined || percent < 1 || percent > 100) return false;
  return Array.isArray(outputs) && outputs.length <= mostOutputs && outputs.every(isComparison);
}

function isComparison(value: unknown): value is OutputComparison {
  if (typeof value !== 'object' || value === null) return false;
  const { name, compare, absolute = 0, relative = 0 } = value as Partial<OutputComparison>;
  const areTolerances = [absolute, relative].every((number) => typeof number === 'number' && number >= 0);
  return typeof name === 'string' && comparisons.some((known) => known === compare) && areTolerances;
}

function isPod(value: unknown): value is CanaryPod {
  if (typeof value !== 'object' || value === null) return false;
  const { http, grpc } = value as Partial<CanaryPod>;
  return typeof http === 'string' && typeof grpc === 'string';
}
