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
  readonly pods: readonly CanaryPod[];
}

/** Hosts and ports of a pod. */
export interface CanaryPod {
  readonly http: string;
  readonly grpc: string;
}

/** As many pods as a share names at most: a table is bounded, and a pod needs no more. */
export const mostCanaryPods = 96;

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
}

export const nothingPassedOn: PassedOn = { revision: '', requests: 0, failed: 0, saturated: 0 };

/** Reads the share of a table that is signed, but perhaps by an operator of another version: undefined for none. */
export function shareOf(table: Table): TrafficShare | undefined {
  const part = table[trafficPart];
  if (typeof part !== 'object' || part === null) return undefined;
  const { revision, version, percent, stickyBy, pods } = part as Partial<TrafficShare>;
  if (typeof revision !== 'string' || revision === '' || typeof version !== 'string') return undefined;
  if (!Number.isInteger(percent) || percent === undefined || percent < 0 || percent > 100) return undefined;
  if (!Array.isArray(pods) || pods.length > mostCanaryPods || !pods.every(isPod)) return undefined;
  return { revision, version, percent, pods, ...(typeof stickyBy === 'string' ? { stickyBy } : {}) };
}

function isPod(value: unknown): value is CanaryPod {
  if (typeof value !== 'object' || value === null) return false;
  const { http, grpc } = value as Partial<CanaryPod>;
  return typeof http === 'string' && typeof grpc === 'string';
}
