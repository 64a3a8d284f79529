import { isUtf8 } from 'node:buffer';
import { type Datatype, elementCount, type Tensor, viewOf } from './datatypes.ts';
import type { Patience } from './patience.ts';
import { badRequest } from './request-error.ts';

/** What a string takes in memory beside its text; a tensor of strings is counted with it. */
export const stringBytes = 48;

/** The bytes of one element; undefined for BYTES, whose elements have any length. */
export function elementBytes(datatype: Datatype): number | undefined {
  switch (datatype) {
    case 'BOOL':
    case 'UINT8':
    case 'INT8':
      return 1;
    case 'UINT16':
    case 'INT16':
    case 'FP16':
      return 2;
    case 'UINT32':
    case 'INT32':
    case 'FP32':
      return 4;
    case 'UINT64':
    case 'INT64':
    case 'FP64':
      return 8;
    case 'BYTES':
      return undefined;
  }
}

/**
 * Reads a tensor from its binary form: little-endian elements in row-major order; of BYTES each a 32-bit length and so
 * many bytes (the binary tensor data extension of the Open Inference Protocol). The tensor is a view of the bytes where
 * their alignment allows it.
 *
 * @param bytes exactly the tensor's
 * @param patience is spent on what has to be looked at element by element
 * @throws RequestError 400 that names the input and what was expected; 413 for too many strings
 */
export function readBinaryTensor(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  bytes: Buffer,
  mostBytes: number,
  patience: Patience | undefined,
): Tensor {
  const count = elementCount(shape);
  const size = elementBytes(datatype);
  if (size === undefined) {
    patience?.spend(count);
    return { datatype, shape, data: readStrings(name, count, bytes, mostBytes) };
  }
  if (bytes.length !== count * size) {
    throw badRequest(
      `input '${name}': shape [${shape.join(', ')}] of ${datatype} has ${count * size} bytes, but its binary data has ${bytes.length}`,
    );
  }
  const { buffer, byteOffset } = byteOffsetIsAligned(bytes, size) ? bytes : Buffer.from(bytes);
  const data = viewOf(datatype, buffer, byteOffset, count);
  if (datatype === 'BOOL') {
    patience?.spend(count / booleansPerElement);
    const wrong = firstAbove(bytes, 1);
    if (wrong !== -1) {
      throw badRequest(
        `input '${name}': element ${wrong} is ${bytes[wrong]}, expected 0 or 1, which mean false and true`,
      );
    }
  }
  return { datatype, shape, data };
}

/** So many booleans are looked at in the time in which another element is read. */
const booleansPerElement = 64;

/** @returns -1 when there is none */
function firstAbove(bytes: Buffer, most: number): number {
  for (let index = 0; index < bytes.length; index++) if ((bytes[index] ?? 0) > most) return index;
  return -1;
}

function byteOffsetIsAligned(bytes: Buffer, size: number): boolean {
  return bytes.byteOffset % size === 0;
}

function readStrings(name: string, count: number, bytes: Buffer, mostBytes: number): string[] {
  if (count * 4 > bytes.length) {
    throw badRequest(
      `input '${name}': ${count} elements of BYTES have at least ${count * 4} bytes, but its binary data has ${bytes.length}`,
    );
  }
  if (count * stringBytes + bytes.length > mostBytes) {
    throw badRequest(`input '${name}': its strings take more than the ${mostBytes} bytes that a tensor may take`, 413);
  }
  const strings = new Array<string>(count).fill('');
  let offset = 0;
  for (let index = 0; index < count; index++) {
    const start = offset + 4;
    const end = start <= bytes.length ? start + bytes.readUInt32LE(offset) : start;
    if (end > bytes.length) throw badRequest(`input '${name}': element ${index} ends beyond its binary data`);
    strings[index] = readText(name, index, bytes.subarray(start, end));
    offset = end;
  }
  if (offset !== bytes.length) {
    throw badRequest(
      `input '${name}': ${bytes.length - offset} bytes of its binary data are left over behind ${count} elements`,
    );
  }
  return strings;
}

/** @throws RequestError 400 for what an ONNX string cannot hold */
export function readText(name: string, index: number, bytes: Buffer): string {
  if (!isUtf8(bytes)) throw badRequest(`input '${name}': element ${index} is not UTF-8 text, which ONNX strings are`);
  if (bytes.includes(0)) {
    throw badRequest(`input '${name}': element ${index} holds a NUL character, which ONNX strings cannot`);
  }
  return bytes.toString();
}

/** The binary form of a tensor, without a copy where its elements have a fixed size. */
export function writeBinaryTensor({ data }: Tensor): Uint8Array {
  if (!Array.isArray(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const lengths = data.map((text) => Buffer.byteLength(text));
  const bytes = Buffer.allocUnsafe(lengths.reduce((sum, length) => sum + 4 + length, 0));
  let offset = 0;
  for (const [index, text] of data.entries()) {
    const length = lengths[index] ?? 0;
    offset = bytes.writeUInt32LE(length, offset);
    offset += bytes.write(text, offset, length);
  }
  return bytes;
}
