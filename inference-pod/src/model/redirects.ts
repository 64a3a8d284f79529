import type { Dispatcher } from 'undici';
import { refusedHost } from './address-guard.ts';
import { messageOf } from './error-message.ts';
import { passingAnswer } from './passing-failure.ts';
import { type Posted, type RemoteRequest, type RequestContext, shown } from './remote.ts';
import { StartupError } from './startup-error.ts';

const maxRedirects = 5;

export interface Received {
  readonly response: Dispatcher.ResponseData;
  /** Who has answered. */
  readonly url: URL;
}

/**
 * Asks for something by GET, and follows redirects by hand, because each target has to be allowed: https never goes back to http,
 * no address leads to what no model is fetched from, and whoever it is redirected to is not shown credentials that are for another.
 *
 * @throws StartupError for what is refused, and for what is wrong with a certificate or a header; what the connection throws
 */
export async function getFollowing(
  start: Pick<RemoteRequest, 'url' | 'headers'>,
  { headers: more, dispatcher, signal }: RequestContext,
): Promise<Received> {
  let { url } = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const own = url.origin === start.url.origin ? start.headers : {};
    const response = await ask(url, { dispatcher, signal, headers: { ...more, ...own } });
    const { location } = response.headers;
    if (response.statusCode < 300 || response.statusCode >= 400 || typeof location !== 'string')
      return { response, url };
    await response.body.dump();
    url = redirectTarget(url, location);
  }
  throw new StartupError('ModelFetchFailed', `${shown(start.url)} is behind more than ${maxRedirects} redirects`);
}

interface Options extends RequestContext {
  readonly method?: 'POST';
  readonly body?: string;
}

async function ask(url: URL, options: Options): Promise<Dispatcher.ResponseData> {
  const refusal = refusedHost(url);
  if (refusal !== undefined)
    throw new StartupError('ModelFetchFailed', `the model at ${shown(url)} is refused: ${refusal}`);
  const { request } = await import('undici');
  return await request(url, options).catch((error: unknown) => {
    throw lastingProblem(url, error) ?? error;
  });
}

function redirectTarget(from: URL, location: string): URL {
  if (!URL.canParse(location, from.href))
    throw new StartupError('ModelFetchFailed', `the server of ${shown(from)} redirects to what is no URL`);
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

/** The codes of OpenSSL for a certificate that is signed by nobody who is known (man openssl-verification-options). */
const unknownAuthority: readonly unknown[] = [
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];
const otherFaults: readonly unknown[] = [
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
];

/** What will be wrong the next time as well; undefined for other failures. */
function lastingProblem({ host }: URL, cause: unknown): StartupError | undefined {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
  const failed = (message: string) => new StartupError('ModelFetchFailed', message, { cause });
  if (unknownAuthority.includes(code))
    return failed(
      `the certificate of ${host} is signed by no authority that is known: give that as the key ca.crt of the Secret of spec.model.secretName`,
    );
  if (otherFaults.includes(code)) return failed(`the certificate of ${host} is refused: ${messageOf(cause)}`);
  if (code === 'UND_ERR_INVALID_ARG')
    return new StartupError(
      'InvalidConfiguration',
      `what is to be sent to ${host} has characters that no header may have: check the keys of the Secret of spec.model.secretName`,
    );
  if (messageOf(cause).includes('Proxy response (407)'))
    return failed(`the proxy on the way to ${host} asks who it is: give user and password in HTTPS_PROXY`);
  return undefined;
}

/** An answer that is small. */
export interface SmallAnswer {
  readonly status: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  /** Of an answer other than 200, the beginning. */
  readonly body: string;
  readonly url: URL;
}

/**
 * Asks for something small: by GET, following redirects, or by POST, following none.
 *
 * @throws StartupError for what will be so again; Passing for an answer that may be another in a while; what the connection throws
 */
export async function askSmall(
  start: Pick<RemoteRequest, 'url' | 'headers'>,
  context: RequestContext,
  mostBytes: number,
  posted?: Posted,
): Promise<SmallAnswer> {
  const { response, url } =
    posted === undefined ? await getFollowing(start, context) : await post(start, posted, context);
  const { statusCode: status, headers } = response;
  const body = status === 200 ? await wholeOf(response, mostBytes) : await beginningOf(response);
  const passing = passingAnswer(status, headers, `the server of ${shown(url)} answered ${status}`);
  if (passing !== undefined) throw passing;
  return { status, headers, body, url };
}

export function postedForm(form: URLSearchParams): Posted {
  return { type: 'application/x-www-form-urlencoded', content: form.toString() };
}

/** Asks for something by POST, and follows no redirects. */
export async function post(
  { url, headers }: Pick<RemoteRequest, 'url' | 'headers'>,
  { type, content }: Posted,
  { headers: more, dispatcher, signal }: RequestContext,
): Promise<Received> {
  const options: Options = {
    method: 'POST',
    headers: { ...more, ...headers, 'content-type': type },
    body: content,
    dispatcher,
    signal,
  };
  return { response: await ask(url, options), url };
}

type Body = Pick<Dispatcher.ResponseData, 'body'>;

async function wholeOf({ body }: Body, mostBytes: number): Promise<string> {
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
  return Buffer.concat(chunks).toString();
}

const mostExplained = 4096;
const explainedWithinMilliseconds = 5000;

/** What a server says of its refusal, which nobody waits long for. */
export async function beginningOf({ body }: Body): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const timer = setTimeout(() => body.destroy(), explainedWithinMilliseconds);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= mostExplained) break;
    }
  } catch {
    // What has come is enough: the status says the most of it.
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks).toString().slice(0, mostExplained);
}
