import { readFileSync } from 'node:fs';
import type { ModelSession } from '../model/session.ts';
import { StartupError } from '../model/startup-error.ts';
import { decodeEmbeddings, encodeEmbeddings } from '../protocol/embeddings.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import { normalized, TextEmbedder, UnfitModel } from '../tasks/text-embedder.ts';
import { InvalidTokenizer, TextTokenizer, UnreadableText } from '../tasks/text-tokenizer.ts';
import type { TaskSettings } from './executor-settings.ts';
import { failure, type InferenceAnswer, type InferenceLimits } from './inference.ts';

/** Answers OpenAI's `POST /v1/embeddings`. */
export interface Embeddings {
  /**
   * Never rejects.
   *
   * @param leftMilliseconds until nobody waits for the answer any more
   */
  answer(body: Buffer, leftMilliseconds: number): Promise<InferenceAnswer>;
}

/** Of a number in JSON, and of the Base64 of its four bytes. */
const mostBytesBeside = 64;
const mostBytesOf = { float: 16, base64: 16 / 3 } as const;

/**
 * Makes a model one that takes texts.
 *
 * @throws StartupError ModelInvalid, when the tokenizer is none or the model is no encoder of texts
 */
export function openEmbeddings(
  session: ModelSession,
  { task, tokenizerPath }: TaskSettings,
  model: ModelIdentity,
  { mostAnswerBytes }: InferenceLimits,
): Embeddings {
  const { tokenizer, embedder } = opened(session, task, tokenizerPath);
  const embed = async (body: Buffer, leftMilliseconds: number): Promise<InferenceAnswer> => {
    const until = performance.now() + leftMilliseconds;
    const { input, encoding, dimensions } = decodeEmbeddings(body, model.name);
    const goOn = () => {
      if (performance.now() > until)
        throw new RequestError(504, 'the texts were not done in the time that the answer may take: send fewer at once');
    };
    const texts = input.map((one) => {
      goOn();
      return typeof one === 'string' ? encoded(one, tokenizer) : knownIds(one, tokenizer);
    });
    const start = performance.now();
    const vectors = await embedder.embed(texts, goOn);
    const seconds = (performance.now() - start) / 1000;
    const asked = vectors.map((vector) => cut(vector, dimensions, task.isNormalized));
    const bytes = asked.reduce((sum, { length }) => sum + length * mostBytesOf[encoding] + mostBytesBeside, 0);
    if (bytes > mostAnswerBytes)
      throw badRequest(
        `the answer may have ${bytes} bytes, and at most ${mostAnswerBytes} are sent: send fewer texts at once`,
      );
    const tokens = texts.reduce((sum, ids) => sum + ids.length, 0);
    return {
      kind: 'answered',
      body: encodeEmbeddings(model.name, asked, encoding, tokens),
      headerLength: undefined,
      seconds,
    };
  };
  return { answer: (body, left) => embed(body, left).catch((error: unknown) => failure(error)) };
}

function opened(session: ModelSession, task: TaskSettings['task'], tokenizerPath: string) {
  try {
    const tokenizer = new TextTokenizer(readFileSync(tokenizerPath, 'utf8'), task.maxTokens);
    return { tokenizer, embedder: new TextEmbedder(session, task, tokenizer.paddingId) };
  } catch (error) {
    if (error instanceof InvalidTokenizer || error instanceof UnfitModel)
      throw new StartupError('ModelInvalid', error.message, { cause: error });
    throw error;
  }
}

function encoded(text: string, tokenizer: TextTokenizer): readonly number[] {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    if (error instanceof UnreadableText)
      throw badRequest(`'input' has a text that the tokenizer cannot take: ${error.message}`);
    throw error;
  }
}

function knownIds(ids: readonly number[], tokenizer: TextTokenizer): readonly number[] {
  const unknown = ids.find((id) => !tokenizer.knows(id));
  if (unknown !== undefined)
    throw badRequest(`'input' has the token id ${unknown}, which the model's tokenizer does not know: send texts`);
  return tokenizer.fit(ids);
}

function cut(vector: Float32Array, dimensions: number | undefined, isNormalized: boolean): Float32Array {
  if (dimensions === undefined || dimensions === vector.length) return vector;
  if (dimensions > vector.length)
    throw badRequest(`'dimensions' is ${dimensions}, and the vectors of this model have ${vector.length}`);
  const first = vector.slice(0, dimensions);
  return isNormalized ? normalized(first) : first;
}
