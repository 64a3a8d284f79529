import type { InputTensor, OutputTensor } from '@slipway/handler';
import {
  type Datatype,
  elementCount,
  type Tensor,
  type TensorData,
  type TensorSignature,
  zeros,
} from '../protocol/datatypes.ts';

/** The handler has given something that is no tensor of the model. */
export class UnfitTensor extends Error {
  override readonly name = 'UnfitTensor';
}

/** Deeper nesting is no tensor. */
const mostDimensions = 32;

/**
 * @param given by a handler: anything
 * @throws UnfitTensor that names the input
 */
export function inputTensor({ name, datatype }: TensorSignature, given: InputTensor, mostElements: number): Tensor {
  const fail = (problem: string): never => {
    throw new UnfitTensor(`input '${name}': ${problem}`);
  };
  const shape = isShaped(given) ? given.shape : shapeOf(given, fail);
  if (!Array.isArray(shape) || !shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0))
    return fail('its shape must be a list of whole numbers');
  const count = elementCount(shape);
  if (count > mostElements) return fail(`has ${count} elements, and at most ${mostElements} are taken`);
  if (!isShaped(given)) return { datatype, shape, data: filled(datatype, count, leaves(given), fail) };
  const { data } = given;
  if (typeof data !== 'object' || data === null || data.length !== count)
    return fail(`its data must be ${count} elements, as its shape [${shape}] says`);
  return { datatype, shape, data: asItIs(datatype, data) ?? filled(datatype, count, Array.from(data), fail) };
}

/** Elements that are in the form of the type already; the bits of FP16 and the bytes of BOOL are none that people have. */
function asItIs(datatype: Datatype, data: ArrayLike<unknown>): TensorData | undefined {
  if (datatype === 'FP16' || datatype === 'BOOL' || datatype === 'BYTES') return undefined;
  const sameKind = zeros(datatype, 0);
  return isOfKind(data, sameKind) ? data : undefined;
}

function isOfKind<T extends TensorData>(data: unknown, kind: T): data is T {
  return ArrayBuffer.isView(data) && data.constructor === kind.constructor;
}

/** FP16 as numbers; everything else as it is. */
export function outputTensor({ datatype, shape, data }: Tensor): OutputTensor {
  const isHalf = datatype === 'FP16' && data instanceof Uint16Array;
  return {
    datatype,
    shape,
    data: isHalf ? Float32Array.from(new Float16Array(data.buffer, data.byteOffset, data.length)) : data,
  };
}

/** The elements of a tensor in arrays within arrays, in JSON. */
export function nestedJson({ datatype, shape, data }: OutputTensor): string {
  const elements = Array.from<unknown, string>(data, (element) => elementInJson(datatype, element));
  const [whole = ''] = shape.reduceRight<readonly string[]>((inner, size, dimension) => {
    const groups = elementCount(shape.slice(0, dimension));
    return Array.from({ length: groups }, (_, at) => `[${inner.slice(at * size, (at + 1) * size).join()}]`);
  }, elements);
  return whole;
}

/** Whole numbers with all of their digits; what JSON has no number for is null. */
function elementInJson(datatype: Datatype, element: unknown): string {
  if (datatype === 'BOOL') return String(element === 1);
  if (typeof element === 'string') return JSON.stringify(element);
  if (typeof element !== 'number') return String(element);
  if (!Number.isFinite(element)) return 'null';
  return String(datatype === 'FP32' || datatype === 'FP16' ? shortest(element) : element);
}

/** The number of the fewest digits that is the same float32. */
function shortest(float: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(float.toPrecision(digits));
    if (Math.fround(short) === float) return short;
  }
  return Number(float.toPrecision(9));
}

type Fail = (problem: string) => never;

function isShaped(given: unknown): given is { readonly shape: unknown; readonly data: ArrayLike<unknown> } {
  return typeof given === 'object' && given !== null && 'shape' in given && 'data' in given;
}

function shapeOf(given: unknown, fail: Fail): readonly number[] {
  const shape: number[] = [];
  let first = given;
  while (isList(first)) {
    if (shape.length === mostDimensions) return fail(`has more than ${mostDimensions} dimensions`);
    shape.push(first.length);
    first = first[0];
  }
  if (!isOfShape(given, shape)) return fail(`its arrays are not all of one length: ${shape.join(' by ')} was expected`);
  return shape;
}

function isOfShape(given: unknown, [size, ...rest]: readonly number[]): boolean {
  if (size === undefined) return !isList(given);
  if (!isList(given) || given.length !== size) return false;
  return Array.prototype.every.call(given, (inner) => isOfShape(inner, rest));
}

function isList(given: unknown): given is ArrayLike<unknown> {
  return Array.isArray(given) || (ArrayBuffer.isView(given) && !(given instanceof DataView));
}

function leaves(given: unknown): readonly unknown[] {
  if (!isList(given)) return [given];
  return Array.from(given).flatMap(leaves);
}

function filled(datatype: Datatype, count: number, elements: readonly unknown[], fail: Fail): TensorData {
  const values = elements.map(
    (element, index) =>
      elementOf(datatype, element) ?? fail(`element ${index} is ${shown(element)}, which is no ${datatype}`),
  );
  if (datatype === 'BYTES') return values.map(String);
  if (datatype === 'FP16') return new Uint16Array(Float16Array.from(values, Number).buffer);
  const data = zeros(datatype, count);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array)
    for (const [index, value] of values.entries()) data[index] = BigInt(value);
  else for (const [index, value] of values.entries()) data[index] = Number(value);
  return data;
}

/** @returns undefined for what the type does not have */
function elementOf(datatype: Datatype, element: unknown): number | bigint | string | undefined {
  switch (datatype) {
    case 'BYTES':
      return typeof element === 'string' ? element : undefined;
    case 'FP16':
    case 'FP32':
    case 'FP64':
      return keptFloat(datatype, element);
    case 'BOOL':
      return [0, 1].find((each) => each === numberOf(element));
    case 'INT64':
    case 'UINT64': {
      const whole = wholeOf(element);
      const fit = datatype === 'INT64' ? BigInt.asIntN : BigInt.asUintN;
      return whole !== undefined && fit(64, whole) === whole ? whole : undefined;
    }
    default: {
      const number = numberOf(element) ?? Number.NaN;
      const kept = zeros(datatype, 1);
      kept[0] = number;
      return kept[0] === number ? number : undefined;
    }
  }
}

const floats = { FP16: Float16Array, FP32: Float32Array, FP64: Float64Array } as const;

/** What is finite may not become infinite on the way. */
function keptFloat(datatype: keyof typeof floats, element: unknown): number | undefined {
  const number = numberOf(element);
  if (number === undefined) return undefined;
  const isInfinite = typeof element === 'number' && !Number.isFinite(element);
  const [kept = Number.NaN] = floats[datatype].of(number);
  return isInfinite || Number.isFinite(kept) ? number : undefined;
}

function wholeOf(element: unknown): bigint | undefined {
  if (typeof element === 'bigint') return element;
  const number = numberOf(element);
  return number !== undefined && Number.isInteger(number) ? BigInt(number) : undefined;
}

function numberOf(element: unknown): number | undefined {
  switch (typeof element) {
    case 'number':
      return element;
    case 'bigint':
    case 'boolean':
      return Number(element);
    default:
      return undefined;
  }
}

function shown(element: unknown): string {
  return typeof element === 'string' ? JSON.stringify(element.slice(0, 32)) : String(element).slice(0, 32);
}
