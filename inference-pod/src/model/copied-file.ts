import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Credentials } from './credentials.ts';
import { describe, download, type Sink, tooLarge } from './download.ts';
import type { ModelSource } from './source.ts';
import { StartupError } from './startup-error.ts';

export interface CopyOptions {
  readonly maxBytes: number;
  /** For the store, and for the way there. */
  readonly credentials: Credentials;
  /** Told as bytes come; the total is undefined where the store does not tell it. */
  readonly onProgress: (bytes: number, totalBytes: number | undefined) => void;
  readonly signal: AbortSignal;
}

export interface CopiedFile {
  readonly bytes: number;
  /** Lower-case hexadecimal SHA-256 of the bytes. */
  readonly sha256: string;
}

/** As it may be shown. */
export function nameOfSource(source: ModelSource): string {
  return source.kind === 'file' ? source.path : source.remote.name;
}

/**
 * Copies a file while its size and digest are found, and checked against what its store says of them.
 *
 * @throws StartupError ModelNotFound, ModelFetchFailed, ModelTooLarge, ModelDigestMismatch; what reading and writing throw
 */
export async function copyFile(source: ModelSource, path: string, options: CopyOptions): Promise<CopiedFile> {
  await mkdir(dirname(path), { recursive: true });
  const sink = new CountedFile(path);
  try {
    const promised =
      source.kind === 'file' ? await read(source, sink, options) : await download(source.remote, sink, options);
    const sha256 = await sink.finish();
    if (promised === undefined || promised === sha256) return { bytes: sink.bytes, sha256 };
    throw new StartupError(
      'ModelDigestMismatch',
      `the model at ${nameOfSource(source)} has sha256 ${sha256}, and its store says ${promised}: the store, or somebody on the way, has changed it`,
    );
  } finally {
    await sink.close();
  }
}

type FileSource = Extract<ModelSource, { readonly kind: 'file' }>;

async function read(source: FileSource, sink: CountedFile, options: CopyOptions): Promise<undefined> {
  const { maxBytes, signal, onProgress } = options;
  const size = await sizeOf(source, maxBytes);
  const chunks: AsyncIterable<Buffer> = createReadStream(source.path, { signal });
  for await (const chunk of chunks) {
    if (sink.bytes + chunk.length > maxBytes) throw tooLarge(source.path, maxBytes);
    await sink.write(chunk);
    onProgress(sink.bytes, size);
  }
}

async function sizeOf({ path, volume }: FileSource, maxBytes: number): Promise<number> {
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
  if (size > maxBytes) throw tooLarge(path, maxBytes, size);
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
