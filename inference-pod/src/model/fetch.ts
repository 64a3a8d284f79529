import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials } from './credentials.ts';
import { describe, download, type Sink, tooLarge } from './download.ts';
import type { ModelSource } from './source.ts';
import { StartupError } from './startup-error.ts';

export interface FetchOptions {
  /** Where the verified copy is put. */
  readonly directory: string;
  readonly maxBytes: number;
  /** Lower-case hexadecimal; undefined accepts any bytes. */
  readonly sha256: string | undefined;
  /** For the store, and for the way there. */
  readonly credentials: Credentials;
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
  const from = source.kind === 'file' ? source.path : source.remote.name;
  await rm(partial, { force: true });
  const earlier = await keptModel(path, record, source.origin, options);
  if (earlier !== undefined) return earlier;
  const signal = AbortSignal.timeout(options.timeoutSeconds * 1000);
  try {
    // The file that is copied may be the very one that was kept.
    if (source.kind !== 'file') await rm(path, { force: true });
    const file = await copy(source, partial, options, signal);
    if (file.promised !== undefined && file.promised !== file.sha256)
      throw new StartupError(
        'ModelDigestMismatch',
        `the model at ${from} has sha256 ${file.sha256}, and its store says ${file.promised}: the store, or somebody on the way, has changed it`,
      );
    if (options.sha256 !== undefined && options.sha256 !== file.sha256) {
      throw new StartupError(
        'ModelDigestMismatch',
        `the model at ${from} has sha256 ${file.sha256}, not the expected ${options.sha256}: the file was changed or cut short; correct spec.model.sha256 or restore the file`,
      );
    }
    await rename(partial, path);
    const kept: KeptRecord = { origin: digestOf(source.origin), sha256: file.sha256 };
    // Without it the next container fetches again, which is no reason not to serve.
    await writeFile(record, JSON.stringify(kept)).catch(() => undefined);
    return { path, bytes: file.bytes, sha256: file.sha256, isFetched: true };
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

async function sizeOf({ path, volume }: FileSource, options: Pick<FetchOptions, 'maxBytes'>): Promise<number> {
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
  return size;
}

/** A file that is written from the beginning to the end, while it is counted and its digest is made. */
class CountedFile implements Sink {
  bytes = 0;
  readonly #path: string;
  #file: FileHandle | undefined;
  #hash = createHash('sha256');

  constructor(path: string) {
    this.#path = path;
  }

  /** It is made once there is something to write. */
  async #opened(): Promise<FileHandle> {
    this.#file ??= await open(this.#path, 'w');
    return this.#file;
  }

  async write(chunk: Buffer): Promise<void> {
    const file = await this.#opened();
    for (let written = 0; written < chunk.length; ) {
      const { bytesWritten } = await file.write(chunk, written, chunk.length - written, this.bytes + written);
      written += bytesWritten;
    }
    this.#hash.update(chunk);
    this.bytes += chunk.length;
  }

  async restart(): Promise<void> {
    await this.#file?.truncate(0);
    this.bytes = 0;
    this.#hash = createHash('sha256');
  }

  /** @returns its digest, in lower-case hexadecimal */
  async finish(): Promise<string> {
    await this.#opened();
    return this.#hash.digest('hex');
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

interface Copied extends Pick<ModelFile, 'bytes' | 'sha256'> {
  /** The digest that the store says they have. */
  readonly promised: string | undefined;
}

async function copy(
  source: ModelSource,
  path: string,
  { maxBytes, onProgress = () => undefined, ...options }: FetchOptions,
  signal: AbortSignal,
): Promise<Copied> {
  const sink = new CountedFile(path);
  let promised: string | undefined;
  try {
    if (source.kind === 'file') {
      const size = await sizeOf(source, { maxBytes, ...options });
      const chunks: AsyncIterable<Buffer> = createReadStream(source.path, { signal });
      for await (const chunk of chunks) {
        if (sink.bytes + chunk.length > maxBytes) throw tooLarge(source.path, maxBytes);
        await sink.write(chunk);
        onProgress(sink.bytes, size);
      }
    } else
      promised = await download(source.remote, sink, {
        maxBytes,
        onProgress,
        signal,
        credentials: options.credentials,
      });
    return { bytes: sink.bytes, sha256: await sink.finish(), promised };
  } finally {
    await sink.close();
  }
}
