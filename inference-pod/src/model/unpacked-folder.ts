import { mkdir, open } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { shorten } from '../protocol/json-reader.ts';
import { StartupError } from './startup-error.ts';

/** More are no model: each costs the disk a file. */
const mostFiles = 2048;
const mostFolders = 2048;
const mostSteps = 32;
const mostEntries = 100_000;

export interface UnpackOptions {
  /** Of all files together. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** Files that come out of an archive. */
export class UnpackedFolder {
  readonly files: string[] = [];
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #signal: AbortSignal;
  readonly #folders = new Set<string>();
  #entries = 0;
  #bytes = 0;

  constructor(folder: string, { maxBytes, signal }: UnpackOptions) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
    this.#signal = signal;
  }

  /** Told once for each entry, of whatever kind. */
  count(): void {
    this.#signal.throwIfAborted();
    this.#entries += 1;
    if (this.#entries > mostEntries) throw invalidArchive(`it has more than ${mostEntries} entries`);
  }

  async write(name: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    const path = withinArchive(name);
    if (this.files.length >= mostFiles) throw invalidArchive(`it has more than ${mostFiles} files`);
    for (let above = posix.dirname(path); above !== '.'; above = posix.dirname(above)) this.#folders.add(above);
    if (this.#folders.size > mostFolders) throw invalidArchive(`it has more than ${mostFolders} folders`);
    const whole = join(this.#folder, path);
    try {
      await mkdir(dirname(whole), { recursive: true });
      // What was there before is never written over: neither by a second of its name, nor where a disk knows no cases.
      await this.#writeNew(whole, chunks);
    } catch (error) {
      if (isOfNames(error))
        throw invalidArchive(`'${shorten(name)}' in it cannot be beside the others: ${error.code}`, error);
      throw error;
    }
    this.files.push(path);
  }

  /** Counts what comes out of the archive. */
  take(chunk: Buffer): void {
    this.#signal.throwIfAborted();
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes)
      throw new StartupError(
        'ModelTooLarge',
        `the archive has more in it than the ${this.#maxBytes} bytes that spec.model.maxBytes leaves beside the archive itself: raise that`,
      );
  }

  async #writeNew(path: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    const file = await open(path, 'wx');
    try {
      for await (const chunk of chunks) {
        this.take(chunk);
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
  }
}

function withinArchive(name: string): string {
  const path = posix.normalize(name);
  const steps = name.split('/');
  if (posix.isAbsolute(path) || steps.includes('..') || /[\\\p{Cc}]/u.test(name) || path === '.')
    throw invalidArchive(`${JSON.stringify(shorten(name))} in it is no path within its folder`);
  if (steps.length > mostSteps) throw invalidArchive(`'${shorten(name)}' in it is in more than ${mostSteps} folders`);
  return path;
}

const ofNames: ReadonlySet<unknown> = new Set(['EEXIST', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG', 'EILSEQ']);

function isOfNames(error: unknown): error is { readonly code: string } {
  return typeof error === 'object' && error !== null && 'code' in error && ofNames.has(error.code);
}

/** An archive that cannot be taken as it is. */
export function invalidArchive(problem: string, cause?: unknown): StartupError {
  return new StartupError('ModelInvalid', `the model's archive cannot be unpacked: ${problem}`, { cause });
}
