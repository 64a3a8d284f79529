import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { guardedLookup, refusedHost } from './address-guard.ts';
import { StartupError } from './startup-error.ts';

/** Where the bytes of a model are to be had by GET: that is all that a store is here. */
export interface Remote {
  /** As it may be shown: without what may be secret. */
  readonly name: string;
  /** What is asked for; made anew for each try, because signatures and tokens run out. */
  request(): Promise<RemoteRequest>;
  /** What an answer other than the model means; undefined where it is as with any store. */
  explain?(answer: RefusedAnswer): Explanation | undefined;
}

export interface RefusedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The beginning of it. */
  readonly body: string;
}

export interface Explanation {
  readonly isMissing: boolean;
  /** What to look at. */
  readonly advice: string;
}

export interface RemoteRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

/** What the bytes are written to. */
export interface Sink {
  write(bytes: Buffer): Promise<void>;
  /** What was written is of no use: they come from the beginning. */
  restart(): Promise<void>;
}

export interface DownloadOptions {
  readonly maxBytes: number;
  /** Told as bytes come; the total is undefined where the store does not tell it. */
  readonly onProgress: (bytes: number, totalBytes: number | undefined) => void;
  readonly signal: AbortSignal;
}

const maxRedirects = 5;
/** A store that sends nothing for so long has stalled. */
const stallMilliseconds = 60_000;
/** So often in a row may it fail without having sent anything new. */
const mostFailures = 5;
const retryMilliseconds = { first: 500, most: 8000, asked: 60_000 };

/** A failure that may pass. */
class Passing extends Error {
  override readonly name = 'Passing';
  /** How long the store asks to wait. */
  readonly afterMilliseconds: number | undefined;

  constructor(message: string, afterMilliseconds?: number, options?: ErrorOptions) {
    super(message, options);
    this.afterMilliseconds = afterMilliseconds;
  }
}

/** The rest of what was there is not to be had: it has become shorter, or the store knows no ranges. */
class RangeRefused extends Passing {}

/** How far a download has got. */
interface State {
  bytes: number;
  /** The most that ever were there: only more than that is progress. */
  most: number;
  /** A strong validator of what they are of; undefined where nothing shows that the rest would be of the same. */
  etag: string | undefined;
  failures: number;
}

/**
 * Reads a model from a store, going on where it was cut off if the store says by its ETag that it is still the same (RFC 9110,
 * sections 13.1.5 and 14), and from the beginning otherwise.
 *
 * @throws StartupError ModelNotFound, ModelTooLarge, ModelFetchFailed; what the sink throws; the reason of the signal
 */
export async function download(remote: Remote, sink: Sink, options: DownloadOptions): Promise<void> {
  // A pod whose model lies on a volume does without it, and without its memory.
  const { Agent } = await import('undici');
  const dispatcher = new Agent({
    connect: { lookup: guardedLookup, timeout: 10_000 },
    headersTimeout: stallMilliseconds,
    bodyTimeout: stallMilliseconds,
  });
  const state: State = { bytes: 0, most: 0, etag: undefined, failures: 0 };
  try {
    for (;;) {
      const before = state.most;
      try {
        await attempt(remote, dispatcher, state, sink, options);
        return;
      } catch (error) {
        if (!(error instanceof Passing) || options.signal.aborted) throw error;
        state.failures = state.most > before ? 1 : state.failures + 1;
        if (state.failures >= mostFailures) throw gaveUp(remote, error);
        await sleep(delayOf(state.failures, error.afterMilliseconds), undefined, { signal: options.signal });
      }
    }
  } finally {
    await dispatcher.destroy();
  }
}

function gaveUp({ name }: Remote, { message, cause }: Passing): StartupError {
  return new StartupError(
    'ModelFetchFailed',
    `the model at ${name} could not be read, after ${mostFailures} tries in a row: ${message}`,
    { cause },
  );
}

/** Pods that failed together do not try again together. */
function delayOf(failures: number, asked: number | undefined): number {
  const own = Math.min(retryMilliseconds.most, retryMilliseconds.first * 2 ** (failures - 1));
  return Math.min(retryMilliseconds.asked, Math.max(own, asked ?? 0)) * (0.75 + Math.random() / 2);
}

