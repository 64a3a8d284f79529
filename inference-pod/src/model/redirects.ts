import type { Dispatcher } from 'undici';
import { refusedHost } from './address-guard.ts';
import { type RemoteRequest, type RequestContext, shown } from './remote.ts';
import { StartupError } from './startup-error.ts';

const maxRedirects = 5;

/**
 * Asks for something by GET, and follows redirects by hand, because each target has to be allowed: https never goes back to http,
 * no address leads to what no model is fetched from, and whoever it is redirected to is not shown credentials that are for another.
 *
 * @throws StartupError for what is refused; what the connection throws
 */
export async function getFollowing(
  start: Pick<RemoteRequest, 'url' | 'headers'>,
  { headers: more, dispatcher, signal }: RequestContext,
): Promise<{ readonly response: Dispatcher.ResponseData; readonly url: URL }> {
  const { request } = await import('undici');
  let { url } = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const refusal = refusedHost(url);
    if (refusal !== undefined)
      throw new StartupError('ModelFetchFailed', `the model at ${shown(url)} is refused: ${refusal}`);
    const own = url.origin === start.url.origin ? start.headers : {};
    const response = await request(url, { dispatcher, signal, headers: { ...own, ...more } });
    const { location } = response.headers;
    if (response.statusCode < 300 || response.statusCode >= 400 || typeof location !== 'string')
      return { response, url };
    await response.body.dump();
    url = redirectTarget(url, location);
  }
  throw new StartupError('ModelFetchFailed', `${shown(start.url)} is behind more than ${maxRedirects} redirects`);
}

function redirectTarget(from: URL, location: string): URL {
  const target = new URL(location, from);
  const allowed = target.protocol === from.protocol || (from.protocol === 'http:' && target.protocol === 'https:');
  if (!allowed) {
    throw new StartupError(
      'ModelFetchFailed',
      `the server of ${shown(from)} redirects from ${from.protocol}// to ${target.protocol}//, which is refused`,
    );
  }
  return target;
}

/**
 * The whole body of an answer that has something small.
 *
 * @throws StartupError ModelFetchFailed when it has more
 */
export async function bodyOf({ body }: Pick<Dispatcher.ResponseData, 'body'>, mostBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes)
      throw new StartupError(
        'ModelFetchFailed',
        `the store answers with more than ${mostBytes} bytes where little is asked`,
      );
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
