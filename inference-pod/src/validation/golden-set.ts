import { isUtf8 } from 'node:buffer';
import type { Signature, Tensor, TensorData } from '../protocol/datatypes.ts';
import { JsonReader, shorten } from '../protocol/json-reader.ts';
import { type DecodeLimits, readAnswerTensors } from '../protocol/open-inference-request.ts';
import { badRequest } from '../protocol/request-error.ts';

/** How far a float may be from what is expected: by `absolute`, and by `relative` times that. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** One request, and what it has to be answered with. */
export interface GoldenRequest {
  /** What it is called in messages: its own name, or its place. */
  readonly name: string;
  /** The body of an inference request of the Open Inference Protocol, as it stands. */
  readonly body: Buffer;
  /** By the outputs that matter. */
  readonly expected: ReadonlyMap<string, Tensor>;
  readonly tolerance: Tolerance;
}

/** What other processors and newer versions of onnxruntime may differ by. */
export const defaultTolerance: Tolerance = { absolute: 1e-5, relative: 1e-4 };

/**
 * Reads a golden set: `{"requests": [{"name", "request", "response", "tolerance"}], "tolerance"}`, where request and
 * response are bodies of the Open Inference Protocol, all tensors in JSON.
 *
 * @throws RequestError that says where the text is none
 */
export function parseGoldenSet(text: Buffer, signature: Signature, limits: DecodeLimits): readonly GoldenRequest[] {
  if (!isUtf8(text)) throw badRequest('it is not UTF-8 text');
  const reader = new JsonReader(text);
  if (reader.peek() !== 'object') throw badRequest(`it must be a JSON object, not ${reader.describe()}`);
  // The tolerance of all may stand behind them.
  const start = reader.mark();
  let tolerance = defaultTolerance;
  eachKey(reader, (key) => {
    if (key === 'tolerance') tolerance = readTolerance(reader, defaultTolerance);
    else if (key === 'requests') reader.skip();
    else throw badRequest(`a golden set has requests and tolerance, not '${shorten(key)}'`);
  });
  reader.end();
  reader.returnTo(start);
  let requests: readonly GoldenRequest[] = [];
  eachKey(reader, (key) => {
    if (key === 'requests') requests = readRequests(reader, tolerance, signature, limits);
    else reader.skip();
  });
  if (requests.length === 0) throw badRequest('requests must be a list of at least one request');
  return requests;
}

function eachKey(reader: JsonReader, read: (key: string) => void): void {
  const given = new Set<string>();
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (given.has(key)) throw badRequest(`'${shorten(key)}' is given twice`);
    given.add(key);
    read(key);
  }
}

function readRequests(
  reader: JsonReader,
  tolerance: Tolerance,
  signature: Signature,
  limits: DecodeLimits,
): readonly GoldenRequest[] {
  if (reader.peek() !== 'array') throw badRequest(`requests must be a list, not ${reader.describe()}`);
  const requests: GoldenRequest[] = [];
  reader.beginArray();
  while (reader.element(requests.length === 0)) {
    requests.push(readRequest(reader, `requests[${requests.length}]`, tolerance, signature, limits));
  }
  return requests;
}

function readRequest(
  reader: JsonReader,
  where: string,
  common: Tolerance,
  signature: Signature,
  limits: DecodeLimits,
): GoldenRequest {
  if (reader.peek() !== 'object') throw badRequest(`${where} must be an object, not ${reader.describe()}`);
  let name = where;
  let body: Buffer | undefined;
  let expected: ReadonlyMap<string, Tensor> | undefined;
  let tolerance = common;
  eachKey(reader, (key) => {
    switch (key) {
      case 'name':
        if (reader.peek() !== 'string') throw badRequest(`${where}.name must be a string, not ${reader.describe()}`);
        name = `'${shorten(reader.string())}'`;
        break;
      case 'tolerance':
        tolerance = readTolerance(reader, common);
        break;
      case 'request':
        body = readBody(reader, where);
        break;
      case 'response':
        expected = readResponse(reader, where, signature, limits);
        break;
      default:
        throw badRequest(`${where} has name, request, response and tolerance, not '${shorten(key)}'`);
    }
  });
  if (body === undefined) throw badRequest(`${where}.request must be the body of an inference request, not missing`);
  if (expected === undefined || expected.size === 0) {
    throw badRequest(`${where}.response must have outputs: the answer that is expected`);
  }
  return { name, body, expected, tolerance };
}

