import { messageOf } from '../model/error-message.ts';
import type { ModelSession } from '../model/session.ts';
import type { Signature, Tensor } from '../protocol/datatypes.ts';
import { decodeGrpcInference, encodeGrpcInference } from '../protocol/grpc-inference.ts';
import type { AnswerBody } from '../protocol/json-text.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import {
  type DecodeLimits,
  decodeInferenceRequest,
  type InferenceRequest,
} from '../protocol/open-inference-request.ts';
import { encodeInferenceResponse } from '../protocol/open-inference-response.ts';
import { RequestError } from '../protocol/request-error.ts';
import { decodePredict, encodePredict } from '../protocol/tensorflow-serving.ts';

/** The forms in which a request can come: each is answered in its own. */
export const wires = ['rest', 'grpc', 'tensorflow'] as const;
export type Wire = (typeof wires)[number];

/** One request for an inference, as it came from the wire. */
export interface InferenceCall {
  readonly wire: Wire;
  readonly body: Buffer;
  /** How much of the body is JSON, when tensors in binary form follow it. */
  readonly headerLength: number | undefined;
}

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
}

/** @throws RequestError 400, 413 */
export function decode(call: InferenceCall, signature: Signature, limits: DecodeLimits): InferenceRequest {
  switch (call.wire) {
    case 'rest':
      return decodeInferenceRequest(call.body, call.headerLength, signature, limits);
    case 'grpc':
      return decodeGrpcInference(call.body, signature, limits);
    case 'tensorflow':
      return decodePredict(call.body, signature, limits);
  }
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
    switch (wire) {
      case 'rest': {
        const { body, headerLength } = encodeInferenceResponse(model, request, outputs, mostAnswerBytes);
        return { kind: 'answered', body, headerLength, seconds };
      }
      case 'grpc': {
        const body = encodeGrpcInference(model, request, outputs, mostAnswerBytes);
        return { kind: 'answered', body, headerLength: undefined, seconds };
      }
      case 'tensorflow': {
        const body = encodePredict(request, outputs, mostAnswerBytes);
        return { kind: 'answered', body, headerLength: undefined, seconds };
      }
    }
  } catch (error) {
    return failure(error, seconds);
  }
}

/** What is answered to what went wrong. */
export function failure(error: unknown, seconds?: number): InferenceAnswer {
  if (error instanceof RequestError) return { kind: 'refused', status: error.status, message: error.message, seconds };
  return { kind: 'refused', status: 500, message: `the model failed: ${messageOf(error)}`, seconds };
}