async function attempt(
  remote: Remote,
  dispatcher: Dispatcher,
  state: State,
  sink: Sink,
  options: DownloadOptions,
): Promise<void> {
  const isResumed = state.bytes > 0 && state.etag !== undefined;
  if (state.bytes > 0 && !isResumed) await restart(state, sink);
  const range = isResumed ? { range: `bytes=${state.bytes}-`, 'if-range': state.etag ?? '' } : {};
  const response = await open(remote, dispatcher, range, options.signal).catch((error: unknown) => {
    if (error instanceof RangeRefused) state.etag = undefined;
    throw error;
  });
  const { headers, body } = response;
  const isPart = response.statusCode === 206;
  if (isResumed && !isPart) await restart(state, sink);
  const [, first, whole] = /^bytes (\d+)-\d+\/(\d+)$/.exec(String(headers['content-range'])) ?? [];
  if (isPart && Number(first) !== state.bytes) {
    state.etag = undefined;
    body.on('error', () => undefined).destroy();
    throw new Passing(
      `it was asked for what follows byte ${state.bytes}, and sends what follows ${first ?? 'another'}`,
    );
  }
  const total = isPart ? Number(whole) : numberOf(headers['content-length']);
  if (total !== undefined && total > options.maxBytes) {
    body.on('error', () => undefined).destroy();
    throw tooLarge(remote.name, options.maxBytes, total);
  }
  state.etag = strongTag(headers['etag']);
  await readBody(remote, body, total, state, sink, options);
}

async function restart(state: State, sink: Sink): Promise<void> {
  state.bytes = 0;
  await sink.restart();
}

function numberOf(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d+$/.test(header) ? Number(header) : undefined;
}

/** A weak one says that two are alike, and not that their bytes are the same. */
function strongTag(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header.startsWith('"') ? header : undefined;
}

async function readBody(
  remote: Remote,
  body: AsyncIterable<Buffer>,
  total: number | undefined,
  state: State,
  sink: Sink,
  { maxBytes, onProgress, signal }: DownloadOptions,
): Promise<void> {
  const chunks = body[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await chunks.next().catch((error: unknown) => {
      if (signal.aborted) throw error;
      throw new Passing(describe(error), undefined, { cause: error });
    });
    if (done === true) break;
    state.bytes += value.length;
    if (state.bytes > maxBytes) {
      await chunks.return?.();
      throw tooLarge(remote.name, maxBytes);
    }
    await sink.write(value);
    state.most = Math.max(state.most, state.bytes);
    onProgress(state.bytes, total);
  }
  if (total !== undefined && state.bytes !== total)
    throw new Passing(`it ended after ${state.bytes} of ${total} bytes`);
}

/** Follows redirects by hand, because each target has to be allowed: https never goes back to http. */
async function open(
  remote: Remote,
  dispatcher: Dispatcher,
  range: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const { request } = await import('undici');
  const start = await remote.request();
  let { url } = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const refusal = refusedHost(url);
    if (refusal !== undefined)
      throw new StartupError('ModelFetchFailed', `the model at ${shown(url)} is refused: ${refusal}`);
    // Whoever it is redirected to is not to be shown credentials that are for another.
    const own = url.origin === start.url.origin ? start.headers : {};
    const headers = { accept: 'application/octet-stream, */*', ...own, ...range };
    const response = await request(url, { dispatcher, signal, headers }).catch((error: unknown) => {
      if (signal.aborted || isRefused(error)) throw error;
      throw new Passing(describe(error), undefined, { cause: error });
    });
    const { statusCode, body } = response;
    const { location } = response.headers;
    if (statusCode >= 300 && statusCode < 400 && typeof location === 'string') {
      await body.dump();
      url = redirectTarget(url, location);
      continue;
    }
    if (statusCode === 200 || (statusCode === 206 && 'range' in range)) return response;
    const text = await beginningOf(body);
    throw refusalOf({ status: statusCode, headers: response.headers, body: text }, url, remote);
  }
  throw new StartupError(
    'ModelFetchFailed',
    `the model at ${remote.name} is behind more than ${maxRedirects} redirects`,
  );
}

/** Statuses of a store that may answer otherwise in a while. */
const passingStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);

const mostExplained = 4096;

async function beginningOf(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= mostExplained) break;
    }
  } catch {
    // What has come is enough: the status says the most of it.
  }
  return Buffer.concat(chunks).toString().slice(0, mostExplained);
}

function refusalOf(answer: RefusedAnswer, url: URL, remote: Remote): Error {
  const { status, headers } = answer;
  const what = `the server of ${shown(url)} answered ${status}`;
  const seconds = numberOf(headers['retry-after']);
  if (status === 416) return new RangeRefused(what);
  if (passingStatuses.has(status)) return new Passing(what, seconds === undefined ? undefined : seconds * 1000);
  const { isMissing, advice } = remote.explain?.(answer) ?? {
    isMissing: status === 404 || status === 410,
    advice: 'check spec.model.uri, and that the file may be read',
  };
  return new StartupError(isMissing ? 'ModelNotFound' : 'ModelFetchFailed', `${what}: ${advice}`);
}

function isRefused(error: unknown): boolean {
  return error instanceof Error && error.message.includes(' is refused: ');
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

export function tooLarge(from: string, maxBytes: number, size?: number): StartupError {
  const found = size === undefined ? 'more' : `${size} bytes`;
  return new StartupError(
    'ModelTooLarge',
    `the model at ${from} has ${found}, and at most ${maxBytes} bytes are accepted: raise spec.model.maxBytes`,
  );
}

/** A URL without what may be secret: redirects often lead to signed ones. */
export function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${error.message || error.name}${cause}`;
}
