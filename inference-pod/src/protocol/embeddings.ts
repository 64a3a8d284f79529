import { isUtf8 } from 'node:buffer';
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

/**
 * Reads the body of `POST /v1/embeddings`.
 *
 * @param name of the model that is here
 * @throws RequestError 400 that names the field and what was expected, 404 for another model
 */
export function decodeEmbeddings(body: Buffer, name: string): EmbeddingsRequest {
  const fields = objectOf(body);
  const { model, encoding_format: encoding = 'float', dimensions } = fields;
  if (typeof model !== 'string') throw badRequest(`'model' must be a string: '${name}' is here`);
  if (model !== name) throw new RequestError(404, `there is no model '${shortened(model)}' here, only '${name}'`);
  if (encoding !== 'float' && encoding !== 'base64')
    throw badRequest(`'encoding_format' must be 'float' or 'base64', not ${shortened(JSON.stringify(encoding))}`);
  return { input: inputsOf(fields['input']), encoding, dimensions: dimensionsOf(dimensions) };
}

function objectOf(body: Buffer): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    if (!isUtf8(body)) throw new Error('it is not UTF-8 text');
    value = JSON.parse(body.toString());
  } catch (error) {
    throw badRequest(`the body is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest('the body must be a JSON object');
  return { ...value };
}

function inputsOf(input: unknown): EmbeddingsRequest['input'] {
  const form = "'input' must be a string, a list of strings, a list of token ids, or a list of such lists";
  if (typeof input === 'string') return [textOf(input, '')];
  if (!Array.isArray(input)) throw badRequest(form);
  if (input.length === 0) throw badRequest(`${form}, and not empty`);
  if (input.every(isId)) return [input];
  if (input.length > mostInputs)
    throw badRequest(`'input' has ${input.length} entries: at most ${mostInputs} are taken at once`);
  return input.map((one: unknown, index) => {
    if (typeof one === 'string') return textOf(one, `[${index}]`);
    if (!Array.isArray(one)) throw badRequest(`${form}: entry ${index} is none`);
    if (one.length === 0) throw badRequest(`'input[${index}]' is empty: it must have a token at least`);
    if (!one.every(isId)) throw badRequest(`'input[${index}]' must have token ids alone: whole numbers from 0 on`);
    return one;
  });
}

function textOf(text: string, place: string): string {
  if (text === '') throw badRequest(`'input${place}' is empty: it must have a character at least`);
  if (text.length > mostCharacters)
    throw badRequest(`'input${place}' has ${text.length} characters: at most ${mostCharacters} are taken, split it`);
  return text;
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31;
}

function dimensionsOf(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= mostDimensions) return value;
  throw badRequest(
    `'dimensions' must be a whole number from 1 to ${mostDimensions}, not ${shortened(JSON.stringify(value))}`,
  );
}

const mostShown = 100;
const shortened = (text: string) => (text.length > mostShown ? `${text.slice(0, mostShown)}...` : text);

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
