import { messageOf } from '../model/error-message.ts';
import type { ModelSession } from '../model/session.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import type { AnswerBody } from '../protocol/json-text.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { InferenceRequest } from '../protocol/open-inference-request.ts';
import { RequestError } from '../protocol/request-error.ts';
import type { Column } from '../protocol/tables.ts';
import { decode, encode, type InferenceCall, type Wire } from '../protocol/wires.ts';

/** What becomes of a call; `seconds` is the time that the model itself took, undefined if it was not run. */
export type InferenceAnswer =
  | {
      readonly kind: 'answered';
      readonly body: AnswerBody;
      readonly headerLength: number | undefined;
      readonly seconds: number | undefined;
    }
  /** The status is that of HTTP. */
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly message: string;
      readonly seconds: number | undefined;
    };

export interface InferenceLimits {
  /** What the tensors of a request may take together. */
  readonly mostTensorBytes: number;
  readonly mostAnswerBytes: number;
  /** What is said of the columns of a table. */
  readonly columns?: readonly Column[] | undefined;
}

/** Answers one call: decodes it, runs the model, encodes what it gave. Never rejects. */
export async function infer(
  call: InferenceCall,
  session: ModelSession,
  model: ModelIdentity,
  limits: InferenceLimits,
): Promise<InferenceAnswer> {
  try {
    return await runOne(call.wire, decode(call, session.signature, limits), session, model, limits);
  } catch (error) {
    return failure(error);
  }
}

/** Runs the model for one request, and encodes what it gave. Never rejects. */
export async function runOne(
  wire: Wire,
  request: InferenceRequest,
  session: ModelSession,
  model: ModelIdentity,
  limits: InferenceLimits,
): Promise<InferenceAnswer> {
  try {
    const start = performance.now();
    const outputs = await session.run(request.inputs, request.outputs);
    return answerOf(wire, request, outputs, model, limits, (performance.now() - start) / 1000);
  } catch (error) {
    return failure(error);
  }
}

/** The answer of what the model gave. Never throws. */
export function answerOf(
  wire: Wire,
  request: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  model: ModelIdentity,
  { mostAnswerBytes }: InferenceLimits,
  seconds: number,
): InferenceAnswer {
  try {
    const { body, headerLength } = encode(wire, model, request, outputs, mostAnswerBytes);
    return { kind: 'answered', body, headerLength, seconds };
  } catch (error) {
    return failure(error, seconds);
  }
}

/** What is answered to what went wrong. */
export function failure(error: unknown, seconds?: number): InferenceAnswer {
  if (error instanceof RequestError) return { kind: 'refused', status: error.status, message: error.message, seconds };
  return { kind: 'refused', status: 500, message: `the model failed: ${messageOf(error)}`, seconds };
}
