import { isUtf8 } from 'node:buffer';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { pipeline } from 'node:stream';
import { crc32, createGunzip } from 'node:zlib';
import type { ReadEntry } from 'tar';
import type { Entry, ZipFile } from 'yauzl';
import { shorten } from '../protocol/json-reader.ts';
import { describe } from './download.ts';
import { StartupError } from './startup-error.ts';

export type ArchiveFormat = 'tar' | 'tar.gz' | 'zip';

/** More are no model: each costs the disk a file. */
const mostFiles = 2048;
const mostFolders = 2048;
const mostSteps = 32;
const mostEntries = 100_000;
/** Of what a tar says of a file beside its header: its name has 4096 at most. */
const mostHeaderBytes = 65_536;
const chunkSize = 65_536;
const gzipMagic = Buffer.from([0x1f, 0x8b]);
const tarBlock = 512;
/** Where the header of a tar has its checksum (POSIX.1-2017, pax, "ustar Interchange Format"). */
const tarChecksum = { from: 148, to: 156 };

/**
 * What a file is by its first bytes, whatever it is called: no ONNX model has them.
 *
 * @returns undefined for what is no archive
 */
export async function archiveFormatOf(path: string): Promise<ArchiveFormat | undefined> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(tarBlock), 0, tarBlock, 0);
    if (isGzip(buffer)) return 'tar.gz';
    const beginning = buffer.toString('latin1', 0, 4);
    if (beginning === 'PK\x03\x04' || beginning === 'PK\x05\x06') return 'zip';
    return isTarHeader(buffer) ? 'tar' : undefined;
  } finally {
    await file.close();
  }
}

export interface UnpackOptions {
  /** Of all files together. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/**
 * Unpacks an archive into a folder, in which nothing else is.
 *
 * @returns the paths of its files from the folder on, in the order of the archive
 * @throws StartupError ModelInvalid for what is none, or has anything in it but files and folders of names of their own;
 * ModelTooLarge; what writing throws; the reason of the signal
 */
export async function unpack(
  path: string,
  format: ArchiveFormat,
  folder: string,
  options: UnpackOptions,
): Promise<readonly string[]> {
  const unpacked = new UnpackedFolder(folder, options);
  try {
    if (format === 'zip') await unpackZip(path, unpacked);
    else await unpackTar(path, format, unpacked, options.signal);
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof StartupError || isOfDisk(error)) throw error;
    throw invalid(describe(error), error);
  }
  return unpacked.files;
}

/** Its checksum is the sum of its bytes, with spaces where that stands. */
function isTarHeader(block: Buffer): boolean {
  const { from, to } = tarChecksum;
  const [digits] = /^ *[0-7]+/.exec(block.toString('latin1', from, to)) ?? [];
  if (digits === undefined) return false;
  const sum = block.reduce((total, byte, at) => total + (at >= from && at < to ? 0x20 : byte), 0);
  return Number.parseInt(digits, 8) === sum;
}

function isGzip(bytes: Buffer): boolean {
  return bytes.subarray(0, gzipMagic.length).equals(gzipMagic);
}

async function unpackTar(
  path: string,
  format: 'tar' | 'tar.gz',
  folder: UnpackedFolder,
  signal: AbortSignal,
): Promise<void> {
  const { Parser } = await import('tar');
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const parser = new Parser({ strict: true, brotli: false, zstd: false, maxMetaEntrySize: mostHeaderBytes });
  let taken = Promise.resolve();
  let current: ReadEntry | undefined;
  parser.on('entry', (entry: ReadEntry) => {
    folder.count();
    // Those without bytes come before the last ones are written.
    taken = taken.then(() => {
      either.throwIfAborted();
      current = entry;
      return takeTarEntry(entry, folder);
    });
    taken.catch((error) => failed.abort(error));
  });
  parser.on('meta', (header: string) => {
    folder.count();
    if (header.includes('GNU.sparse.')) failed.abort(invalid('a file in it is sparse: pack it without --sparse'));
  });
  parser.on('ignoredEntry', ({ path: name, type }: ReadEntry) =>
    failed.abort(invalid(`'${shorten(name)}' in it is a ${type} that is not known here, or too long`)),
  );
  parser.on('error', (error) => failed.abort(invalid(`it is no tar, or was changed: ${describe(error)}`, error)));
  let hasEnd = false;
  parser.on('eof', () => {
    hasEnd = true;
  });
  try {
    for await (const chunk of tarChunks(path, format, either)) {
      // The library keeps whatever is behind the end, and gzip has its checksum there.
      if (hasEnd) folder.take(chunk);
      else if (!parser.write(chunk)) await once(parser, 'drain', { signal: either });
    }
    if (!hasEnd) parser.end();
    await taken;
    failed.signal.throwIfAborted();
    if (!hasEnd) throw invalid('it ends before its end: it was truncated');
  } catch (error) {
    failed.abort(error);
    // What is being written is not left open.
    current?.end();
    await taken.catch(() => undefined);
    throw failed.signal.reason;
  }
}

