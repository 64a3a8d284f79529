import { badRequest } from '../protocol/request-error.ts';
import { UnreadableText } from './text-tokenizer.ts';

/**
 * What a tokenizer makes of a text.
 *
 * @param field of the text, as the client knows it
 * @throws RequestError 400
 */
export function encoded<T>(field: string, encode: () => T): T {
  try {
    return encode();
  } catch (error) {
    if (error instanceof UnreadableText) throw badRequest(`the tokenizer cannot take '${field}': ${error.message}`);
    throw error;
  }
}
