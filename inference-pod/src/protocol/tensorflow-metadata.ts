import { createHash } from 'node:crypto';
import type { Datatype, Signature, TensorSignature } from './datatypes.ts';
import type { ModelIdentity } from './open-inference.ts';
import { mergedField, ProtobufReader, ProtobufWriter } from './protobuf.ts';
import { badRequest } from './request-error.ts';

/** The data types of TensorFlow: their names, and their numbers in tensorflow/core/framework/types.proto. */
export const tensorflowTypes: Readonly<Record<Datatype, { readonly name: string; readonly number: number }>> = {
  BOOL: { name: 'DT_BOOL', number: 10 },
  UINT8: { name: 'DT_UINT8', number: 4 },
  UINT16: { name: 'DT_UINT16', number: 17 },
  UINT32: { name: 'DT_UINT32', number: 22 },
  UINT64: { name: 'DT_UINT64', number: 23 },
  INT8: { name: 'DT_INT8', number: 6 },
  INT16: { name: 'DT_INT16', number: 5 },
  INT32: { name: 'DT_INT32', number: 3 },
  INT64: { name: 'DT_INT64', number: 9 },
  FP16: { name: 'DT_HALF', number: 19 },
  FP32: { name: 'DT_FLOAT', number: 1 },
  FP64: { name: 'DT_DOUBLE', number: 2 },
  BYTES: { name: 'DT_STRING', number: 7 },
};

/** The signature of every model: ONNX has one. */
export const signatureName = 'serving_default';

const methodName = 'tensorflow/serving/predict';

/**
 * What TensorFlow Serving calls a version, which is a number there. A version that is no whole number gets one that
 * follows from its text alone, so that all pods of it tell the same, whatever was rolled back in between.
 */
export function versionNumber(version: string): number {
  if (/^\d{1,15}$/.test(version)) return Number(version);
  return createHash('sha256').update(version).digest().readUInt32BE(0) % 0x7fff_ffff;
}

/** Whether this is how TensorFlow Serving's clients name the version: its text or its number. */
export function isVersion(asked: string, version: string): boolean {
  return asked === version || asked === String(versionNumber(version));
}

/** Which model a request of TensorFlow Serving's gRPC services is for; '' and undefined for what it does not say. */
export interface ModelSpec {
  readonly name: string;
  readonly version: string | undefined;
  readonly label: string | undefined;
  readonly signatureName: string;
}

const modelSpec = { name: 1, version: 2, signatureName: 3, label: 4 };
/** The message around a number that may be absent. */
const wrapped = { value: 1 };

/** A request has one for each input, and a few more. */
const mostFields = 10_000;

/** Reads the ModelSpec of a request, which is its first field in all of them. */
export function readModelSpec(message: Buffer): ModelSpec {
  const reader = new ProtobufReader(message);
  let fields = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (++fields > mostFields) throw badRequest(`the message has more than ${mostFields} fields`);
    reader.skip();
  }
  const spec = mergedField(message, 1);
  return spec === undefined ? { name: '', version: undefined, label: undefined, signatureName: '' } : readSpec(spec);
}

function readSpec(bytes: Buffer): ModelSpec {
  const reader = new ProtobufReader(bytes);
  const views = new Map<number, Buffer>();
  let fields = 0;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (++fields > mostFields) throw badRequest(`the message has more than ${mostFields} fields`);
    views.set(field, reader.view());
    // Of the two that say the version, the last counts.
    if (field === modelSpec.version) views.delete(modelSpec.label);
    else if (field === modelSpec.label) views.delete(modelSpec.version);
  }
  const version = views.get(modelSpec.version);
  return {
    name: views.get(modelSpec.name)?.toString() ?? '',
    version: version === undefined ? undefined : String(readWrapped(version)),
    label: views.get(modelSpec.label)?.toString(),
    signatureName: views.get(modelSpec.signatureName)?.toString() ?? '',
  };
}

