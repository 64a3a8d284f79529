import { isUtf8 } from 'node:buffer';
import { JsonReader, shorten } from './json-reader.ts';
import { badRequest, RequestError } from './request-error.ts';

/** What tokenizers make of a text takes a hundred times its bytes; no model takes as many tokens. */
const mostCharacters = 65_536;
/** Of all texts of a request, about what OpenAI's API takes (300,000 tokens): others wait for as long as they are tokenized. */
const mostCharactersOfAll = 1_048_576;

/**
 * Reads the body of a request of texts: a JSON object that names the model. Other fields than the known ones are passed over.
 *
 * @param name of the model that is here
 * @param fields reads each that is known, whose value comes next
 * @throws RequestError 400 that names the field and what was expected, 404 for another model
 */
export function readTextRequest(
  body: Buffer,
  name: string,
  fields: Readonly<Record<string, (reader: JsonReader) => void>>,
): void {
  if (!isUtf8(body)) throw badRequest('the body is not JSON: it is not UTF-8 text');
  const reader = new JsonReader(body);
  if (reader.peek() !== 'object') throw badRequest(`the body must be a JSON object, not ${reader.describe()}`);
  let model: string | undefined;
  const known = new Map(Object.entries(fields)).set('model', () => {
    if (reader.peek() !== 'string')
      throw badRequest(`'model' must be a string, not ${reader.describe()}: '${name}' is here`);
    model = reader.string();
  });
  const given = new Set<string>();
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    const read = known.get(key);
    if (read === undefined) reader.skip();
    else {
      if (given.has(key)) throw badRequest(`'${key}' is given twice`);
      given.add(key);
      read(reader);
    }
  }
  reader.end();
  if (model === undefined) throw badRequest(`'model' is missing: it must be '${name}', which is here`);
  refuseOther(model, name);
}

/** @throws RequestError 404 for another model than the one that is here */
export function refuseOther(model: string, name: string): void {
  if (model !== name) throw new RequestError(404, `there is no model '${shorten(model)}' here, only '${name}'`);
}

/** @param field of the text, as the client knows it */
export function readText(reader: JsonReader, field: string): string {
  if (reader.peek() !== 'string') throw badRequest(`'${field}' must be a string, not ${reader.describe()}`);
  const text = reader.string();
  if (text === '') throw badRequest(`'${field}' is empty: it must have a character at least`);
  if (endlessMarks.test(text))
    throw badRequest(`'${field}' has more than ${mostMarks} marks on one character: no model has seen any such`);
  const characters = charactersOf(text);
  if (characters > mostCharacters)
    throw badRequest(`'${field}' has ${characters} characters: at most ${mostCharacters} are taken, split it`);
  return text;
}

/** Marks are put into an order when text is normalized, which takes a time that grows with the square of their number. */
const mostMarks = 256;
const endlessMarks = new RegExp(`\\p{M}{${mostMarks + 1}}`, 'u');

/** Tokenizers take signs apart: one may become eighteen. */
function charactersOf(text: string): number {
  return text.length > mostCharacters ? text.length : text.normalize('NFKD').length;
}

/** @throws RequestError 400 for texts that are too long together */
export function refuseLong(field: string, texts: readonly string[]): void {
  const least = texts.reduce((sum, { length }) => sum + length, 0);
  const characters = least > mostCharactersOfAll ? least : texts.reduce((sum, text) => sum + charactersOf(text), 0);
  if (characters > mostCharactersOfAll)
    throw badRequest(
      `the texts of '${field}' have ${characters} characters together: at most ${mostCharactersOfAll} are taken, send them in several requests`,
    );
}

/**
 * A list that is not empty.
 *
 * @param read takes an element whose name is given
 */
export function readList<T>(
  reader: JsonReader,
  field: string,
  of: string,
  most: number,
  read: (element: string) => T,
): readonly T[] {
  const form = `'${field}' must be a list of ${of}`;
  if (reader.peek() !== 'array') throw badRequest(`${form}, not ${reader.describe()}`);
  reader.beginArray();
  if (!reader.element(true)) throw badRequest(`${form}, and not empty`);
  const list: T[] = [];
  do {
    if (list.length === most)
      throw badRequest(`'${field}' has more entries than ${most}: send them in several requests`);
    list.push(read(`${field}[${list.length}]`));
  } while (reader.element(false));
  return list;
}

/** One text or several, of which there are at most so many. */
export function readTexts(reader: JsonReader, field: string, most: number): readonly string[] {
  return reader.peek() === 'string'
    ? [readText(reader, field)]
    : readList(reader, field, 'strings, or a string', most, (element) => readText(reader, element));
}

/** Undefined for null. */
export function readWhole(reader: JsonReader, field: string, most: number): number | undefined {
  if (isNull(reader)) return undefined;
  const wrong = (what: string) => badRequest(`'${field}' must be a whole number from 1 to ${most}, not ${what}`);
  if (reader.peek() !== 'number') throw wrong(reader.describe());
  const value = reader.number();
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw wrong(String(value));
}

/** Undefined for null. */
export function readShare(reader: JsonReader, field: string): number | undefined {
  if (isNull(reader)) return undefined;
  const wrong = (what: string) => badRequest(`'${field}' must be a number from 0 to 1, not ${what}`);
  if (reader.peek() !== 'number') throw wrong(reader.describe());
  const value = reader.number();
  if (value >= 0 && value <= 1) return value;
  throw wrong(String(value));
}

/** False for null. */
export function readFlag(reader: JsonReader, field: string): boolean {
  if (isNull(reader)) return false;
  if (reader.peek() !== 'boolean') throw badRequest(`'${field}' must be true or false, not ${reader.describe()}`);
  return reader.boolean();
}

/** Whether null comes next, which is then read. */
export function isNull(reader: JsonReader): boolean {
  if (reader.peek() !== 'null') return false;
  reader.null();
  return true;
}

/** The shortest decimal that is the same single-precision number again, or nearly: nine digits always are. */
export function shortest(value: number): number {
  return Number(value.toPrecision(9));
}

/** What OpenAI's and Jina's answers tell of the tokens that were read. */
export function usageOf(tokens: number): object {
  return { prompt_tokens: tokens, total_tokens: tokens };
}

/** An error as the clients of OpenAI read it. */
export function textRequestError(status: number, message: string): object {
  const type = status < 500 ? 'invalid_request_error' : 'server_error';
  return { error: { message, type, param: null, code: null } };
}
