import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import type { Credentials } from './credentials.ts';
import { getFollowing } from './redirects.ts';
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
  const state: State = { bytes: 0, most: 0, etag: undefined, sha256: undefined, failures: 0 };
  try {
    for (;;) {
      const before = state.most;
      try {
        await attempt(remote, dispatcher, state, sink, options);
        return state.sha256;
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
  const { response, request } = await open(remote, dispatcher, range, options.signal).catch((error: unknown) => {
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
  state.sha256 = request.sha256;
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

/** @returns an answer with the model, or with the part of it that was asked for */
async function open(
  remote: Remote,
  dispatcher: Dispatcher,
  range: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<{ readonly response: Dispatcher.ResponseData; readonly request: RemoteRequest }> {
  const headers = { accept: 'application/octet-stream, */*', ...range };
  const context = { headers, dispatcher, signal };
  const mayPass = (error: unknown) => {
    if (signal.aborted || error instanceof StartupError || isRefused(error)) throw error;
    throw new Passing(describe(error), undefined, { cause: error });
  };
  const request = await remote.request(context).catch(mayPass);
  const { response, url } = await getFollowing(request, context).catch((error: unknown) => {
    throw certificateProblem(request.url, error) ?? mayPass(error);
  });
  const { statusCode, body } = response;
  if (statusCode === 200 || (statusCode === 206 && 'range' in range)) return { response, request };
  const text = await beginningOf(body);
  throw refusalOf({ status: statusCode, headers: response.headers, body: text }, url, remote);
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

/** What is wrong with a certificate, which it will be the next time as well; undefined for other failures. */
function certificateProblem({ host }: URL, cause: unknown): StartupError | undefined {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
  const problem = unknownAuthority.includes(code)
    ? 'is signed by no authority that is known: give that as the key ca.crt of the Secret of spec.model.secretName'
    : otherFaults.includes(code)
      ? `is refused: ${describe(cause)}`
      : undefined;
  if (problem === undefined) return undefined;
  return new StartupError('ModelFetchFailed', `the certificate of ${host} ${problem}`, { cause });
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
