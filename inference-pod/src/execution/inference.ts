import { messageOf } from '../model/error-message.ts';
import type { ModelSession } from '../model/session.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import type { AnswerBody } from '../protocol/json-text.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { decodeInferenceRequest, type InferenceRequest } from '../protocol/open-inference-request.ts';
import { encodeInferenceResponse } from '../protocol/open-inference-response.ts';
import { RequestError } from '../protocol/request-error.ts';

/** One request for an inference, as it came from the wire. */
export interface InferenceCall {
  readonly body: Buffer;
  /** How much of the body is JSON, when tensors in binary form follow it. */
  readonly headerLength: number | undefined;
}

/** An answer, ready to be sent. */
export interface InferenceAnswer {
  readonly status: number;
  readonly body: AnswerBody;
  readonly headerLength: number | undefined;
  /** The time that the model itself took; undefined if it was not run. */
  readonly seconds: number | undefined;
}

export interface InferenceLimits {
  /** What the tensors of a request may take together. */
  readonly mostTensorBytes: number;
  readonly mostAnswerBytes: number;
}

/** Answers one call: decodes it, runs the model, encodes what it gave. Never rejects. */
export async function infer(
  { body, headerLength }: InferenceCall,
  session: ModelSession,
  model: ModelIdentity,
  limits: InferenceLimits,
): Promise<InferenceAnswer> {
  try {
    const request = decodeInferenceRequest(body, headerLength, session.signature, limits);
    const start = performance.now();
    const outputs = await session.run(request.inputs, request.outputs);
    return answerOf(request, outputs, model, limits, (performance.now() - start) / 1000);
  } catch (error) {
    return failure(error);
  }
}

/** The answer of what the model gave. Never throws. */
export function answerOf(
  request: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  model: ModelIdentity,
  limits: InferenceLimits,
  seconds: number,
): InferenceAnswer {
  try {
    return { status: 200, ...encodeInferenceResponse(model, request, outputs, limits.mostAnswerBytes), seconds };
  } catch (error) {
    return failure(error, seconds);
  }
}

/** The answer for what went wrong. */
export function failure(error: unknown, seconds?: number): InferenceAnswer {
  const status = error instanceof RequestError ? error.status : 500;
  const message = error instanceof RequestError ? error.message : `the model failed: ${messageOf(error)}`;
  return { status, body: JSON.stringify({ error: message }), headerLength: undefined, seconds };
}
