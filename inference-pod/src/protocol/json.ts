import { badRequest } from './request-error.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Marks an integer that a double may not hold, as a string; no string of a client can start so, for NUL is refused. */
const mark = '\0';

/** A string as it is, or an integer of 16 digits or more that is no part of a longer number. */
const stringOrLargeInteger = /"(?:[^"\\]|\\.)*"|(?<![\d.])-?\d{16,}(?![\d.eE])/g;

/**
 * Parses a JSON body.
 *
 * @param keepIntegers whether integers of 16 digits and more are kept whole, as marked strings (see `readLargeInteger`):
 *   JSON.parse would round them, and a reviver takes minutes for a large body
 * @throws RequestError 400 when the body is not JSON
 */
export function parseJson(body: Uint8Array, keepIntegers: boolean): unknown {
  let text: string;
  try {
    text = decoder.decode(body);
  } catch {
    throw badRequest('the body is not JSON: it is not UTF-8 text');
  }
  if (!keepIntegers || !/\d{16}/.test(text)) return parse(text);
  return parse(text.replace(stringOrLargeInteger, (found) => (found.startsWith('"') ? found : `"\\u0000${found}"`)));
}

/** The integer that a marked string stands for; undefined for anything else. */
export function readLargeInteger(value: unknown): bigint | undefined {
  return typeof value === 'string' && /^\0-?\d+$/.test(value) ? BigInt(value.slice(mark.length)) : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const hint = /\b(NaN|-?Infinity)\b/.exec(text)?.[1];
    const reason =
      hint === undefined ? (error instanceof Error ? error.message : String(error)) : `JSON has no ${hint}`;
    throw badRequest(`the body is not JSON: ${reason}`);
  }
}
