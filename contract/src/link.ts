import type { Histogram } from './histogram.ts';
import type { PassedOn } from './traffic.ts';

/**
 * The pod link: the leader calls each pod at its control port with one POST. A table of what is wanted goes down, figures
 * come up. The protocol is level-based: every call carries the whole table, and a table holds only for a while.
 *
 * Whoever calls is greeted, and learns what a signature must name; only a caller who signs is told figures.
 */
export const linkVersion = 1;

/** The key of the ConfigMap, and so the file, that holds the operator's public keys as a `PublicKeys`. */
export const publicKeysFile = 'keys.json';

/** The key of that ConfigMap with the names of revisions that were healthy once, as a JSON list. */
export const healthyRevisionsFile = 'healthy-revisions.json';

/** The key of that ConfigMap with what URIs that may move have led to, by the names of revisions, as a JSON object. */
export const resolvedUrisFile = 'resolved-uris.json';

/** The most that a call and an answer may hold. */
export const maxCallBytes = 64 * 1024;
export const maxAnswerBytes = 64 * 1024;

/** A table is refused whose signature is older than this, by the pod's own clock. */
export const lateMilliseconds = 15_000;

/** The operator's public keys. */
export interface PublicKeys {
  readonly keys: readonly PublicKey[];
}

export interface PublicKey {
  readonly id: string;
  /** Ed25519, SubjectPublicKeyInfo in DER, in base64. */
  readonly key: string;
}

export interface LinkCall {
  readonly version: number;
  readonly table?: SignedTable;
}

/** A table and who wants it. */
export interface SignedTable {
  /** The id of the key. */
  readonly key: string;
  /** A `TableClaims` as JSON: the very bytes that are signed. */
  readonly payload: string;
  /** Ed25519 (RFC 8032) over the payload's UTF-8, in base64. */
  readonly signature: string;
}

/** What is signed: for one pod, one life of it, and one moment, so that it is of no use anywhere else or later. */
export interface TableClaims {
  /** The uid of the pod. */
  readonly pod: string;
  /** What the pod made up when it started. */
  readonly nonce: string;
  /** Higher in every call to the same life of a pod. */
  readonly sequence: number;
  /** When it was signed, in milliseconds of the pod's own clock. */
  readonly clock: number;
  /** For how long the table holds, from its receipt. */
  readonly holdsSeconds: number;
  readonly table: Table;
}

/** What pods are to do, by the name of what wants it: traffic, access, ... Each part is read by whom it is for. */
export type Table = Readonly<Record<string, unknown>>;

/** What every caller is told. */
export interface LinkGreeting {
  readonly version: number;
  readonly pod: string;
  readonly nonce: string;
  /** Milliseconds since the pod's process started. */
  readonly clock: number;
}

/** Why a table was not taken. */
export const refusals = ['UnknownKey', 'Forged', 'Misdirected', 'Replayed', 'Late', 'Malformed'] as const;
export type Refusal = (typeof refusals)[number];

export type LinkAnswer =
  | (LinkGreeting & { readonly kind: 'greeting' })
  | (LinkGreeting & { readonly kind: 'refused'; readonly refusal: Refusal })
  | (LinkGreeting & { readonly kind: 'figures' } & PodFigures);

/** What a pod tells of itself. */
export interface PodFigures {
  readonly revision: string | undefined;
  readonly model: LinkedModel | undefined;
  /** Since this process started: they only grow. */
  readonly measures: Measures;
  /** What became of requests that it has passed on; undefined for a pod whose image cannot. */
  readonly passedOn: PassedOn | undefined;
  /** The table in force. */
  readonly table: { readonly sequence: number; readonly table: Table } | undefined;
}

export interface LinkedModel {
  readonly name: string;
  readonly version: string;
  /** `sha256:` and 64 hexadecimal digits: of the bytes that were really loaded. */
  readonly digest: string;
  readonly signature: ModelSignature;
  /** What its URI led to, where that may move; undefined where it does not, or nothing is known of it. */
  readonly resolvedUri: string | undefined;
  /** What its URI leads to by now, where that is something else; undefined as long as nothing is known of it. */
  readonly movedTo: string | undefined;
  /** The fingerprint of the key that has signed it, in 64 hexadecimal digits; undefined where the pod has checked no signature. */
  readonly signedBy: string | undefined;
  /** Whether it answers as the golden set says; undefined when the pod has checked none. */
  readonly goldenSet: GoldenVerdict | undefined;
}

/** Only a revision that was healthy once serves although it failed. */
export const goldenVerdicts = ['Passed', 'Failed'] as const;
export type GoldenVerdict = (typeof goldenVerdicts)[number];

/** What a model takes and gives, in the words of the Open Inference Protocol v2. */
export interface ModelSignature {
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
}

export interface TensorDescription {
  readonly name: string;
  readonly datatype: string;
  /** -1 for a dimension that is free. */
  readonly shape: readonly number[];
}

/** Counts of one process, or the sum of those of many. */
export interface Measures {
  readonly counters: Counters;
  /**
   * Of inferences that were answered well, in seconds: from the last byte of the request to the answer, without the time that
   * a client needs to send and to read, so that it says the same of whoever has asked.
   */
  readonly latency: Histogram;
}

export interface Counters {
  readonly requests: number;
  /** Refused for what the client sent (4xx). */
  readonly refused: number;
  /** Failed on the pod's side (5xx). */
  readonly failed: number;
  /** Whose client went away before the answer. */
  readonly abandoned: number;
}
