import type { IncomingMessage } from 'node:http';
import { RequestError } from '../protocol/request-error.ts';
import type { Place } from './admission.ts';

/**
 * Reads a request's body into one buffer of its own, which can be transferred to a worker thread.
 *
 * @throws RequestError 413 when it is larger than the limit (in bytes), 503 when other bodies take up all the room, 400
 *   when the client ends it early
 */
export async function readBody(
  request: IncomingMessage,
  maxBytes: number,
  place: Place,
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      if (!place.reserve(chunk.length))
        throw new RequestError(503, 'the server is full: too many bytes are in flight, try again');
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof RequestError) throw error;
    throw new RequestError(400, 'the body ended early');
  }
  const body = new Uint8Array(bytes);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

function tooLarge(maxBytes: number): RequestError {
  return new RequestError(413, `the body is larger than the ${maxBytes} bytes that this server accepts`);
}