function readWrapped(bytes: Buffer): bigint {
  const reader = new ProtobufReader(bytes);
  let value = 0n;
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === wrapped.value) value = BigInt.asIntN(64, reader.varint64());
    else reader.skip();
  }
  return value;
}

/** The ModelSpec of an answer. */
export function modelSpecMessage({ name, version }: ModelIdentity): ProtobufWriter {
  return new ProtobufWriter()
    .text(modelSpec.name, name)
    .message(modelSpec.version, new ProtobufWriter().number(wrapped.value, versionNumber(version)))
    .text(modelSpec.signatureName, signatureName);
}

/**
 * The answer of `GET /v1/models/NAME`: TensorFlow Serving's, and in `ready` that of KServe's first protocol. `label` is
 * told where the version is no number.
 */
export function modelStatus({ name, version }: ModelIdentity, isReady: boolean): object {
  const state = isReady ? 'AVAILABLE' : 'LOADING';
  const status = { error_code: 'OK', error_message: '' };
  const number = String(versionNumber(version));
  const label = number === version ? {} : { label: version };
  return { name, ready: isReady, model_version_status: [{ version: number, ...label, state, status }] };
}

/** The numbers of ModelVersionStatus.State. */
const loading = 20;
const available = 30;

/** A GetModelStatusResponse. */
export function modelStatusMessage({ version }: ModelIdentity, isReady: boolean): ProtobufWriter {
  return new ProtobufWriter().message(
    1,
    new ProtobufWriter()
      .number(1, versionNumber(version))
      .number(2, isReady ? available : loading)
      .message(3, new ProtobufWriter()),
  );
}

/** The answer of `GET /v1/models/NAME/metadata`. */
export function predictMetadata({ name, version }: ModelIdentity, signature: Signature): object {
  const info = (tensors: readonly TensorSignature[]) =>
    Object.fromEntries(
      tensors.map((tensor) => [
        tensor.name,
        {
          dtype: tensorflowTypes[tensor.datatype].name,
          tensor_shape: {
            dim: tensor.shape.map((size) => ({ size: String(size), name: '' })),
            unknown_rank: tensor.isRankUnknown ?? false,
          },
          name: tensor.name,
        },
      ]),
    );
  const definition = { inputs: info(signature.inputs), outputs: info(signature.outputs), method_name: methodName };
  return {
    model_spec: { name, signature_name: '', version: String(versionNumber(version)) },
    metadata: { signature_def: { signature_def: { [signatureName]: definition } } },
  };
}

/** A GetModelMetadataResponse, whose SignatureDefMap is packed in an Any. */
export function predictMetadataMessage(model: ModelIdentity, signature: Signature): ProtobufWriter {
  const definition = new ProtobufWriter();
  for (const input of signature.inputs) definition.message(1, entry(input.name, tensorInfo(input)));
  for (const output of signature.outputs) definition.message(2, entry(output.name, tensorInfo(output)));
  definition.text(3, methodName);
  const definitions = new ProtobufWriter().message(1, entry(signatureName, definition));
  const any = new ProtobufWriter()
    .text(1, 'type.googleapis.com/tensorflow.serving.SignatureDefMap')
    .message(2, definitions);
  return new ProtobufWriter().message(1, modelSpecMessage(model)).message(2, entry('signature_def', any));
}

/** An entry of a map. */
export function entry(key: string, value: ProtobufWriter): ProtobufWriter {
  return new ProtobufWriter().text(1, key).message(2, value);
}

function tensorInfo({ name, datatype, shape, isRankUnknown }: TensorSignature): ProtobufWriter {
  return new ProtobufWriter()
    .text(1, name)
    .number(2, tensorflowTypes[datatype].number)
    .message(3, isRankUnknown ? new ProtobufWriter().number(3, true) : tensorShapeMessage(shape));
}

/** A TensorShapeProto; -1 is a dimension of any size. */
export function tensorShapeMessage(shape: readonly number[]): ProtobufWriter {
  const writer = new ProtobufWriter();
  for (const size of shape) writer.message(2, new ProtobufWriter().number(1, size));
  return writer;
}
