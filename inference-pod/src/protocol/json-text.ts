import type { Tensor } from './datatypes.ts';
import { floatTexts } from './float-texts.ts';
import { badRequest } from './request-error.ts';

/** The bytes of an answer: one text, or pieces that follow one another. */
export type AnswerBody = string | readonly Uint8Array[];

/** How NaN and the infinities are written, which JSON does not have. */
export const nonFiniteForms = ['bare', 'string', 'null'] as const;
export type NonFinite = (typeof nonFiniteForms)[number];

/** Texts up to this length stay one string, which the runtime sends in one write with the head. */
const mostTextLength = 65_536;
/** So many elements are made text at once. */
const pieceLength = 4096;

/** Collects a JSON text of any size in pieces, so that no string of the whole is made. */
export class JsonText {
  readonly #mostBytes: number;
  readonly #pieces: Uint8Array[] = [];
  #bytes = 0;
  #text = '';

  /** @param mostBytes more is refused */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** @throws RequestError 400 when the text is larger than allowed */
  append(text: string): void {
    this.#text += text;
    if (this.#text.length > mostTextLength) this.#cut();
  }

  #cut(): void {
    const piece = Buffer.from(this.#text);
    this.#bytes += piece.length;
    this.#text = '';
    this.#pieces.push(piece);
    if (this.#bytes > this.#mostBytes) throw tooLarge(this.#mostBytes);
  }

  finish(): AnswerBody {
    if (this.#pieces.length === 0 && this.#text.length <= this.#mostBytes) return this.#text;
    this.#cut();
    return this.#pieces;
  }
}

export function tooLarge(mostBytes: number) {
  return badRequest(
    `the answer is larger than the ${mostBytes} bytes that this server sends: ask for fewer outputs, or for fewer rows at once`,
  );
}

/**
 * Appends the data of a tensor as a flat JSON list. Numbers are written as String(number) does, but for -0, which is -0.0:
 * the shortest text that means the same double, or the same float32, so that the float32 nearest to 0.1 is 0.1. 64-bit
 * integers keep all their digits.
 */
export function appendTensorData(text: JsonText, { datatype, data }: Tensor, nonFinite: NonFinite): void {
  text.append('[');
  for (let start = 0; start < data.length; start += pieceLength) {
    const separator = start === 0 ? '' : ',';
    text.append(separator + pieceOf(datatype, data, start, start + pieceLength, nonFinite));
  }
  text.append(']');
}

/** How elements are written. */
export interface NestedForm {
  /** Strings as {"b64": "..."}. */
  readonly isBase64: boolean;
  readonly nonFinite: NonFinite;
}

/**
 * Appends a part of a tensor's data as nested lists of this shape; a scalar as itself.
 *
 * @returns the index behind the part
 */
export function appendNested(
  text: JsonText,
  tensor: Tensor,
  shape: readonly number[],
  from: number,
  form: NestedForm,
): number {
  const [length, ...inner] = shape;
  if (length === undefined) {
    text.append(nestedPiece(tensor, from, from + 1, form));
    return from + 1;
  }
  if (inner.length === 0) {
    text.append('[');
    for (let start = from; start < from + length; start += pieceLength) {
      const end = Math.min(start + pieceLength, from + length);
      text.append((start === from ? '' : ',') + nestedPiece(tensor, start, end, form));
    }
    text.append(']');
    return from + length;
  }
  let index = from;
  text.append('[');
  for (let item = 0; item < length; item++) {
    if (item > 0) text.append(',');
    index = appendNested(text, tensor, inner, index, form);
  }
  text.append(']');
  return index;
}

function nestedPiece(
  { datatype, data }: Tensor,
  start: number,
  end: number,
  { isBase64, nonFinite }: NestedForm,
): string {
  if (!isBase64 || !Array.isArray(data)) return pieceOf(datatype, data, start, end, nonFinite);
  const texts = data.slice(start, end).map((text) => `{"b64":"${Buffer.from(text).toString('base64')}"}`);
  return texts.join(',');
}

function pieceOf(
  datatype: Tensor['datatype'],
  data: Tensor['data'],
  start: number,
  end: number,
  nonFinite: NonFinite,
): string {
  if (Array.isArray(data)) return JSON.stringify(data.slice(start, end)).slice(1, -1);
  switch (datatype) {
    case 'BOOL':
      return Array.from<number | bigint, boolean>(data.subarray(start, end), (value) => value !== 0).join(',');
    case 'FP16':
      return floats(new Float16Array(data.buffer, data.byteOffset, data.length).subarray(start, end), nonFinite);
    case 'FP32':
    case 'FP64': {
      if (!(data instanceof Float32Array || data instanceof Float64Array)) return '';
      const piece = start === 0 && end >= data.length ? data : data.subarray(start, end);
      return piece instanceof Float32Array ? singles(piece, nonFinite) : floats(piece, nonFinite);
    }
    default:
      return data.length <= fewElements && start === 0 && end >= data.length
        ? joined(data)
        : data.subarray(start, end).join(',');
  }
}

function singles(values: Float32Array, nonFinite: NonFinite): string {
  let text = '';
  // Behind the last that is not finite.
  let start = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    if (Number.isFinite(value)) continue;
    if (start < index) text += `${floatTexts(values.subarray(start, index))},`;
    text += nonFiniteText(value, nonFinite);
    start = index + 1;
    if (start < values.length) text += ',';
  }
  return start === 0 ? floatTexts(values) : text + floatTexts(values.subarray(start));
}

function floats(values: Float16Array | Float64Array, nonFinite: NonFinite): string {
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    const isOdd = value === 0 ? Object.is(value, -0) : !Number.isFinite(value);
    if (isOdd) return Array.from(values, (each) => float(each, nonFinite)).join(',');
  }
  return values.length <= fewElements ? joined(values) : values.join(',');
}

/** So few are made text quicker one by one than by a call of the engine. */
const fewElements = 16;

function joined(values: ArrayLike<number | bigint>): string {
  let text = '';
  for (let index = 0; index < values.length; index++) text += index === 0 ? `${values[index]}` : `,${values[index]}`;
  return text;
}

function float(value: number, nonFinite: NonFinite): string {
  if (!Number.isFinite(value)) return nonFiniteText(value, nonFinite);
  return Object.is(value, -0) ? '-0.0' : String(value);
}

function nonFiniteText(value: number, form: NonFinite): string {
  switch (form) {
    case 'bare':
      return String(value);
    case 'string':
      return `"${value}"`;
    case 'null':
      return 'null';
  }
}
