import { decodeEmbeddings, encodeEmbeddings } from '../protocol/embeddings.ts';
import { badRequest } from '../protocol/request-error.ts';
import { type Answering, refuseLarger, type TextTools } from './answering.ts';
import { encoded } from './encoded-text.ts';
import type { TextEmbeddingTask } from './task.ts';
import { normalized, TextEmbedder } from './text-embedder.ts';
import type { TextTokenizer } from './text-tokenizer.ts';

/** Of a number in JSON, and of the Base64 of its four bytes. */
const mostBytesBeside = 64;
const mostBytesOf = { float: 16, base64: 16 / 3 } as const;

/**
 * Answers OpenAI's `POST /v1/embeddings`.
 *
 * @throws UnfitModel
 */
export function textEmbedding(
  { session, tokenizer, name, mostAnswerBytes }: TextTools,
  task: TextEmbeddingTask,
): Answering {
  const embedder = new TextEmbedder(session, task, tokenizer.paddingId);
  return async (body, progress) => {
    const { input, encoding, dimensions } = decodeEmbeddings(body, name);
    const texts = input.map((one, index) => {
      progress.goOn();
      return typeof one === 'string'
        ? encoded(`input[${index}]`, () => tokenizer.encode(one))
        : knownIds(`input[${index}]`, one, tokenizer);
    });
    const vectors = await embedder.embed(texts, progress);
    const asked = vectors.map((vector) => cut(vector, dimensions, task.isNormalized));
    const bytes = asked.reduce((sum, { length }) => sum + length * mostBytesOf[encoding] + mostBytesBeside, 0);
    refuseLarger(bytes, mostAnswerBytes);
    const tokens = texts.reduce((sum, ids) => sum + ids.length, 0);
    return encodeEmbeddings(name, asked, encoding, tokens);
  };
}

function knownIds(field: string, ids: readonly number[], tokenizer: TextTokenizer): readonly number[] {
  const unknown = ids.find((id) => !tokenizer.knows(id));
  if (unknown !== undefined)
    throw badRequest(`'${field}' has the token id ${unknown}, which the model's tokenizer does not know: send texts`);
  return tokenizer.fit(ids);
}

function cut(vector: Float32Array, dimensions: number | undefined, isNormalized: boolean): Float32Array {
  if (dimensions === undefined || dimensions === vector.length) return vector;
  if (dimensions > vector.length)
    throw badRequest(`'dimensions' is ${dimensions}, and the vectors of this model have ${vector.length}`);
  const first = vector.slice(0, dimensions);
  return isNormalized ? normalized(first) : first;
}
