import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import type { Credentials } from './credentials.ts';
import { Passing, passingAnswer } from './passing-failure.ts';
import { beginningOf, getFollowing, post } from './redirects.ts';
import { type RefusedAnswer, type Remote, type RemoteRequest, shown } from './remote.ts';
import { StartupError } from './startup-error.ts';
import { storeDispatcher } from './store-dispatcher.ts';

/** What the bytes are written to. */
export interface Sink {
  write(bytes: Buffer): Promise<void>;
  /** What was written is of no use: they come from the beginning. */
  restart(): Promise<void>;
}

export interface DownloadOptions {
  readonly credentials: Credentials;
  readonly maxBytes: number;
  /** Told as bytes come; the total is undefined where the store does not tell it. */
  readonly onProgress: (bytes: number, totalBytes: number | undefined) => void;
  readonly signal: AbortSignal;
}

/** So often in a row may it fail without having sent anything new. */
const mostFailures = 5;
const retryMilliseconds = { first: 500, most: 8000, asked: 60_000 };

/** The rest of what was there is not to be had: it has become shorter, or the store knows no ranges. */
class RangeRefused extends Passing {}

/** What the bytes that are there are of. */
interface Known {
  /** A strong validator. */
  readonly etag: string;
  /** Who has sent them. */
  readonly from: string;
  readonly total: number | undefined;
}

/** How far a download has got. */
interface State {
  bytes: number;
  /** The most that ever were there: only more than that is progress. */
  most: number;
  /** Undefined where nothing shows that the rest would be of the same. */
  known: Known | undefined;
  /** What the store says that its bytes have. */
  sha256: string | undefined;
  failures: number;
}

/**
 * Reads a model from a store, going on where it was cut off if the store says by its ETag that it is still the same (RFC 9110,
 * sections 13.1.5 and 14), and from the beginning otherwise.
 *
 * @returns the SHA-256 that the store says the bytes have, in lower-case hexadecimal; undefined where it says nothing
 * @throws StartupError ModelNotFound, ModelTooLarge, ModelFetchFailed; what the sink throws; the reason of the signal
 */
export async function download(remote: Remote, sink: Sink, options: DownloadOptions): Promise<string | undefined> {
  const dispatcher = await storeDispatcher(options.credentials);
  const state: State = { bytes: 0, most: 0, known: undefined, sha256: undefined, failures: 0 };
  try {
    for (;;) {
      const failure = await triedOnce(remote, dispatcher, state, sink, options);
      if (failure === undefined) return state.sha256;
      if (state.failures >= mostFailures) throw gaveUp(remote, failure);
      const delay = delayOf(state.failures, failure.afterMilliseconds);
      await sleep(delay, undefined, { signal: options.signal }).catch(() => {
        // That says more than that it took too long.
        throw failure;
      });
    }
  } finally {
    await dispatcher.destroy();
  }
}

/** @returns a failure that may pass; undefined once all of it is there */
async function triedOnce(
  remote: Remote,
  dispatcher: Dispatcher,
  state: State,
  sink: Sink,
  options: DownloadOptions,
): Promise<Passing | undefined> {
  const before = state.most;
  try {
    await attempt(remote, dispatcher, state, sink, options);
    return undefined;
  } catch (error) {
    if (!(error instanceof Passing) || options.signal.aborted) throw error;
    state.failures = state.most > before ? 1 : state.failures + 1;
    return error;
  }
}

function gaveUp({ name }: Remote, { message, cause }: Passing): StartupError {
  return new StartupError(
    'ModelFetchFailed',
    `the model at ${name} could not be read, after ${mostFailures} tries in a row: ${message}`,
    { cause },
  );
}

/** Pods that failed together do not try again together, and none earlier than it was asked to. */
function delayOf(failures: number, asked = 0): number {
  const own = Math.min(retryMilliseconds.most, retryMilliseconds.first * 2 ** (failures - 1));
  const spread = Math.random() / 4;
  return Math.max(own * (0.75 + 2 * spread), Math.min(retryMilliseconds.asked, asked) * (1 + spread));
}

async function attempt(
  remote: Remote,
  dispatcher: Dispatcher,
  state: State,
  sink: Sink,
  options: DownloadOptions,
): Promise<void> {
  const known = state.bytes > 0 ? state.known : undefined;
  if (known === undefined && state.bytes > 0) await restart(state, sink);
  // Unless this goes on well, nothing shows that the rest would be of the same.
  state.known = undefined;
  const range: Record<string, string> =
    known === undefined ? {} : { range: `bytes=${state.bytes}-`, 'if-range': known.etag };
  const opened = await open(remote, dispatcher, range, options.signal).catch((error: unknown) => {
    if (!(error instanceof RangeRefused)) state.known = known;
    throw error;
  });
  const { response, request, url } = opened;
  if (request.content !== undefined) {
    state.sha256 = request.sha256;
    return await readBody(
      remote,
      request.content(response.body, { headers: {}, dispatcher, signal: options.signal }),
      undefined,
      state,
      sink,
      options,
    );
  }
  const isPart = response.statusCode === 206;
  const total = isPart ? totalOfPart(opened, state.bytes, known) : numberOf(response.headers['content-length']);
  if (known !== undefined && !isPart) await restart(state, sink);
  if (total !== undefined && total > options.maxBytes) {
    discard(response);
    throw tooLarge(remote.name, options.maxBytes, total);
  }
  const etag = strongTag(response.headers['etag']);
  state.known = etag === undefined ? undefined : { etag, from: shown(url), total };
  state.sha256 = request.sha256;
  await readBody(remote, response.body, total, state, sink, options);
}

