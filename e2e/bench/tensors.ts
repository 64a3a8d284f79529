/** An input of a request. */
export interface Input {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array | BigInt64Array;
}

/** What a model answers: the elements of each output by its name. */
export type Outputs = ReadonlyMap<string, readonly number[]>;

/** As the Open Inference Protocol names it. */
export function datatypeOf(values: Input['values']): 'FP32' | 'INT64' {
  return values instanceof Float32Array ? 'FP32' : 'INT64';
}
