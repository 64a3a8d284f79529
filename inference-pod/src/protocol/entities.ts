import { badRequest } from './request-error.ts';
import { readShare, readTextRequest, readTexts, refuseLong, shortest, usageOf } from './text-request.ts';

/** A request of `POST /v1/entities`. */
export interface EntitiesRequest {
  readonly input: readonly string[];
  /** From 0 to 1: what is less sure is not told. */
  readonly threshold: number;
}

/** Something that a text names. */
export interface FoundEntity {
  readonly label: string;
  /** As it stands in the text. */
  readonly text: string;
  /** Of the text's code points, the first, and the one behind the last. */
  readonly start: number;
  readonly end: number;
  readonly score: number;
}

const mostInputs = 2048;

/**
 * Reads the body of `POST /v1/entities`.
 *
 * @param name of the model that is here
 * @throws RequestError 400 that names the field and what was expected, 404 for another model
 */
export function decodeEntities(body: Buffer, name: string): EntitiesRequest {
  let input: readonly string[] | undefined;
  let threshold = 0;
  readTextRequest(body, name, {
    input: (reader) => {
      input = readTexts(reader, 'input', mostInputs);
    },
    threshold: (reader) => {
      threshold = readShare(reader, 'threshold') ?? 0;
    },
  });
  if (input === undefined) throw badRequest("'input' must be a list of strings, or a string: it is missing");
  refuseLong('input', input);
  return { input, threshold };
}

/**
 * What `/v1/entities` answers.
 *
 * @param entities of each text, in its order
 * @param tokens that were read
 */
export function encodeEntities(name: string, entities: readonly (readonly FoundEntity[])[], tokens: number): string {
  const data = entities.map((ofText, index) => ({
    object: 'entities',
    index,
    entities: ofText.map((entity) => ({ ...entity, score: shortest(entity.score) })),
  }));
  return JSON.stringify({ object: 'list', data, model: name, usage: usageOf(tokens) });
}
