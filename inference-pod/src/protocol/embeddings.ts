import { type JsonReader, shorten } from './json-reader.ts';
import { badRequest } from './request-error.ts';
import { isNull, readText, readTextRequest, readWhole, refuseLong, shortest, usageOf } from './text-request.ts';

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
  let input: EmbeddingsRequest['input'] | undefined;
  let encoding: EmbeddingsRequest['encoding'] = 'float';
  let dimensions: number | undefined;
  readTextRequest(body, name, {
    input: (reader) => {
      input = readInput(reader);
    },
    encoding_format: (reader) => {
      encoding = readEncoding(reader);
    },
    dimensions: (reader) => {
      dimensions = readWhole(reader, 'dimensions', mostDimensions);
    },
  });
  if (input === undefined) throw badRequest(`${inputForm}: it is missing`);
  refuseLong(
    'input',
    input.filter((one) => typeof one === 'string'),
  );
  return { input, encoding, dimensions };
}

function readInput(reader: JsonReader): EmbeddingsRequest['input'] {
  const kind = reader.peek();
  if (kind === 'string') return [readText(reader, 'input')];
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
    if (kind === 'string') entries.push(readText(reader, `input${place}`));
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

function readEncoding(reader: JsonReader): EmbeddingsRequest['encoding'] {
  if (isNull(reader)) return 'float';
  const encoding = reader.peek() === 'string' ? reader.string() : reader.describe();
  if (encoding === 'float' || encoding === 'base64') return encoding;
  throw badRequest(`'encoding_format' must be 'float' or 'base64', not ${shorten(encoding)}`);
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
  return JSON.stringify({ object: 'list', data, model: name, usage: usageOf(tokens) });
}

/** What OpenAI's `GET /v1/models` answers. */
export function modelList(name: string, loadedSeconds: number): object {
  return { object: 'list', data: [{ id: name, object: 'model', created: loadedSeconds, owned_by: 'slipway' }] };
}
