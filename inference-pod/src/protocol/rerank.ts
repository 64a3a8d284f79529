import type { JsonReader } from './json-reader.ts';
import { badRequest } from './request-error.ts';
import {
  readFlag,
  readList,
  readText,
  readTextRequest,
  readWhole,
  refuseLong,
  shortest,
  usageOf,
} from './text-request.ts';

/** A request of `POST /v1/rerank`, as far as the APIs of Jina and Cohere agree. */
export interface RerankRequest {
  readonly query: string;
  readonly documents: readonly string[];
  /** How many of the best are told; undefined for all. */
  readonly top: number | undefined;
  /** Whether the documents are answered beside their scores. */
  readonly returnsDocuments: boolean;
}

/** As Jina's API has it. */
const mostDocuments = 2048;
const documentForm = 'strings, or of objects that have a text';

/**
 * Reads the body of `POST /v1/rerank`.
 *
 * @param name of the model that is here
 * @throws RequestError 400 that names the field and what was expected, 404 for another model
 */
export function decodeRerank(body: Buffer, name: string): RerankRequest {
  let query: string | undefined;
  let documents: readonly string[] | undefined;
  let top: number | undefined;
  let returnsDocuments = false;
  readTextRequest(body, name, {
    query: (reader) => {
      query = readText(reader, 'query');
    },
    documents: (reader) => {
      documents = readList(reader, 'documents', documentForm, mostDocuments, (element) =>
        readDocument(reader, element),
      );
    },
    top_n: (reader) => {
      top = readWhole(reader, 'top_n', mostDocuments);
    },
    return_documents: (reader) => {
      returnsDocuments = readFlag(reader, 'return_documents');
    },
  });
  if (query === undefined) throw badRequest("'query' must be a string: it is missing");
  if (documents === undefined) throw badRequest(`'documents' must be a list of ${documentForm}: it is missing`);
  refuseLong('documents', documents);
  return { query, documents, top, returnsDocuments };
}

function readDocument(reader: JsonReader, field: string): string {
  if (reader.peek() !== 'object') return readText(reader, field);
  let text: string | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (key === 'text' && text === undefined) text = readText(reader, `${field}.text`);
    else reader.skip();
  }
  if (text === undefined) throw badRequest(`'${field}.text' must be a string: it is missing`);
  return text;
}

/**
 * What `/v1/rerank` answers: the best first.
 *
 * @param scores of the documents, in their order
 */
export function encodeRerank(
  name: string,
  { documents, top, returnsDocuments }: RerankRequest,
  scores: readonly number[],
  tokens: number,
): string {
  const results = scores
    .map((score, index) => ({ index, score }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, top)
    .map(({ index, score }) => ({
      index,
      relevance_score: shortest(score),
      ...(returnsDocuments ? { document: { text: documents[index] } } : {}),
    }));
  return JSON.stringify({ object: 'list', model: name, results, usage: usageOf(tokens) });
}