/** Unpacked by a thread of Node's, and not by the library in this one: a kilobyte may be a megabyte. */
async function* tarChunks(path: string, format: 'tar' | 'tar.gz', signal: AbortSignal): AsyncGenerator<Buffer, void> {
  const file = createReadStream(path, { highWaterMark: chunkSize, signal });
  // Whoever reads it is told of its errors.
  const chunks: AsyncIterable<Buffer> =
    format === 'tar' ? file : pipeline(file, createGunzip({ chunkSize }), () => undefined);
  let beginning: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (beginning === undefined) {
      yield chunk;
      continue;
    }
    beginning = Buffer.concat([beginning, chunk]);
    // The library would unpack it once more.
    if (isGzip(beginning)) throw invalid('it is compressed twice');
    if (beginning.length < tarBlock) continue;
    yield beginning;
    beginning = undefined;
  }
  if (beginning !== undefined) throw invalid('it is no tar: it is too short');
}

async function takeTarEntry(entry: ReadEntry, folder: UnpackedFolder): Promise<void> {
  switch (entry.type) {
    case 'Directory':
    case 'GNUDumpDir':
      entry.resume();
      return;
    case 'File':
    case 'OldFile':
    case 'ContiguousFile':
      await folder.write(entry.path, entry);
      return;
    default:
      throw invalid(
        `'${shorten(entry.path)}' in it is a ${entry.type}: pack the files themselves (tar --dereference --hard-dereference)`,
      );
  }
}

/** What is there beside files, by the bits of their mode (stat.h: S_IFMT). */
const modes = { mask: 0o170000, none: 0, file: 0o100000 };

async function unpackZip(path: string, folder: UnpackedFolder): Promise<void> {
  const { fromRandomAccessReaderPromise } = await import('yauzl');
  const { ZipReader } = await import('./zip-reader.ts');
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const zip = await fromRandomAccessReaderPromise(new ZipReader(file, size), size, { autoClose: false });
    for await (const entry of zip.eachEntry()) {
      folder.count();
      if (entry.fileName.endsWith('/')) continue;
      refuseUnreadable(entry);
      await folder.write(nameOf(entry), checked(zip, entry));
    }
  } finally {
    await file.close();
  }
}

const zipFlags = { utf8: 0x800 };
const unicodePathField = 0x7075;

/** Some write UTF-8 without saying so. */
function nameOf({ fileName, fileNameRaw, generalPurposeBitFlag, extraFields }: Entry): string {
  const isSaid = (generalPurposeBitFlag & zipFlags.utf8) !== 0 || extraFields.some(({ id }) => id === unicodePathField);
  return isSaid || !isUtf8(fileNameRaw) ? fileName : fileNameRaw.toString().replaceAll('\\', '/');
}

function refuseUnreadable(entry: Entry): void {
  const mode = (entry.externalFileAttributes >>> 16) & modes.mask;
  if (mode !== modes.none && mode !== modes.file)
    throw invalid(`'${shorten(entry.fileName)}' in it is no file: pack the files themselves`);
  if (entry.isEncrypted()) throw invalid(`'${shorten(entry.fileName)}' in it is encrypted`);
  if (!entry.canDecodeFileData())
    throw invalid(`'${shorten(entry.fileName)}' in it is compressed by method ${entry.compressionMethod}: use deflate`);
}

/** The library looks at the lengths of what is in a zip, and not at its checksums. */
async function* checked(zip: ZipFile, entry: Entry): AsyncGenerator<Buffer, void> {
  // Its errors are for who reads it: it is opened when that begins.
  const chunks: AsyncIterable<Buffer> = await zip.openReadStreamPromise(entry);
  let sum = 0;
  for await (const chunk of chunks) {
    sum = crc32(chunk, sum);
    yield chunk;
  }
  if (sum !== entry.crc32) throw invalid(`'${shorten(entry.fileName)}' in it has another checksum than it says`);
}

/** Files that come out of an archive. */
class UnpackedFolder {
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
    if (this.#entries > mostEntries) throw invalid(`it has more than ${mostEntries} entries`);
  }

  async write(name: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    const path = withinArchive(name);
    if (this.files.length >= mostFiles) throw invalid(`it has more than ${mostFiles} files`);
    for (let above = posix.dirname(path); above !== '.'; above = posix.dirname(above)) this.#folders.add(above);
    if (this.#folders.size > mostFolders) throw invalid(`it has more than ${mostFolders} folders`);
    const whole = join(this.#folder, path);
    try {
      await mkdir(dirname(whole), { recursive: true });
      // What was there before is never written over: neither by a second of its name, nor where a disk knows no cases.
      await this.#writeNew(whole, chunks);
    } catch (error) {
      if (isOfNames(error)) throw invalid(`'${shorten(name)}' in it cannot be beside the others: ${error.code}`, error);
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
    throw invalid(`${JSON.stringify(shorten(name))} in it is no path within its folder`);
  if (steps.length > mostSteps) throw invalid(`'${shorten(name)}' in it is in more than ${mostSteps} folders`);
  return path;
}

const ofNames: ReadonlySet<unknown> = new Set(['EEXIST', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG', 'EILSEQ']);

function isOfNames(error: unknown): error is { readonly code: string } {
  return typeof error === 'object' && error !== null && 'code' in error && ofNames.has(error.code);
}

function isOfDisk(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'syscall' in error;
}

function invalid(problem: string, cause?: unknown): StartupError {
  return new StartupError('ModelInvalid', `the model's archive cannot be unpacked: ${problem}`, { cause });
}
