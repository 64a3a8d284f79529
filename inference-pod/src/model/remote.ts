import type { Dispatcher } from 'undici';
import type { Credentials } from './credentials.ts';
import { StartupError } from './startup-error.ts';

/** Where the bytes of a model are to be had by one request: that is all that a store is here. */
export interface Remote {
  /** As it may be shown: without what may be secret. */
  readonly name: string;
  /** How long what is asked before the model may take, in milliseconds; undefined for as long as a token. */
  readonly patienceMilliseconds?: number;
  /**
   * What is asked for; made anew for each try, because signatures and tokens run out.
   *
   * @throws StartupError where that will fail again; anything else where it may pass
   */
  request(context: RequestContext): Promise<RemoteRequest>;
  /** What the URI has led to, where it may move, for whoever wants the same bytes again; undefined until that is known. */
  resolvedUri?(): string | undefined;
  /**
   * Asks what the URI leads to now, where it may move, and for nothing of the model.
   *
   * @returns undefined where the store does not tell
   * @throws what asking throws
   */
  resolve?(context: RequestContext): Promise<string | undefined>;
  /** What an answer other than the model means; undefined where it is as with any store. */
  explain?(answer: RefusedAnswer): Explanation | undefined;
  /** Whether the next request will be another one because of an answer. */
  isAnotherTryBetter?(answer: RefusedAnswer): boolean;
}

/** What a request may be made of. */
export interface RequestContext {
  /** Sent beside its own. */
  readonly headers: Readonly<Record<string, string>>;
  /** For what has to be asked before. */
  readonly dispatcher: Dispatcher;
  readonly signal: AbortSignal;
}

export interface RefusedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The beginning of it. */
  readonly body: string;
  /** Whether another has answered than was asked, who was shown no credentials. */
  readonly isElsewhere: boolean;
}

export interface Explanation {
  readonly isMissing: boolean;
  /** What to look at. */
  readonly advice: string;
}

/** What is sent by POST. */
export interface Posted {
  /** Its media type. */
  readonly type: string;
  readonly content: string;
}

export interface RemoteRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** What the store says that the bytes have, in lower-case hexadecimal. */
  readonly sha256?: string;
  /** Sent by POST; asked for by GET where it is absent. */
  readonly posted?: Posted;
  /** The bytes of the model in an answer that has more than these; it always comes whole. */
  content?(answer: AsyncIterable<Buffer>, context: RequestContext): AsyncIterable<Buffer>;
}

/** A URL without what may be secret: redirects often lead to signed ones. */
export function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** A path as it stands in URLs, whatever is in its segments: everything but unreserved characters (RFC 3986, section 2.3). */
export function encodedPath(path: string): string {
  return path.split('/').map(encoded).join('/');
}

/** One segment of a path. */
export function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * Where a store is that is not at its usual address.
 *
 * @param name of what names it, in the Secret or in the environment
 * @throws StartupError InvalidConfiguration
 */
export function endpointOf(credentials: Credentials, name: string): string | undefined {
  const endpoint = credentials.get(name);
  if (endpoint === undefined) return undefined;
  if (!/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : ''))
    throw new StartupError('InvalidConfiguration', `${name} must be a URL, such as https://store.example.com`);
  return endpoint.replace(/\/+$/, '');
}
