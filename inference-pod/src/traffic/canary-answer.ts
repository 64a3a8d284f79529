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
  /** It could not be reached, was reset, is another pod than was meant, or has answered what is no answer. */
  | { readonly kind: 'none'; readonly reason: string }
  /** This pod has no memory for what it answers. */
  | { readonly kind: 'full' };

/** What is sent to a canary. */
export interface CanaryRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The revision that is to answer: an address may belong to another pod by now. */
  readonly revision: string;
  readonly why: WhyPassedOn;
  /** Counts bytes of the answer as held; false when there is no room for them. */
  readonly hold: (bytes: number) => boolean;
  /** Aborted when nobody waits for the answer any more, or it comes too late. */
  readonly signal: AbortSignal;
}

export const revisionHeader = 'x-slipway-revision';

/** Of a request that was passed on, and why: nobody passes it on again, whoever it has come to. */
export const passedOnHeader = 'x-slipway-passed-on';

/** `asked` is one that itself asks for the canary: it says nothing of what others would be answered. */
export type WhyPassedOn = 'share' | 'mirror' | 'asked';

/** Whether a request is one that anybody could have sent, by the header that it has. */
export function isOrdinary(passedOn: string | undefined): boolean {
  return passedOn !== ('asked' satisfies WhyPassedOn);
}

/** Names the revision that is to answer. */
export function addressedTo(revision: string, why: WhyPassedOn): Record<string, string> {
  return { [revisionHeader]: revision, [passedOnHeader]: why };
}

/** What an answer says of the canary. */
export type Verdict =
  | 'good'
  /** It had no room: more pods are needed, which is no fault of the version. */
  | 'saturated'
  /** 4xx: a fault of the canary only if the stable version takes the same request. */
  | 'refused'
  | 'failed'
  /** Nothing. */
  | 'none';

export function verdictOf(answer: CanaryAnswer): Verdict {
  switch (answer.kind) {
    case 'none':
      return 'failed';
    case 'full':
      return 'none';
    case 'answer': {
      const { status } = answer;
      if (status === 200) return 'good';
      if (status === 503) return 'saturated';
      return status >= 400 && status < 500 ? 'refused' : 'failed';
    }
  }
}

/** The pieces of an answer, as they come in. */
export class AnswerBytes {
  readonly #hold: CanaryRequest['hold'];
  readonly #most: number;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(most: number, hold: CanaryRequest['hold']) {
    this.#most = most;
    this.#hold = hold;
  }

  /** @throws Error that says why the answer is not to be read on */
  add(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes > this.#most) throw new Error(`the answer is larger than ${this.#most} bytes`);
    if (!this.#hold(piece.length)) throw new NoRoom('too many bytes are in flight');
    this.#pieces.push(piece);
  }

  get whole(): Buffer {
    const [only] = this.#pieces;
    return this.#pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.#pieces);
  }
}

export class NoRoom extends Error {
  override readonly name = 'NoRoom';
}
