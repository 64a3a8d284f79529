import { type Datatype, elementCount, type Tensor, type TensorData } from './datatypes.ts';
import { readLargeInteger } from './json.ts';
import { badRequest, type RequestError } from './request-error.ts';

/**
 * Makes a tensor from JSON data, flat or nested as its shape.
 *
 * @param name the input's name, for the error
 * @throws RequestError 400 that names the input, the element and what was expected
 */
export function decodeTensor(name: string, datatype: Datatype, shape: readonly number[], data: unknown): Tensor {
  if (!Array.isArray(data)) throw badRequest(`input '${name}': data must be an array, not ${describeValue(data)}`);
  const values = Array.isArray(data[0]) ? flatten(name, shape, data) : data;
  const count = elementCount(shape);
  if (values.length !== count) {
    throw badRequest(
      `input '${name}': shape [${shape.join(', ')}] has ${count} elements, but data has ${values.length}`,
    );
  }
  return { datatype, shape, data: decodeValues(name, datatype, values) };
}

function flatten(name: string, shape: readonly number[], data: readonly unknown[]): unknown[] {
  const flat: unknown[] = [];
  const visit = (level: readonly unknown[], depth: number) => {
    const expected = shape[depth];
    if (level.length !== expected) {
      throw badRequest(
        `input '${name}': nested data does not have the shape [${shape.join(', ')}]: ` +
          `a list at depth ${depth + 1} has ${level.length} elements, not ${expected ?? 'a value'}`,
      );
    }
    const last = depth === shape.length - 1;
    for (const item of level) {
      if (last) flat.push(item);
      else if (Array.isArray(item)) visit(item, depth + 1);
      else {
        throw badRequest(
          `input '${name}': nested data does not have the shape [${shape.join(', ')}]: ` +
            `${describeValue(item)} stands where a list of ${shape[depth + 1]} was expected`,
        );
      }
    }
  };
  visit(data, 0);
  return flat;
}

function decodeValues(name: string, datatype: Datatype, values: readonly unknown[]): TensorData {
  const count = values.length;
  switch (datatype) {
    case 'BOOL':
      return fill(new Uint8Array(count), values, (value) => toBoolean(value), name, 'true or false');
    case 'UINT8':
      return decodeIntegers(name, new Uint8Array(count), values, 0, 0xff);
    case 'UINT16':
      return decodeIntegers(name, new Uint16Array(count), values, 0, 0xffff);
    case 'UINT32':
      return decodeIntegers(name, new Uint32Array(count), values, 0, 0xffff_ffff);
    case 'INT8':
      return decodeIntegers(name, new Int8Array(count), values, -0x80, 0x7f);
    case 'INT16':
      return decodeIntegers(name, new Int16Array(count), values, -0x8000, 0x7fff);
    case 'INT32':
      return decodeIntegers(name, new Int32Array(count), values, -0x8000_0000, 0x7fff_ffff);
    case 'UINT64':
      return decodeLargeIntegers(name, new BigUint64Array(count), values, 0n, 2n ** 64n - 1n);
    case 'INT64':
      return decodeLargeIntegers(name, new BigInt64Array(count), values, -(2n ** 63n), 2n ** 63n - 1n);
    case 'FP16': {
      const halves = decodeFloats(name, new Float16Array(count), values, 65504);
      return new Uint16Array(halves.buffer);
    }
    case 'FP32':
      return decodeFloats(name, new Float32Array(count), values, 3.4028234663852886e38);
    case 'FP64':
      return decodeFloats(name, new Float64Array(count), values, Number.MAX_VALUE);
    case 'BYTES':
      return values.map((value, index) => {
        if (typeof value !== 'string') throw wrongValue(name, index, value, 'a string');
        // onnxruntime cuts a string at NUL, so it would answer for another input than was sent.
        if (value.includes('\0'))
          throw badRequest(`input '${name}': element ${index} holds a NUL character, which ONNX strings cannot`);
        return value;
      });
  }
}

function toBoolean(value: unknown): number | undefined {
  return value === true || value === 1 ? 1 : value === false || value === 0 ? 0 : undefined;
}

function decodeIntegers<A extends { [index: number]: number }>(
  name: string,
  into: A,
  values: readonly unknown[],
  least: number,
  most: number,
): A {
  const accept = (value: unknown) =>
    typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most ? value : undefined;
  return fill(into, values, accept, name, `an integer from ${least} to ${most}`);
}

function decodeLargeIntegers<A extends { [index: number]: bigint }>(
  name: string,
  into: A,
  values: readonly unknown[],
  least: bigint,
  most: bigint,
): A {
  const accept = (value: unknown) => {
    const integer = readLargeInteger(value) ?? (Number.isSafeInteger(value) ? BigInt(Number(value)) : undefined);
    return integer !== undefined && integer >= least && integer <= most ? integer : undefined;
  };
  return fill(into, values, accept, name, `an integer from ${least} to ${most}`);
}

function decodeFloats<A extends { [index: number]: number }>(
  name: string,
  into: A,
  values: readonly unknown[],
  most: number,
): A {
  const accept = (value: unknown) => {
    const large = readLargeInteger(value);
    const number = large === undefined ? value : Number(large);
    return typeof number === 'number' && Math.abs(number) <= most ? number : undefined;
  };
  return fill(into, values, accept, name, `a number from ${-most} to ${most}`);
}

function fill<T, A extends { [index: number]: T }>(
  into: A,
  values: readonly unknown[],
  accept: (value: unknown) => T | undefined,
  name: string,
  expected: string,
): A {
  for (let index = 0; index < values.length; index++) {
    const accepted = accept(values[index]);
    if (accepted === undefined) throw wrongValue(name, index, values[index], expected);
    into[index] = accepted;
  }
  return into;
}

function wrongValue(name: string, index: number, value: unknown, expected: string): RequestError {
  return badRequest(`input '${name}': element ${index} is ${describeValue(value)}, expected ${expected}`);
}

/** A value as an error message shows it: short, whatever was sent. */
export function describeValue(value: unknown): string {
  const large = readLargeInteger(value);
  if (large !== undefined) return String(large);
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
