/** What `handler.mjs` beside a model exports: one function that runs models, or two around one run of the model. */
export type HandlerModule =
  | { readonly predict: Predict }
  | { readonly preprocess: Preprocess; readonly postprocess?: Postprocess };

/**
 * Answers a request with as many runs of models as it takes: with an `Answer`, or anything else as JSON. What it throws with a `status` from
 * 400 to 499 is told to the client.
 */
export type Predict = (request: HandlerRequest, run: Run) => unknown;

/**
 * Runs a model. What the model refuses ends the request.
 *
 * @param inputs by the names that the model has for them
 */
export type Run = (inputs: Prepared['inputs'], options?: RunOptions) => Promise<Outputs>;

export interface RunOptions {
  /** One of `runtime.handler.models`; that of `model.uri` where absent. */
  readonly model?: string;
  /** Those that are needed; all where absent. */
  readonly outputs?: readonly string[];
}

/** What the model is given for a request; what it throws with a `status` from 400 to 499 is told to the client. */
export type Preprocess = (request: HandlerRequest) => Prepared | Promise<Prepared>;

/**
 * What is answered: an `Answer`, or anything else as JSON. Without it, the outputs are answered as JSON.
 *
 * @param outputs those that were asked for, by name
 * @param context what `preprocess` has kept for it
 */
export type Postprocess<Context = unknown> = (outputs: Outputs, context: Context) => unknown;

export interface HandlerRequest {
  readonly body: Uint8Array;
  /** In lower case, without parameters; '' when there is none. */
  readonly contentType: string;
  readonly query: URLSearchParams;
  /** The body as UTF-8 text; what is none is refused with 400. */
  text(): string;
  /** The body as JSON; what is none is refused with 400. */
  json(): unknown;
}

export interface Prepared {
  /** By the names that the model has for them. */
  readonly inputs: Readonly<Record<string, InputTensor>>;
  /** Those that are needed; all where absent. */
  readonly outputs?: readonly string[];
  /** Given to `postprocess`. */
  readonly context?: unknown;
}

/** Nested arrays, whose shape is that of their nesting, or elements with their shape; converted to the type of the model's input. */
export type InputTensor = NestedElements | { readonly shape: readonly number[]; readonly data: ArrayLike<Element> };

export type Element = number | bigint | boolean | string;
export type NestedElements = Element | readonly NestedElements[];

/** By their names. */
export type Outputs = Readonly<Record<string, OutputTensor>>;

export interface OutputTensor {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** Elements in row-major order: FP16 as a Float32Array, BOOL as 0 and 1, BYTES as strings. */
  readonly data: TensorData;
}

/** The data types of the Open Inference Protocol. */
export type Datatype =
  | 'BOOL'
  | 'UINT8'
  | 'UINT16'
  | 'UINT32'
  | 'UINT64'
  | 'INT8'
  | 'INT16'
  | 'INT32'
  | 'INT64'
  | 'FP16'
  | 'FP32'
  | 'FP64'
  | 'BYTES';

export type TensorData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array
  | readonly string[];

/** An answer of another type than JSON, or of another status than 200. */
export interface Answer {
  readonly status?: number;
  readonly contentType?: string;
  /** Bytes, text, or anything else as JSON. */
  readonly body: unknown;
}