/**
 * How much there is of what a part is of.
 *
 * @throws Passing when it does not go on where that was cut off: not everybody who sends a part has looked at what it should be of
 */
function totalOfPart({ response, url }: Opened, bytes: number, known: Known | undefined): number {
  const { headers } = response;
  const [, first, whole] = /^bytes (\d+)-\d+\/(\d+)$/.exec(String(headers['content-range'])) ?? [];
  const isSame = strongTag(headers['etag']) === known?.etag && shown(url) === known?.from;
  const isRest = Number(first) === bytes && Number(whole) === (known?.total ?? Number(whole));
  if (isSame && isRest) return Number(whole);
  discard(response);
  throw new Passing(`what it sends for the rest after byte ${bytes} is not of what it has sent before`);
}

function discard({ body }: Dispatcher.ResponseData): void {
  body.on('error', () => undefined).destroy();
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
      if (signal.aborted || error instanceof StartupError || error instanceof Passing) throw error;
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

interface Opened {
  readonly response: Dispatcher.ResponseData;
  readonly request: RemoteRequest;
  /** Who has answered. */
  readonly url: URL;
}

/** @returns an answer with the model, or with the part of it that was asked for */
async function open(
  remote: Remote,
  dispatcher: Dispatcher,
  range: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Opened> {
  const headers = { accept: 'application/octet-stream, */*', ...range };
  const context = { headers, dispatcher, signal };
  const mayPass = (error: unknown) => {
    const isLasting = error instanceof StartupError || error instanceof Passing || isRefused(error);
    if (signal.aborted || isLasting) throw error;
    throw new Passing(describe(error), undefined, { cause: error });
  };
  const request = await inTime((early) => remote.request({ ...context, signal: early }), remote, signal).catch(mayPass);
  const { posted } = request;
  const answer = posted === undefined ? getFollowing(request, context) : post(request, posted, context);
  const { response, url } = await answer.catch(mayPass);
  const { statusCode } = response;
  if (statusCode === 200 || (statusCode === 206 && 'range' in range)) return { response, request, url };
  const body = await beginningOf(response);
  const isElsewhere = url.origin !== request.url.origin;
  throw refusalOf({ status: statusCode, headers: response.headers, body, isElsewhere }, url, remote);
}

/** Libraries that ask for tokens have limits of their own, or none. */
const tokenMilliseconds = 60_000;

async function inTime<T>(
  begin: (signal: AbortSignal) => Promise<T>,
  { patienceMilliseconds = tokenMilliseconds }: Remote,
  signal: AbortSignal,
): Promise<T> {
  const end = AbortSignal.any([signal, AbortSignal.timeout(patienceMilliseconds)]);
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () =>
    reject(
      new Error('what is asked before the model, for tokens or for where it is, is not answered', {
        cause: end.reason,
      }),
    );
  end.addEventListener('abort', onAbort, { once: true });
  try {
    if (end.aborted) onAbort();
    return await Promise.race([begin(end), promise]);
  } finally {
    end.removeEventListener('abort', onAbort);
  }
}

function refusalOf(answer: RefusedAnswer, url: URL, remote: Remote): Error {
  const { status, headers } = answer;
  const what = `the server of ${shown(url)} answered ${status}`;
  if (status === 416) return new RangeRefused(what);
  if (remote.isAnotherTryBetter?.(answer) === true) return new Passing(what);
  const passing = passingAnswer(status, headers, what);
  if (passing !== undefined) return passing;
  const { isMissing, advice } = remote.explain?.(answer) ?? {
    isMissing: status === 404 || status === 410,
    advice: 'check spec.model.uri, and that the file may be read',
  };
  return new StartupError(isMissing ? 'ModelNotFound' : 'ModelFetchFailed', `${what}: ${advice}`);
}

function isRefused(error: unknown): boolean {
  return error instanceof Error && error.message.includes(' is refused: ');
}

export function tooLarge(from: string, maxBytes: number, size?: number): StartupError {
  const found = size === undefined ? 'more' : `${size} bytes`;
  return new StartupError(
    'ModelTooLarge',
    `the model at ${from} has ${found}, and at most ${maxBytes} bytes are accepted: raise spec.model.maxBytes`,
  );
}

export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${error.message || error.name}${cause}`;
}
