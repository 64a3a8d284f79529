import type { Tensor } from './datatypes.ts';

/**
 * The data of a tensor as a flat JSON array. 64-bit integers keep all their digits, since they are written from their
 * own values and never become a double.
 *
 * @throws RangeError when a number is NaN or infinite, which JSON cannot hold
 */
export function encodeTensorData(name: string, { datatype, data }: Tensor): string {
  if (Array.isArray(data)) return JSON.stringify(data);
  switch (datatype) {
    case 'BOOL':
      return `[${Array.from<number | bigint, boolean>(data, (value) => value !== 0).join(',')}]`;
    case 'FP16':
      return encodeFloats(name, new Float16Array(data.buffer, data.byteOffset, data.length));
    case 'FP32':
    case 'FP64':
      return encodeFloats(name, data);
    default:
      return `[${data.join(',')}]`;
  }
}

function encodeFloats(name: string, data: ArrayLike<number | bigint> & { join(separator: string): string }): string {
  for (let index = 0; index < data.length; index++) {
    if (!Number.isFinite(Number(data[index]))) {
      throw new RangeError(
        `the model's output '${name}' holds ${data[index]} at element ${index}, which JSON cannot hold`,
      );
    }
  }
  return `[${data.join(',')}]`;
}
