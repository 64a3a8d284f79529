import type { Signature } from '../protocol/datatypes.ts';

/** The name of the module beside the model. */
export const handlerName = 'handler.mjs';

/** What a handler's process is started with, as JSON in its first message. */
export interface HandlerProcessSettings {
  readonly path: string;
  readonly signature: Signature;
  /** What the tensors of a request may take together. */
  readonly mostTensorBytes: number;
  readonly mostAnswerBytes: number;
}

/** What a handler's process is asked to do: the code of a message to it. */
export const asks = {
  /** The body of a request behind its head, a RequestHead in JSON. */
  preprocess: 1,
  /** What the model gave, as an answer of the Open Inference Protocol. */
  postprocess: 2,
  /** What was kept for `postprocess` is not needed: nothing is answered. */
  forget: 3,
} as const;

export interface RequestHead {
  readonly contentType: string;
  /** With what stands behind the question mark. */
  readonly query: string;
}

/** What it says: the code of a message from it. */
export const tells = {
  /** The module can be used. */
  opened: 200,
  /** A request of the Open Inference Protocol, for the model. */
  run: 201,
  /** The body of an answer behind its head, an AnswerHead in JSON. */
  answer: 202,
  /** The request cannot be answered as it is: a Refusal in JSON. */
  refused: 203,
  /** The handler has failed: the error in words. */
  failed: 204,
} as const;

export interface AnswerHead {
  readonly status: number;
  readonly contentType: string;
}

export interface Refusal {
  readonly status: number;
  readonly message: string;
}
