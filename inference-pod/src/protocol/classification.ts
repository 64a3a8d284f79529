import { elementCount, type Tensor } from './datatypes.ts';
import { badRequest } from './request-error.ts';

/**
 * The highest values of each row and where they stand, as "VALUE:INDEX" (the classification extension of the Open
 * Inference Protocol, as Triton writes it: floats with six decimals). The first dimension counts rows where there are
 * several.
 *
 * @param most how many of each row
 * @throws RequestError 400 for an output that has no order
 */
export function classify(name: string, { datatype, shape, data }: Tensor, most: number): Tensor {
  if (Array.isArray(data) || datatype === 'BOOL') {
    throw badRequest(`output '${name}': classification needs numbers, and it is ${datatype}`);
  }
  const values: ArrayLike<number | bigint> =
    datatype === 'FP16' ? new Float16Array(data.buffer, data.byteOffset, data.length) : data;
  const rows = shape.length > 1 ? (shape[0] ?? 0) : 1;
  const classes = shape.length > 1 ? elementCount(shape.slice(1)) : elementCount(shape);
  const kept = Math.min(most, classes);
  const isFloat = datatype === 'FP16' || datatype === 'FP32' || datatype === 'FP64';
  const texts: string[] = [];
  for (let row = 0; row < rows; row++) {
    for (const index of highest(values, row * classes, classes, kept)) {
      const value = values[row * classes + index] ?? 0;
      texts.push(`${isFloat ? Number(value).toFixed(6) : value}:${index}`);
    }
  }
  return { datatype: 'BYTES', shape: shape.length > 1 ? [rows, kept] : [kept], data: texts };
}

/** The places of the highest values from `start` on, the highest first; of equals the first. NaN is the lowest. */
function highest(values: ArrayLike<number | bigint>, start: number, count: number, most: number): readonly number[] {
  const at = (index: number) => values[start + index] ?? 0;
  const rank = (index: number) => (Number.isNaN(Number(at(index))) ? Number.NEGATIVE_INFINITY : at(index));
  return Array.from({ length: count }, (_, index) => index)
    .sort((a, b) => (rank(a) < rank(b) ? 1 : rank(a) > rank(b) ? -1 : a - b))
    .slice(0, most);
}
