import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Dispatcher } from 'undici';
import { guardedLookup, refusedHost } from './address-guard.ts';
import type { ModelSource } from './source.ts';
import { StartupError } from './startup-error.ts';

export interface FetchOptions {
  /** Where the verified copy is put. */
  readonly directory: string;
  readonly maxBytes: number;
  /** Lower-case hexadecimal; undefined accepts any bytes. */
  readonly sha256: string | undefined;
  /** After which it is given up. */
  readonly timeoutSeconds: number;
  /** Told as bytes come; the total is undefined where the store does not tell it. */
  readonly onProgress?: (bytes: number, totalBytes: number | undefined) => void;
}

export interface ModelFile {
  readonly path: string;
  readonly bytes: number;
  /** Lower-case hexadecimal SHA-256 of the bytes. */
  readonly sha256: string;
  /** Whether it was copied now: not by an earlier container of this pod. */
  readonly isFetched: boolean;
}

type FileSource = Extract<ModelSource, { readonly kind: 'file' }>;

const maxRedirects = 5;
/** A store that sends nothing for so long has stalled. */
const stallMilliseconds = 60_000;

/**
 * Copies a model into the work directory while its size and digest are checked, whatever its source, so that the bytes
 * that are verified are the bytes that are loaded. What an earlier container of this pod has copied there is used again
 * if it still verifies: the volume has room for one copy, and the model of a pod does not change.
 *
 * @throws StartupError ModelNotFound, ModelFetchFailed, ModelTooLarge, ModelDigestMismatch
 */
export async function fetchModel(source: ModelSource, options: FetchOptions): Promise<ModelFile> {
  const path = join(options.directory, 'model.onnx');
  const record = join(options.directory, 'model.json');
  const partial = `${path}.partial`;
  const from = source.kind === 'file' ? source.path : shown(source.url);
  const origin = source.kind === 'file' ? source.path : source.url.href;
  await rm(partial, { force: true });
  const earlier = await keptModel(path, record, origin, options);
  if (earlier !== undefined) return earlier;
  const signal = AbortSignal.timeout(options.timeoutSeconds * 1000);
  try {
    const opened =
      source.kind === 'file' ? await openFile(source, options) : await openUrl(source.url, options, signal);
    // The file that is copied may be the very one that was kept.
    if (source.kind !== 'file') await rm(path, { force: true });
    const file = await copyCounted(opened, partial, from, options, signal);
    if (options.sha256 !== undefined && options.sha256 !== file.sha256) {
      throw new StartupError(
        'ModelDigestMismatch',
        `the model at ${from} has sha256 ${file.sha256}, not the expected ${options.sha256}: the file was changed or cut short; correct spec.model.sha256 or restore the file`,
      );
    }
    await rename(partial, path);
    const kept: KeptRecord = { origin: digestOf(origin), sha256: file.sha256 };
    // Without it the next container fetches again, which is no reason not to serve.
    await writeFile(record, JSON.stringify(kept)).catch(() => undefined);
    return { ...file, path, isFetched: true };
  } catch (error) {
    await rm(partial, { force: true });
    if (error instanceof StartupError) throw error;
    throw fetchFailure(error, from, options, signal);
  }
}

function fetchFailure(error: unknown, from: string, options: FetchOptions, signal: AbortSignal): StartupError {
  if (signal.aborted) {
    return new StartupError(
      'ModelFetchFailed',
      `the model at ${from} was not there after ${options.timeoutSeconds} s: the store is too slow`,
    );
  }
  if (isNoSpace(error)) {
    return new StartupError(
      'ModelTooLarge',
      `there is no space left for the model at ${from} in ${options.directory}: raise spec.model.maxBytes, or free the node's disk`,
      { cause: error },
    );
  }
  return new StartupError('ModelFetchFailed', `the model at ${from} could not be read: ${describe(error)}`, {
    cause: error,
  });
}

function isNoSpace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

/** What is written beside a copy once it is whole. */
interface KeptRecord {
  /** SHA-256 of where it came from, which may have a secret in it. */
  readonly origin: string;
  readonly sha256: string;
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The copy of an earlier container, if it is the model that is asked for. */
async function keptModel(
  path: string,
  record: string,
  origin: string,
  options: FetchOptions,
): Promise<ModelFile | undefined> {
  let kept: Partial<KeptRecord> | null;
  try {
    kept = JSON.parse(await readFile(record, 'utf8'));
  } catch {
    return undefined;
  }
  const expected = options.sha256 ?? kept?.sha256;
  if (kept === null || kept.origin !== digestOf(origin) || expected === undefined) return undefined;
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      hash.update(chunk);
    }
  } catch {
    return undefined;
  }
  const sha256 = hash.digest('hex');
  return sha256 === expected && bytes <= options.maxBytes ? { path, bytes, sha256, isFetched: false } : undefined;
}

