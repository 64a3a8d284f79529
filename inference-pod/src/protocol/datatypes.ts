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
  /** Whether the model does not say how many dimensions there are; its shape is then [], as a scalar's. */
  readonly isRankUnknown?: true;
}

export interface Signature {
  readonly inputs: readonly TensorSignature[];
  readonly outputs: readonly TensorSignature[];
}

/** The number of elements of a shape; 1 for a scalar's, []. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, dimension) => count * dimension, 1);
}

/** The data of a tensor of so many elements: 0, false or ''. */
export function zeros(datatype: Datatype, count: number): TensorData {
  switch (datatype) {
    case 'BOOL':
    case 'UINT8':
      return new Uint8Array(count);
    case 'UINT16':
    case 'FP16':
      return new Uint16Array(count);
    case 'UINT32':
      return new Uint32Array(count);
    case 'UINT64':
      return new BigUint64Array(count);
    case 'INT8':
      return new Int8Array(count);
    case 'INT16':
      return new Int16Array(count);
    case 'INT32':
      return new Int32Array(count);
    case 'INT64':
      return new BigInt64Array(count);
    case 'FP32':
      return new Float32Array(count);
    case 'FP64':
      return new Float64Array(count);
    case 'BYTES':
      return new Array<string>(count).fill('');
  }
}

/** A typed array over bytes that are aligned for it. BYTES have no such form, and none is given. */
export function viewOf(datatype: Datatype, buffer: ArrayBufferLike, offset: number, count: number): TensorData {
  switch (datatype) {
    case 'BOOL':
    case 'UINT8':
      return new Uint8Array(buffer, offset, count);
    case 'INT8':
      return new Int8Array(buffer, offset, count);
    case 'UINT16':
    case 'FP16':
      return new Uint16Array(buffer, offset, count);
    case 'INT16':
      return new Int16Array(buffer, offset, count);
    case 'UINT32':
      return new Uint32Array(buffer, offset, count);
    case 'INT32':
      return new Int32Array(buffer, offset, count);
    case 'FP32':
      return new Float32Array(buffer, offset, count);
    case 'UINT64':
      return new BigUint64Array(buffer, offset, count);
    case 'INT64':
      return new BigInt64Array(buffer, offset, count);
    case 'FP64':
      return new Float64Array(buffer, offset, count);
    case 'BYTES':
      return [];
  }
}
