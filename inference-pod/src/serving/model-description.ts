import { type BatchingDecision, inWords } from '../execution/batch-gain.ts';
import type { Datatype, Signature, TensorSignature } from '../protocol/datatypes.ts';
import { shorten } from '../protocol/json-reader.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { RequestError } from '../protocol/request-error.ts';

/** @throws RequestError 404 for another model, or another version of this one; '' stands for any */
export function refuseUnknown(asked: ModelIdentity, model: ModelIdentity): void {
  if (asked.name !== model.name) {
    throw new RequestError(404, `there is no model '${shorten(asked.name)}' here, only '${model.name}'`);
  }
  if (asked.version !== '' && asked.version !== model.version) {
    throw new RequestError(
      404,
      `there is no version '${shorten(asked.version)}' of the model '${model.name}' here, only '${model.version}'`,
    );
  }
}

/** The names of types in Triton's model configuration, each at the place of its number. */
const configTypes: readonly (Datatype | undefined)[] = [
  undefined,
  'BOOL',
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'FP16',
  'FP32',
  'FP64',
  'BYTES',
];

export interface ConfiguredTensor {
  readonly name: string;
  readonly typeNumber: number;
  readonly dims: readonly number[];
}

/** The configuration of a model as Triton's clients ask for it: what they read of it. */
export function modelConfiguration({ name }: ModelIdentity, signature: Signature) {
  const tensor = (known: TensorSignature): ConfiguredTensor => ({
    name: known.name,
    typeNumber: configTypes.indexOf(known.datatype),
    dims: known.shape,
  });
  return {
    name,
    platform: 'onnxruntime_onnx',
    backend: 'onnxruntime',
    // The dimensions are whole: clients do not add one for a batch.
    maxBatchSize: 0,
    input: signature.inputs.map(tensor),
    output: signature.outputs.map(tensor),
  };
}

/** The same in JSON. */
export function modelConfigurationJson(
  model: ModelIdentity,
  signature: Signature,
  batching: BatchingDecision | undefined,
): object {
  const { name, platform, backend, maxBatchSize, input, output } = modelConfiguration(model, signature);
  const tensor = ({ name: tensorName, typeNumber, dims }: ConfiguredTensor) => ({
    name: tensorName,
    data_type: `TYPE_${configTypes[typeNumber] === 'BYTES' ? 'STRING' : configTypes[typeNumber]}`,
    dims,
  });
  return {
    name,
    platform,
    backend,
    max_batch_size: maxBatchSize,
    input: input.map(tensor),
    output: output.map(tensor),
    // Where Triton's configuration has what no field is for.
    ...(batching === undefined ? {} : { parameters: { batching: { string_value: inWords(batching) } } }),
  };
}

/** What has been counted of inferences since the pod started. */
export interface InferenceStatistics {
  readonly succeeded: number;
  readonly succeededSeconds: number;
  readonly failed: number;
  readonly failedSeconds: number;
  readonly computed: number;
  readonly computedSeconds: number;
  /** Milliseconds since 1970; 0 before the first. */
  readonly lastInference: number;
}

/** The statistics extension of the Open Inference Protocol. What is not the model's own time is told as queue. */
export function modelStatistics({ name, version }: ModelIdentity, statistics: InferenceStatistics) {
  const duration = (count: number, seconds: number) => ({ count, ns: Math.max(0, Math.round(seconds * 1e9)) });
  const { succeeded, succeededSeconds, failed, failedSeconds, computed, computedSeconds, lastInference } = statistics;
  return {
    name,
    version,
    last_inference: lastInference,
    inference_count: computed,
    execution_count: computed,
    inference_stats: {
      success: duration(succeeded, succeededSeconds),
      fail: duration(failed, failedSeconds),
      queue: duration(succeeded, succeededSeconds - computedSeconds),
      compute_input: duration(computed, 0),
      compute_infer: duration(computed, computedSeconds),
      compute_output: duration(computed, 0),
    },
  };
}
