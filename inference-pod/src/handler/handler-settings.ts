import type { Signature } from '../protocol/datatypes.ts';

/** The name of the module beside the model. */
export const handlerName = 'handler.mjs';

/** What a handler's process is started with, as JSON in its first message. */
export interface HandlerProcessSettings {
  readonly path: string;
  /** The model of the pod first, and then those that only the handler runs. */
  readonly models: readonly HandledModel[];
  /** What the tensors of a request may take together. */
  readonly mostTensorBytes: number;
  readonly mostAnswerBytes: number;
}

export interface HandledModel {
  /** By which the handler calls it; undefined for the model of the pod. */
  readonly name: string | undefined;
  readonly signature: Signature;
}

/** What a handler's process is asked to do: the code of a message to it. */
export const asks = {
  /** To answer a request: its body behind its head, a RequestHead in JSON. */
  begin: 1,
  /** To go on with what the model gave, as an answer of the Open Inference Protocol. */
  resume: 2,
  /** Nobody waits for the answer any more: nothing is said. */
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
  /** A request of the Open Inference Protocol, and behind it a byte: the place of the model that it is for, among all. */
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
