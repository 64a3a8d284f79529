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

/** What a bundle takes of the disk, at least. */
const blockBytes = 4096;
/** However small they are: all are known in memory. */
const mostModels = 65_536;
/** So many are written at once, and so many of one namespace. */
const mostWritten = 8;
const mostWrittenOfOne = 2;

export interface ModelStoreOptions {
  readonly directory: string;
  /** Of all bundles together, with those that are being written. */
  readonly mostBytes: number;
  readonly onEvicted: () => void;
}

/**
 * Bundles on a disk, one file each: `NAMESPACE/SHA256`. Which were used last is known from the times of the files when it is opened
 * again. When there is no room, the ones that were not used for longest go; who is reading one reads it to its end.
 */
export class ModelStore {
  readonly #options: ModelStoreOptions;
  /** How long each is, by its key; the one that was not used for longest first. */
  readonly #entries = new Map<string, ModelKey & { readonly bytes: number }>();
  /** Of what is kept, and of what has come of what is being written. */
  #taken = 0;
  readonly #written = new Map<string, ModelKey>();

  private constructor(options: ModelStoreOptions) {
    this.#options = options;
  }

  static async open(options: ModelStoreOptions): Promise<ModelStore> {
    const store = new ModelStore(options);
    await mkdir(store.#unfinished, { recursive: true });
    // Of a process that has ended meanwhile.
    for (const name of await readdir(store.#unfinished)) await rm(join(store.#unfinished, name));
    const found: (ModelKey & { readonly bytes: number; readonly time: number })[] = [];
    for (const namespace of await readdir(store.#kept).catch(() => []))
      for (const sha256 of await readdir(join(store.#kept, namespace))) {
        if (!isSha256(sha256)) continue;
        const { size, mtimeMs } = await stat(store.#pathOf({ namespace, sha256 }));
        found.push({ namespace, sha256, bytes: size, time: mtimeMs });
      }
    for (const { time: _, ...entry } of found.toSorted((one, other) => one.time - other.time)) store.#add(entry);
    await store.#makeRoom(0);
    return store;
  }

  get models(): number {
    return this.#entries.size;
  }

  /** Of the disk, with what has come of what is being written. */
  get bytes(): number {
    return this.#taken;
  }

  /** Whether it, or as much as may be at once, is being written. */
  isBusy(key: ModelKey): boolean {
    const ofOne = this.#written.values().reduce((sum, { namespace }) => sum + (namespace === key.namespace ? 1 : 0), 0);
    return this.#written.has(nameOf(key)) || this.#written.size >= mostWritten || ofOne >= mostWrittenOfOne;
  }

  /** How long a bundle is; undefined where it is not kept. */
  size(key: ModelKey): number | undefined {
    return this.#entries.get(nameOf(key))?.bytes;
  }

  /** Opens a bundle for reading; undefined where it is not kept. */
  async read(key: ModelKey): Promise<{ readonly file: FileHandle; readonly bytes: number } | undefined> {
    const entry = this.#entries.get(nameOf(key));
    if (entry === undefined) return undefined;
    // It is the last to go now.
    this.#entries.delete(nameOf(key));
    this.#entries.set(nameOf(key), entry);
    const path = this.#pathOf(key);
    try {
      const file = await open(path);
      const now = new Date();
      await utimes(path, now, now);
      return { file, bytes: entry.bytes };
    } catch (error) {
      if (!isMissing(error)) throw error;
      if (this.#entries.get(nameOf(key)) === entry) this.#forget(key);
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
    const { mostBytes } = this.#options;
    if (length > mostBytes) throw new TooLarge(`the model has ${length} bytes, and ${mostBytes} are kept together`);
    if (this.isBusy(key)) throw new Busy('it, or as much as may be at once, is being written');
    this.#written.set(nameOf(key), key);
    const unfinished = join(this.#unfinished, `${key.namespace}.${key.sha256}`);
    const come = { bytes: 0 };
    try {
      await pipeline(this.#checked(key, length, chunks, come), createWriteStream(unfinished));
      await mkdir(join(this.#kept, key.namespace), { recursive: true });
      await rename(unfinished, this.#pathOf(key));
      this.#forget(key);
      this.#add({ ...key, bytes: come.bytes });
    } finally {
      await rm(unfinished, { force: true });
      this.#written.delete(nameOf(key));
      this.#taken -= come.bytes;
    }
    await this.#makeRoom(0);
  }

  async remove(key: ModelKey): Promise<void> {
    this.#forget(key);
    await rm(this.#pathOf(key), { force: true });
  }

  /** What is to be written of a bundle: the header anew, so that it is no longer than it was, and then the bytes as they come. */
  async *#checked(
    { sha256 }: ModelKey,
    length: number,
    chunks: AsyncIterable<Buffer>,
    come: { bytes: number },
  ): AsyncGenerator<Buffer> {
    const reader = new BundleReader(sha256);
    for await (const chunk of chunks) {
      for (const part of reader.read(chunk)) {
        if (part.kind === 'file') continue;
        const bytes = part.kind === 'header' ? bundleHeaderLine(part.header) : part.bytes;
        if (come.bytes + bytes.length > length)
          throw new InvalidBundle(`it has more than the ${length} bytes that it was to have`);
        // Only what has come makes others go.
        await this.#makeRoom(bytes.length);
        if (this.#taken + bytes.length > this.#options.mostBytes)
          throw new Busy('there is no room beside what is being written');
        come.bytes += bytes.length;
        this.#taken += bytes.length;
        yield bytes;
      }
    }
    reader.end();
  }

  /** @param bytes for which there is to be room beside what is taken */
  async #makeRoom(bytes: number): Promise<void> {
    for (const entry of this.#entries.values()) {
      if (this.#taken + bytes <= this.#options.mostBytes && this.#entries.size <= mostModels) return;
      await this.remove(entry);
      this.#options.onEvicted();
    }
  }

  #add(entry: ModelKey & { readonly bytes: number }): void {
    this.#entries.set(nameOf(entry), entry);
    this.#taken += onDisk(entry.bytes);
  }

  #forget(key: ModelKey): void {
    const entry = this.#entries.get(nameOf(key));
    if (entry === undefined) return;
    this.#entries.delete(nameOf(key));
    this.#taken -= onDisk(entry.bytes);
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

function onDisk(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

function nameOf({ namespace, sha256 }: ModelKey): string {
  return `${namespace}/${sha256}`;
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
}
