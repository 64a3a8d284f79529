import { elementCount, type Tensor } from './datatypes.ts';
import { badRequest } from './request-error.ts';

/** Each has to be compared with others, and may become a text. */
const mostValues = 1_000_000;

/**
 * The highest values of each row and where they stand, as "VALUE:INDEX" (the classification extension of the Open
 * Inference Protocol, as Triton writes it: floats with six decimals). The first dimension counts rows where there are
 * several.
 *
 * @param most how many of each row
 * @throws RequestError 400 for an output that has no order
 */
export function classify(name: string, { datatype, shape, data }: Tensor, most: number): Tensor {
  const values = orderedValues(name, datatype, data);
  if (elementCount(shape) > mostValues) {
    throw badRequest(`output '${name}': classification of ${elementCount(shape)} values, more than ${mostValues}`);
  }
  const rows = shape.length > 1 ? (shape[0] ?? 0) : 1;
  const classes = shape.length > 1 ? elementCount(shape.slice(1)) : elementCount(shape);
  const kept = Math.min(most, classes);
  const isFloat = datatype === 'FP16' || datatype === 'FP32' || datatype === 'FP64';
  const texts: string[] = [];
  // Rows without values have no bound.
  for (let row = 0; kept > 0 && row < rows; row++) {
    for (const index of highest(values, row * classes, classes, kept)) {
      const value = values[row * classes + index] ?? 0;
      texts.push(`${isFloat ? sixDecimals(Number(value)) : value}:${index}`);
    }
  }
  return { datatype: 'BYTES', shape: shape.length > 1 ? [rows, kept] : [kept], data: texts };
}

function orderedValues(name: string, datatype: Tensor['datatype'], data: Tensor['data']): ArrayLike<number | bigint> {
  if (Array.isArray(data) || datatype === 'BOOL') {
    throw badRequest(`output '${name}': classification needs numbers, and it is ${datatype}`);
  }
  return datatype === 'FP16' ? new Float16Array(data.buffer, data.byteOffset, data.length) : data;
}

/** As the standard library of C++ writes it. */
function sixDecimals(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Math.abs(value) >= 1e21) return `${BigInt(value)}.000000`;
  return Object.is(value, -0) ? '-0.000000' : value.toFixed(6);
}

/** The places of the highest values from `start` on, the highest first; of equals the first. NaN is the lowest. */
function highest(values: ArrayLike<number | bigint>, start: number, count: number, most: number): readonly number[] {
  const at = (index: number) => values[start + index] ?? 0;
  const rank = (index: number) => (Number.isNaN(Number(at(index))) ? Number.NEGATIVE_INFINITY : at(index));
  return Array.from({ length: count }, (_, index) => index)
    .sort((a, b) => (rank(a) < rank(b) ? 1 : rank(a) > rank(b) ? -1 : a - b))
    .slice(0, most);
}
