/** What a canary has answered, or that it has not. */
export type CanaryAnswer =
  | {
      readonly kind: 'answer';
      /** Of HTTP, or that which means the same as the one of gRPC. */
      readonly status: number;
      readonly contentType: string;
      /** How much of the body is JSON, when tensors in binary form follow it. */
      readonly headerLength: string | undefined;
      readonly body: Buffer;
    }
  /** It could not be reached, was reset, came too late, or is another pod than was meant. */
  | { readonly kind: 'none'; readonly reason: string };

/** What is sent to a canary. */
export interface CanaryRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The revision that is to answer: an address may belong to another pod by now. */
  readonly revision: string;
  /** Aborted when nobody waits for the answer any more, or it comes too late. */
  readonly signal: AbortSignal;
}

export const revisionHeader = 'x-slipway-revision';

/** Of a request that was passed on: nobody passes it on again, whoever it has come to. */
export const passedOnHeader = 'x-slipway-passed-on';

/** Names the revision that is to answer. */
export function addressedTo(revision: string): Record<string, string> {
  return { [revisionHeader]: revision, [passedOnHeader]: '1' };
}

/** What an answer says of the canary. */
export type Verdict =
  | 'good'
  /** It had no room: more pods are needed, which is no fault of the version. */
  | 'saturated'
  /** 4xx: a fault of the canary only if the stable version takes the same request. */
  | 'refused'
  | 'failed';

export function verdictOf(answer: CanaryAnswer): Verdict {
  if (answer.kind === 'none') return 'failed';
  const { status } = answer;
  if (status === 503) return 'saturated';
  if (status >= 500) return 'failed';
  return status >= 400 ? 'refused' : 'good';
}