interface OpenedSource {
  readonly stream: Readable;
  readonly totalBytes: number | undefined;
}

async function openFile({ path, volume }: FileSource, options: FetchOptions): Promise<OpenedSource> {
  let size: number;
  try {
    if (volume !== undefined && !(await realpath(path)).startsWith(`${await realpath(volume)}/`)) {
      throw new StartupError('InvalidConfiguration', `the model at ${path} is a link that leaves its volume`);
    }
    const stats = await stat(path);
    if (!stats.isFile()) throw new StartupError('ModelNotFound', `the model at ${path} is not a file`);
    size = stats.size;
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError('ModelNotFound', `there is no model at ${path}: ${describe(error)}`, { cause: error });
  }
  if (size > options.maxBytes) throw tooLarge(path, options.maxBytes, size);
  return { stream: createReadStream(path), totalBytes: size };
}

/** Follows redirects by hand, because each target has to be allowed: https never goes back to http. */
async function openUrl(start: URL, options: FetchOptions, signal: AbortSignal): Promise<OpenedSource> {
  // A pod whose model lies on a volume does without it, and without its memory.
  const { Agent, interceptors, request } = await import('undici');
  const dispatcher = new Agent({
    connect: { lookup: guardedLookup, timeout: 10_000 },
    headersTimeout: stallMilliseconds,
    bodyTimeout: stallMilliseconds,
  }).compose(interceptors.retry({ maxRetries: 4, minTimeout: 500, maxTimeout: 8_000 }));
  let url = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const refusal = refusedHost(url);
    if (refusal !== undefined)
      throw new StartupError('ModelFetchFailed', `the model at ${shown(url)} is refused: ${refusal}`);
    const response = await request(url, { dispatcher, signal, headers: { accept: 'application/octet-stream, */*' } });
    const location = response.headers['location'];
    if (response.statusCode >= 300 && response.statusCode < 400 && typeof location === 'string') {
      await response.body.dump();
      url = redirectTarget(url, location);
      continue;
    }
    if (response.statusCode === 200) return wholeBody(response, start, options);
    await response.body.dump();
    throw new StartupError(
      response.statusCode === 404 || response.statusCode === 410 ? 'ModelNotFound' : 'ModelFetchFailed',
      `the server of ${shown(url)} answered ${response.statusCode}: check spec.model.uri, and that the file may be read`,
    );
  }
  throw new StartupError(
    'ModelFetchFailed',
    `the model at ${shown(start)} is behind more than ${maxRedirects} redirects`,
  );
}

/** The body of an answer, unless it is announced as larger than it may be. */
function wholeBody({ body, headers }: Dispatcher.ResponseData, start: URL, options: FetchOptions): OpenedSource {
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (length > options.maxBytes) {
    body.on('error', () => undefined).destroy();
    throw tooLarge(shown(start), options.maxBytes, length);
  }
  return { stream: body, totalBytes: Number.isNaN(length) ? undefined : length };
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

async function copyCounted(
  { stream, totalBytes }: OpenedSource,
  path: string,
  from: string,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<Omit<ModelFile, 'isFetched'>> {
  const hash = createHash('sha256');
  let bytes = 0;
  async function* counted(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > options.maxBytes) throw tooLarge(from, options.maxBytes);
      hash.update(chunk);
      options.onProgress?.(bytes, totalBytes);
      yield chunk;
    }
  }
  await pipeline(stream, counted, createWriteStream(path), { signal });
  return { path, bytes, sha256: hash.digest('hex') };
}

function tooLarge(from: string, maxBytes: number, size?: number): StartupError {
  const found = size === undefined ? 'more' : `${size} bytes`;
  return new StartupError(
    'ModelTooLarge',
    `the model at ${from} has ${found}, and at most ${maxBytes} bytes are accepted: raise spec.model.maxBytes`,
  );
}

/** A URL without what may be secret: redirects often lead to signed ones. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const status = 'statusCode' in error ? ` (the server answered ${error.statusCode})` : '';
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${error.message || error.name}${status}${cause}`;
}
