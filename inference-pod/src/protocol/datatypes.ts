/** The data types of the Open Inference Protocol that ONNX has, and their names in onnxruntime. */
const onnxTypes = {
  BOOL: 'bool',
  UINT8: 'uint8',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT8: 'int8',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP16: 'float16',
  FP32: 'float32',
  FP64: 'float64',
  BYTES: 'string',
} as const;

export type Datatype = keyof typeof onnxTypes;
export type OnnxType = (typeof onnxTypes)[Datatype];

const datatypesByOnnxType: ReadonlyMap<string, Datatype> = new Map(
  Object.entries(onnxTypes).map(([datatype, onnxType]) => [onnxType, datatype as Datatype]),
);

/** The protocol's name of an onnxruntime type; undefined for those that it does not have (bfloat16, complex). */
export function datatypeOf(onnxType: string): Datatype | undefined {
  return datatypesByOnnxType.get(onnxType);
}

export function onnxTypeOf(datatype: Datatype): OnnxType {
  return onnxTypes[datatype];
}

/** The values of a tensor, in the form that onnxruntime takes and gives: BOOL as bytes 0 and 1, FP16 as its bits. */
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
  | string[];

export interface Tensor {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** An input or output of a model; -1 in the shape is a dimension of any size. */
export interface TensorSignature {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

export interface Signature {
  readonly inputs: readonly TensorSignature[];
  readonly outputs: readonly TensorSignature[];
}

/** The number of elements of a shape; 1 for a scalar's, []. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, dimension) => count * dimension, 1);
}
