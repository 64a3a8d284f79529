import { createHash } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { createInflate, inflateSync } from 'node:zlib';
import { describe } from './download.ts';
import { type DeltaBudget, patched } from './git-delta.ts';
import { StartupError } from './startup-error.ts';

/** What Git calls its objects by. */
export type HashName = 'sha1' | 'sha256';

const idBytes = { sha1: 20, sha256: 32 };
/** Folders come to little, and so do the small files that a server may send with them; large files are asked for alone. */
const mostUnpackedBytes = 128 * 2 ** 20;
/** Of the differences of a pack: a hundred for each of ten thousand folders. */
const mostInstructions = 1_000_000;
/** So many objects are read before whatever else waits has its turn. */
const objectsInARow = 200;

/** The types of objects in packs (gitformat-pack, "Object types"). */
const commitType = 1;
const treeType = 2;
const blobType = 3;
const referenceDeltaType = 7;
const typeNames: Readonly<Record<number, string>> = { [commitType]: 'commit', [treeType]: 'tree', [blobType]: 'blob' };

/** Commits and folders by their ids, which are their digests: what is found by its id is what was meant. */
export type GitObjects = ReadonlyMap<string, Buffer>;

interface Entry {
  readonly type: number;
  /** Unpacked, in bytes. */
  readonly size: number;
  /** Where its bytes begin. */
  readonly from: number;
}

/**
 * Reads the commits and folders of a pack, and passes over the files (gitformat-pack, "pack-*.pack files have the following format").
 *
 * @throws StartupError ModelFetchFailed for what is no pack, or unpacks to too much
 */
export async function objectsOf(pack: Buffer, hash: HashName, signal?: AbortSignal): Promise<GitObjects> {
  const objects = new ObjectsOfPack(hash);
  let at = headerBytes;
  let unpacked = 0;
  for (let left = countOf(pack); left > 0; left--) {
    if (left % objectsInARow === 0) await setImmediate();
    signal?.throwIfAborted();
    const { type, size, from } = entryAt(pack, at);
    unpacked += size;
    if (unpacked > mostUnpackedBytes) throw tooMuch();
    const contentAt = from + (type === referenceDeltaType ? idBytes[hash] : 0);
    const { content, consumed } = inflated(pack.subarray(contentAt), size);
    at = contentAt + consumed;
    if (type === referenceDeltaType) objects.takeDelta(pack.toString('hex', from, contentAt), content);
    else objects.take(type, content);
  }
  return objects.found;
}

/** What a pack has, where some are told by their differences to others. */
class ObjectsOfPack {
  readonly found = new Map<string, Buffer>();
  readonly #hash: HashName;
  readonly #types = new Map<string, number>();
  /** Of bases that have not come: those that never do are files. */
  readonly #waiting = new Map<string, Buffer[]>();
  readonly #budget: DeltaBudget = { instructions: mostInstructions };
  #patchedBytes = 0;

  constructor(hash: HashName) {
    this.#hash = hash;
  }

