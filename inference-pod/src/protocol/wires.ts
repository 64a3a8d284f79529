import type { Signature, Tensor } from './datatypes.ts';
import { decodeGrpcInference, encodeGrpcInference } from './grpc-inference.ts';
import type { AnswerBody } from './json-text.ts';
import type { ModelIdentity } from './open-inference.ts';
import { type DecodeLimits, decodeInferenceRequest, type InferenceRequest } from './open-inference-request.ts';
import { encodeInferenceResponse } from './open-inference-response.ts';
import { pictureWires } from './picture-request.ts';
import { encodeTable } from './table-answer.ts';
import { decodeCsv } from './table-csv.ts';
import { decodeTable } from './table-json.ts';
import { decodeExamplesMessage, encodeExamplesMessage } from './tensorflow-examples-grpc.ts';
import { decodeExamples, encodeExamples } from './tensorflow-examples-json.ts';
import { decodePredictMessage, encodePredictMessage } from './tensorflow-grpc.ts';
import { decodePredict, encodePredict } from './tensorflow-predict.ts';

/** The forms in which a request can come: each is answered in its own. */
export const wires = [
  'open-inference',
  'open-inference-grpc',
  'predict',
  'predict-grpc',
  'classify',
  'classify-grpc',
  'regress',
  'regress-grpc',
  'table',
  'table-csv',
] as const;
export type Wire = (typeof wires)[number];

/** The forms of what a task takes instead of tensors. */
export const taskWires = ['embeddings', 'text-classification', 'entities', 'rerank', ...pictureWires] as const;
export type TaskWire = (typeof taskWires)[number];

export const everyWire = [...wires, ...taskWires] as const;
export type AnyWire = (typeof everyWire)[number];

/** One request, as it came from the wire. */
export type Call = InferenceCall | TaskCall;

interface Request {
  readonly body: Buffer;
  /** How much of the body is JSON, when tensors in binary form follow it. */
  readonly headerLength: number | undefined;
}

/** One request for an inference on tensors. */
export interface InferenceCall extends Request {
  readonly wire: Wire;
}

/** One request in the form of a task. */
export interface TaskCall extends Request {
  readonly wire: TaskWire;
}

export function isTaskWire(wire: AnyWire): wire is TaskWire {
  return taskWires.some((each) => each === wire);
}

export function isInferenceCall(call: Call): call is InferenceCall {
  return !isTaskWire(call.wire);
}

/** What is sent back, and how much of it is JSON when tensors in binary form follow. */
export interface EncodedAnswer {
  readonly body: AnswerBody;
  readonly headerLength?: number | undefined;
}

interface Codec {
  /** Whether the form is text, whose length says what it costs to read. */
  readonly isText: boolean;
  decode(call: InferenceCall, signature: Signature, limits: DecodeLimits): InferenceRequest;
  encode(
    model: ModelIdentity,
    request: InferenceRequest,
    outputs: ReadonlyMap<string, Tensor>,
    mostBytes: number,
  ): EncodedAnswer;
}

const codecs: Readonly<Record<Wire, Codec>> = {
  'open-inference': {
    isText: true,
    decode: ({ body, headerLength }, signature, limits) =>
      decodeInferenceRequest(body, headerLength, signature, limits),
    encode: encodeInferenceResponse,
  },
  'open-inference-grpc': {
    isText: false,
    decode: ({ body }, signature, limits) => decodeGrpcInference(body, signature, limits),
    encode: (...answer) => ({ body: encodeGrpcInference(...answer) }),
  },
  predict: {
    isText: true,
    decode: ({ body }, signature, limits) => decodePredict(body, signature, limits),
    encode: (_model, ...answer) => ({ body: encodePredict(...answer) }),
  },
  'predict-grpc': {
    isText: false,
    decode: ({ body }, signature, limits) => decodePredictMessage(body, signature, limits),
    encode: (...answer) => ({ body: encodePredictMessage(...answer) }),
  },
  classify: examples('classify'),
  'classify-grpc': exampleMessages('classify'),
  regress: examples('regress'),
  'regress-grpc': exampleMessages('regress'),
  table: {
    isText: true,
    decode: ({ body }, signature, limits) => decodeTable(body, signature, limits),
    encode: encodeRows,
  },
  'table-csv': {
    isText: true,
    decode: ({ body }, signature, limits) => decodeCsv(body, signature, limits),
    encode: encodeRows,
  },
};

function encodeRows(...[, ...answer]: Parameters<Codec['encode']>): EncodedAnswer {
  return { body: encodeTable(...answer) };
}

function examples(method: 'classify' | 'regress'): Codec {
  return {
    isText: true,
    decode: ({ body }, signature, limits) => decodeExamples(method, body, signature, limits),
    encode: (_model, ...answer) => ({ body: encodeExamples(method, ...answer) }),
  };
}

function exampleMessages(method: 'classify' | 'regress'): Codec {
  return {
    isText: false,
    decode: ({ body }, signature, limits) => decodeExamplesMessage(method, body, signature, limits),
    encode: (...answer) => ({ body: encodeExamplesMessage(method, ...answer) }),
  };
}

/** How much of a call is text. */
export function textBytes({ wire, body, headerLength }: InferenceCall): number {
  return codecs[wire].isText ? (headerLength ?? body.length) : 0;
}

/** @throws RequestError 400, 413 */
export function decode(call: InferenceCall, signature: Signature, limits: DecodeLimits): InferenceRequest {
  return codecs[call.wire].decode(call, signature, limits);
}

/** @throws RequestError 400 when the answer is larger than allowed */
export function encode(
  wire: Wire,
  model: ModelIdentity,
  request: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): EncodedAnswer {
  return codecs[wire].encode(model, request, outputs, mostBytes);
}
