import { createWriteStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BundleReader, bundleHeaderLine, InvalidBundle, isSha256 } from '../../contract/src/model-bundle.ts';

/** Whose it is: digests are public, so who knows one of another namespace's model must not be given it. */
export interface ModelKey {
  readonly namespace: string;
  readonly sha256: string;
}

/** A bundle that is larger than all that may be kept. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge';
}

/** The same model, or as much as may be written at once, is being written. */
export class Busy extends Error {
  override readonly name = 'Busy';
}

interface Entry extends ModelKey {
  readonly bytes: number;
  /** Counted up with each use. */
  used: number;
}

export interface ModelStoreOptions {
  readonly directory: string;
  /** Of all bundles together, with those that are being written. */
  readonly mostBytes: number;
  readonly onEvicted: () => void;
}

/** So many are written at once. */
const mostWritten = 8;

/**
 * Bundles on a disk, one file each: `NAMESPACE/SHA256`. Which were used last is known from the times of the files when it is opened
 * again. When there is no room, the ones that were not used for longest go; who is reading one reads it to its end.
 */
export class ModelStore {
  readonly #options: ModelStoreOptions;
  readonly #entries = new Map<string, Entry>();
  /** What is being written, and how much of it there will be. */
  readonly #written = new Map<string, number>();
  #uses = 0;

  private constructor(options: ModelStoreOptions) {
    this.#options = options;
  }

  static async open(options: ModelStoreOptions): Promise<ModelStore> {
    const store = new ModelStore(options);
    await mkdir(store.#unfinished, { recursive: true });
    // Of a process that has ended meanwhile.
    for (const name of await readdir(store.#unfinished)) await rm(join(store.#unfinished, name));
    const found: (Entry & { readonly time: number })[] = [];
    for (const namespace of await readdir(store.#kept).catch(() => []))
      for (const sha256 of await readdir(join(store.#kept, namespace))) {
        if (!isSha256(sha256)) continue;
        const { size, mtimeMs } = await stat(store.#pathOf({ namespace, sha256 }));
        found.push({ namespace, sha256, bytes: size, used: 0, time: mtimeMs });
      }
    for (const { namespace, sha256, bytes } of found.toSorted((a, b) => a.time - b.time))
      store.#entries.set(nameOf({ namespace, sha256 }), { namespace, sha256, bytes, used: ++store.#uses });
    await store.#makeRoom(0);
    return store;
  }

  get models(): number {
    return this.#entries.size;
  }

  /** Of what is kept, without what is being written. */
  get bytes(): number {
    return this.#entries.values().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** How long a bundle is; undefined where it is not kept. */
  size(key: ModelKey): number | undefined {
    return this.#entries.get(nameOf(key))?.bytes;
  }

  /** Opens a bundle for reading; undefined where it is not kept. */
  async read(key: ModelKey): Promise<{ readonly file: FileHandle; readonly bytes: number } | undefined> {
    const entry = this.#entries.get(nameOf(key));
    if (entry === undefined) return undefined;
    entry.used = ++this.#uses;
    const path = this.#pathOf(key);
    try {
      const file = await open(path);
      const now = new Date();
      await utimes(path, now, now);
      return { file, bytes: entry.bytes };
    } catch (error) {
      if (!isMissing(error)) throw error;
      if (this.#entries.get(nameOf(key)) === entry) this.#entries.delete(nameOf(key));
      return undefined;
    }
  }

  /**
   * Keeps a bundle once all of it has come, and is what it is to be.
   *
   * @param length of all of it
   * @throws TooLarge, Busy, InvalidBundle; what the chunks throw
   */
  async write(key: ModelKey, length: number, chunks: AsyncIterable<Buffer>): Promise<void> {
    const name = nameOf(key);
    const { mostBytes } = this.#options;
    if (length > mostBytes) throw new TooLarge(`the model has ${length} bytes, and ${mostBytes} are kept together`);
    const reserved = this.#written.values().reduce((sum, bytes) => sum + bytes, 0);
    if (this.#written.has(name) || this.#written.size >= mostWritten || reserved + length > mostBytes)
      throw new Busy('it, or as much as there is room for, is being written');
    this.#written.set(name, length);
    const unfinished = join(this.#unfinished, `${key.namespace}.${key.sha256}`);
    try {
      await this.#makeRoom(reserved + length);
      await pipeline(this.#checked(key, length, chunks), createWriteStream(unfinished));
      await mkdir(join(this.#kept, key.namespace), { recursive: true });
      const { size } = await stat(unfinished);
      await rename(unfinished, this.#pathOf(key));
      this.#entries.set(name, { ...key, bytes: size, used: ++this.#uses });
    } finally {
      await rm(unfinished, { force: true });
      this.#written.delete(name);
    }
  }

  async remove(key: ModelKey): Promise<void> {
    this.#entries.delete(nameOf(key));
    await rm(this.#pathOf(key), { force: true });
  }

  /** What is to be written of a bundle: the header anew, so that it is no longer than it was, and then the bytes as they come. */
  async *#checked({ sha256 }: ModelKey, length: number, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const reader = new BundleReader(sha256);
    let written = 0;
    for await (const chunk of chunks) {
      for (const part of reader.read(chunk)) {
        if (part.kind === 'file') continue;
        const bytes = part.kind === 'header' ? bundleHeaderLine(part.header) : part.bytes;
        written += bytes.length;
        if (written > length) throw new InvalidBundle(`it has more than the ${length} bytes that it was to have`);
        yield bytes;
      }
    }
    reader.end();
  }

  /** @param bytes for which there is to be room beside what is kept */
  async #makeRoom(bytes: number): Promise<void> {
    const oldestFirst = Array.from(this.#entries.values()).toSorted((a, b) => a.used - b.used);
    for (const entry of oldestFirst) {
      if (this.bytes + bytes <= this.#options.mostBytes) return;
      await this.remove(entry);
      this.#options.onEvicted();
    }
  }

  get #kept(): string {
    return join(this.#options.directory, 'models');
  }

  get #unfinished(): string {
    return join(this.#options.directory, 'unfinished');
  }

  #pathOf({ namespace, sha256 }: ModelKey): string {
    return join(this.#kept, namespace, sha256);
  }
}

function nameOf({ namespace, sha256 }: ModelKey): string {
  return `${namespace}/${sha256}`;
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
}