  take(type: number, content: Buffer): void {
    if (type !== commitType && type !== treeType) return;
    const added = [content];
    for (let next = added.pop(); next !== undefined; next = added.pop()) {
      const whole = next;
      const id = digestOfObject(type, whole.length, this.#hash).update(whole).digest('hex');
      this.found.set(id, whole);
      this.#types.set(id, type);
      // There may be more of them than a call takes arguments.
      for (const delta of this.#waiting.get(id) ?? []) added.push(this.#patched(whole, delta));
      this.#waiting.delete(id);
    }
  }

  takeDelta(base: string, delta: Buffer): void {
    const [content, type] = [this.found.get(base), this.#types.get(base)];
    if (content !== undefined && type !== undefined) this.take(type, this.#patched(content, delta));
    else {
      const waiting = this.#waiting.get(base) ?? [];
      waiting.push(delta);
      this.#waiting.set(base, waiting);
    }
  }

  #patched(base: Buffer, delta: Buffer): Buffer {
    const whole = patched(base, delta, this.#budget);
    this.#patchedBytes += whole.length;
    if (this.#patchedBytes > mostUnpackedBytes) throw tooMuch();
    return whole;
  }
}

function tooMuch(): StartupError {
  return unlikePack(`it unpacks to more than ${mostUnpackedBytes} bytes`);
}

/** "PACK", the version and how many objects there are. */
const headerBytes = 12;

function countOf(pack: Buffer): number {
  const isPack = pack.length >= headerBytes && pack.toString('latin1', 0, 4) === 'PACK' && pack.readUInt32BE(4) === 2;
  if (!isPack) throw unlikePack('it does not begin as one');
  return pack.readUInt32BE(8);
}

/** Of the type and the size that stand before each object: seven bits of a byte, the lowest first, four in the first one. */
function entryAt(pack: Buffer, at: number): Entry {
  let byte = byteAt(pack, at);
  const type = (byte >> 4) & 7;
  let size = byte & 15;
  let from = at + 1;
  for (let unit = 16; (byte & 128) !== 0; unit *= 128) {
    byte = byteAt(pack, from);
    size += (byte & 127) * unit;
    from += 1;
  }
  if (!Number.isSafeInteger(size)) throw unlikePack('it has an object of a size that nothing has');
  return { type, size, from };
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw unlikePack('it ends within an object');
  return byte;
}

/** @returns what the beginning of these bytes unpacks to, and how many they were */
function inflated(bytes: Buffer, size: number): { readonly content: Buffer; readonly consumed: number } {
  let told: unknown;
  try {
    told = inflateSync(bytes, { info: true, maxOutputLength: Math.max(1, size) });
  } catch (error) {
    throw unlikePack(describe(error), error);
  }
  if (!isInflated(told) || told.buffer.length !== size)
    throw unlikePack('it has an object of another size than it says');
  return { content: told.buffer, consumed: told.engine.bytesWritten };
}

/** What zlib gives with its option `info`, which its types leave out. */
function isInflated(
  told: unknown,
): told is { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } } {
  if (typeof told !== 'object' || told === null || !('buffer' in told) || !('engine' in told)) return false;
  const { buffer, engine } = told;
  const isEngine = typeof engine === 'object' && engine !== null && 'bytesWritten' in engine;
  return Buffer.isBuffer(buffer) && isEngine && typeof engine.bytesWritten === 'number';
}

/** The digest by which Git knows an object, with all but its bytes (gitformat-pack; "Git Internals - Git Objects"). */
function digestOfObject(type: number, size: number, hash: HashName) {
  return createHash(hash).update(`${typeNames[type]} ${size}\0`);
}

/** As much as there may be before the bytes of the only object of a pack. */
const mostBeginningBytes = headerBytes + 12;

/** A file in a pack. */
export interface Blob {
  /** In bytes. */
  readonly size: number;
  /** Ends with an error where it is not what was meant. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * Opens a pack that has one file alone.
 *
 * @param id of the file
 * @throws StartupError ModelFetchFailed for what is no such pack; ModelDigestMismatch, while it is read, for another file
 */
export async function openBlob(pack: AsyncIterable<Buffer>, id: string, hash: HashName): Promise<Blob> {
  const chunks = pack[Symbol.asyncIterator]();
  let beginning = Buffer.alloc(0);
  while (beginning.length < mostBeginningBytes) {
    const { done, value } = await chunks.next();
    if (done === true) break;
    beginning = Buffer.concat([beginning, value]);
  }
  if (countOf(beginning) !== 1) throw unlikePack('it has more than the one file that was asked for');
  const { type, size, from } = entryAt(beginning, headerBytes);
  if (type !== blobType) throw unlikePack('what it has is no file');
  const rest = (async function* () {
    yield beginning.subarray(from);
    yield* { [Symbol.asyncIterator]: () => chunks };
  })();
  return { size, content: contentOf(rest, { id, size, hash }) };
}

async function* contentOf(
  compressed: AsyncIterable<Buffer>,
  { id, size, hash }: { readonly id: string; readonly size: number; readonly hash: HashName },
): AsyncGenerator<Buffer, void> {
  const digest = digestOfObject(blobType, size, hash);
  let bytes = 0;
  // Whoever reads it is told of its errors.
  const inflate: AsyncIterable<Buffer> = pipeline(Readable.from(compressed), createInflate(), () => undefined);
  for await (const chunk of inflate) {
    bytes += chunk.length;
    if (bytes > size) break;
    digest.update(chunk);
    yield chunk;
  }
  const found = digest.digest('hex');
  if (bytes === size && found === id) return;
  throw new StartupError(
    'ModelDigestMismatch',
    `the server sends another file than Git's ${id}: it, or somebody on the way, has changed it`,
  );
}

export function unlikePack(problem: string, cause?: unknown): StartupError {
  return new StartupError('ModelFetchFailed', `the server sends what is no pack of Git's: ${problem}`, { cause });
}
