import { isUtf8 } from 'node:buffer';
import { JsonReader, shorten } from './json-reader.ts';
import { badRequest, RequestError } from './request-error.ts';

/** A request of OpenAI's `POST /v1/embeddings`. */
export interface EmbeddingsRequest {
  /** Texts, or the ids of their tokens. */
  readonly input: readonly (string | readonly number[])[];
  readonly encoding: 'float' | 'base64';
  /** How many of the first dimensions are answered; undefined for all. */
  readonly dimensions: number | undefined;
}

/** As OpenAI has it. */
const mostInputs = 2048;
const mostDimensions = 65_536;
/** What tokenizers make of a text takes a hundred times its bytes; no model takes as many tokens. */
const mostCharacters = 65_536;
/** Of all lists together. */
const mostIds = 1_048_576;
const inputForm = "'input' must be a string, a list of strings, a list of token ids, or a list of such lists";

/**
 * Reads the body of `POST /v1/embeddings`.
 *
 * @param name of the model that is here
 * @throws RequestError 400 that names the field and what was expected, 404 for another model
 */
export function decodeEmbeddings(body: Buffer, name: string): EmbeddingsRequest {
  if (!isUtf8(body)) throw badRequest('the body is not JSON: it is not UTF-8 text');
  const reader = new JsonReader(body);
  if (reader.peek() !== 'object') throw badRequest(`the body must be a JSON object, not ${reader.describe()}`);
  let model: string | undefined;
  let input: EmbeddingsRequest['input'] | undefined;
  let encoding: EmbeddingsRequest['encoding'] = 'float';
  let dimensions: number | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    switch (key) {
      case 'model':
        if (reader.peek() !== 'string') throw badRequest(`'model' must be a string: '${name}' is here`);
        model = reader.string();
        break;
      case 'input':
        if (input !== undefined) throw badRequest("'input' is given twice");
        input = readInput(reader);
        break;
      case 'encoding_format':
        encoding = readEncoding(reader);
        break;
      case 'dimensions':
        dimensions = readDimensions(reader);
        break;
      default:
        reader.skip();
    }
  }
  reader.end();
  if (model === undefined) throw badRequest(`'model' must be a string: '${name}' is here`);
  if (model !== name) throw new RequestError(404, `there is no model '${shorten(model)}' here, only '${name}'`);
  if (input === undefined) throw badRequest(`${inputForm}: it is missing`);
  return { input, encoding, dimensions };
}

function readInput(reader: JsonReader): EmbeddingsRequest['input'] {
  const kind = reader.peek();
  if (kind === 'string') return [readText(reader, '')];
  if (kind !== 'array') throw badRequest(`${inputForm}, not ${reader.describe()}`);
  reader.beginArray();
  if (!reader.element(true)) throw badRequest(`${inputForm}, and not empty`);
  return reader.peek() === 'number' ? [readIds(reader, '', mostIds)] : readEntries(reader);
}

/** Of a list whose first element is next. */
function readEntries(reader: JsonReader): EmbeddingsRequest['input'] {
  const entries: (string | readonly number[])[] = [];
  let left = mostIds;
  do {
    if (entries.length === mostInputs)
      throw badRequest(`'input' has more entries than ${mostInputs}: send them in several requests`);
    const place = `[${entries.length}]`;
    const kind = reader.peek();
    if (kind === 'string') entries.push(readText(reader, place));
    else if (kind === 'array') {
      reader.beginArray();
      if (!reader.element(true)) throw badRequest(`'input${place}' is empty: it must have a token at least`);
      const ids = readIds(reader, place, left);
      left -= ids.length;
      entries.push(ids);
    } else throw badRequest(`${inputForm}: entry ${entries.length} is none`);
  } while (reader.element(false));
  return entries;
}

/** Of a list whose first element is next. */
function readIds(reader: JsonReader, place: string, most: number): readonly number[] {
  const ids: number[] = [];
  do {
    if (ids.length === most)
      throw badRequest(`'input' has more than ${mostIds} token ids: send them in several requests`);
    ids.push(readId(reader, place));
  } while (reader.element(false));
  return ids;
}

function readId(reader: JsonReader, place: string): number {
  const wrong = () => badRequest(`'input${place}' must have token ids alone: whole numbers from 0 on`);
  if (reader.peek() !== 'number') throw wrong();
  const id = reader.number();
  if (!Number.isInteger(id) || id < 0 || id >= 2 ** 31) throw wrong();
  return id;
}

function readText(reader: JsonReader, place: string): string {
  const text = reader.string();
  if (text === '') throw badRequest(`'input${place}' is empty: it must have a character at least`);
  // Tokenizers take signs apart: one may become eighteen.
  const characters = text.length > mostCharacters ? text.length : text.normalize('NFKD').length;
  if (characters > mostCharacters)
    throw badRequest(`'input${place}' has ${characters} characters: at most ${mostCharacters} are taken, split it`);
  return text;
}

function readEncoding(reader: JsonReader): EmbeddingsRequest['encoding'] {
  if (isNull(reader)) return 'float';
  const encoding = reader.peek() === 'string' ? reader.string() : reader.describe();
  if (encoding === 'float' || encoding === 'base64') return encoding;
  throw badRequest(`'encoding_format' must be 'float' or 'base64', not ${shorten(encoding)}`);
}

function readDimensions(reader: JsonReader): number | undefined {
  if (isNull(reader)) return undefined;
  const wrong = (what: string) =>
    badRequest(`'dimensions' must be a whole number from 1 to ${mostDimensions}, not ${what}`);
  if (reader.peek() !== 'number') throw wrong(reader.describe());
  const value = reader.number();
  if (Number.isInteger(value) && value >= 1 && value <= mostDimensions) return value;
  throw wrong(String(value));
}

function isNull(reader: JsonReader): boolean {
  if (reader.peek() !== 'null') return false;
  reader.null();
  return true;
}

/** What `/v1/embeddings` answers. */
export function encodeEmbeddings(
  name: string,
  vectors: readonly Float32Array[],
  encoding: EmbeddingsRequest['encoding'],
  tokens: number,
): string {
  const data = vectors.map((vector, index) => ({
    object: 'embedding',
    index,
    embedding:
      encoding === 'base64'
        ? Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')
        : Array.from(vector, shortest),
  }));
  return JSON.stringify({ object: 'list', data, model: name, usage: { prompt_tokens: tokens, total_tokens: tokens } });
}

/** The shortest decimal that is the same single-precision number again, or nearly: nine digits always are. */
function shortest(value: number): number {
  return Number(value.toPrecision(9));
}

/** What OpenAI's `GET /v1/models` answers. */
export function modelList(name: string, loadedSeconds: number): object {
  return { object: 'list', data: [{ id: name, object: 'model', created: loadedSeconds, owned_by: 'slipway' }] };
}

/** An error as OpenAI's clients read it. */
export function embeddingsError(status: number, message: string): object {
  const type = status < 500 ? 'invalid_request_error' : 'server_error';
  return { error: { message, type, param: null, code: null } };
}