/** The text of an object, as it stands. */
function readBody(reader: JsonReader, where: string): Buffer {
  if (reader.peek() !== 'object') throw badRequest(`${where}.request must be an object, not ${reader.describe()}`);
  const start = reader.position;
  reader.skip();
  return reader.bytes.subarray(start, reader.position);
}

function readResponse(reader: JsonReader, where: string, signature: Signature, limits: DecodeLimits, binary?: Buffer) {
  if (reader.peek() !== 'object') throw badRequest(`${where}.response must be an object, not ${reader.describe()}`);
  let tensors: ReadonlyMap<string, Tensor> | undefined;
  eachKey(reader, (key) => {
    if (key === 'outputs') tensors = readAnswerTensors(reader, signature, limits, binary);
    else reader.skip();
  });
  return tensors;
}

function readTolerance(reader: JsonReader, common: Tolerance): Tolerance {
  if (reader.peek() !== 'object') throw badRequest(`tolerance must be an object, not ${reader.describe()}`);
  let { absolute, relative } = common;
  eachKey(reader, (key) => {
    if (key !== 'absolute' && key !== 'relative') {
      throw badRequest(`tolerance has absolute and relative, not '${shorten(key)}'`);
    }
    const value = reader.peek() === 'number' ? reader.number() : Number.NaN;
    if (!(value >= 0 && Number.isFinite(value)))
      throw badRequest(`tolerance.${key} must be a number that is not negative`);
    if (key === 'absolute') absolute = value;
    else relative = value;
  });
  return { absolute, relative };
}

/**
 * Reads the tensors of an answer.
 *
 * @param headerLength how much of it is JSON, when tensors in binary form follow
 * @throws RequestError
 */
export function parseAnswer(
  answer: Buffer,
  signature: Signature,
  limits: DecodeLimits,
  headerLength = answer.length,
): ReadonlyMap<string, Tensor> {
  const reader = new JsonReader(answer.subarray(0, headerLength));
  return readResponse(reader, 'the answer', signature, limits, answer.subarray(headerLength)) ?? new Map();
}

/** In what an answer differs from what is expected, the first place of each output that does. */
export function differences(
  { name, expected, tolerance }: GoldenRequest,
  answer: ReadonlyMap<string, Tensor>,
): readonly string[] {
  return Array.from(expected, ([output, tensor]) => {
    const found = answer.get(output);
    if (found === undefined) return `request ${name}: output '${output}' was not answered`;
    const difference = differenceOf(tensor, found, tolerance);
    return difference === undefined ? undefined : `request ${name}: output '${output}' ${difference}`;
  }).filter((difference) => difference !== undefined);
}

/** The first place in which two tensors differ, in words; undefined for none. */
export function differenceOf(expected: Tensor, found: Tensor, tolerance: Tolerance): string | undefined {
  const shapes = [expected.shape, found.shape].map((shape) => `[${shape.join(', ')}]`);
  if (shapes[0] !== shapes[1]) return `has shape ${shapes[1]}, expected ${shapes[0]}`;
  const isFloat = expected.datatype.startsWith('FP');
  const wanted = valuesOf(expected);
  const given = valuesOf(found);
  for (let index = 0; index < wanted.length; index++) {
    const [want, have] = [wanted[index], given[index]];
    if (want === have || (isFloat && isWithin(Number(want), Number(have), tolerance))) continue;
    const within = isFloat ? ` within ${tolerance.absolute} and ${tolerance.relative} of it` : '';
    return `is ${shown(have)} at element ${index}, expected ${shown(want)}${within}`;
  }
  return undefined;
}

function isWithin(wanted: number, given: number, { absolute, relative }: Tolerance): boolean {
  if (Number.isNaN(wanted) || Number.isNaN(given)) return Number.isNaN(wanted) && Number.isNaN(given);
  if (!Number.isFinite(wanted) || !Number.isFinite(given)) return wanted === given;
  return Math.abs(wanted - given) <= absolute + relative * Math.abs(wanted);
}

/** The values of a tensor: those of FP16 are kept as bits. */
export function valuesOf({ datatype, data }: Tensor): TensorData | Float16Array {
  return datatype === 'FP16' && !Array.isArray(data)
    ? new Float16Array(data.buffer, data.byteOffset, data.length)
    : data;
}

function shown(value: string | number | bigint | undefined): string {
  return typeof value === 'string' ? JSON.stringify(shorten(value)) : String(value);
}
