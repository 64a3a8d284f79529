import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { Parser, type ReadEntry } from 'tar';
import { shorten } from '../protocol/json-reader.ts';
import { describe } from './download.ts';
import { chunkSize, parserOptions, tarChunks } from './tar-chunks.ts';
import { invalidArchive, type UnpackedFolder } from './unpacked-folder.ts';

/** @throws StartupError ModelInvalid, ModelTooLarge; what reading and writing throw; the reason of the signal */
export async function unpackTar(
  path: string,
  format: 'tar' | 'tar.gz',
  folder: UnpackedFolder,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const parser = new Parser(parserOptions);
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
    if (header.includes('GNU.sparse.'))
      failed.abort(invalidArchive('a file in it is sparse: pack it without --sparse'));
  });
  parser.on('ignoredEntry', ({ path: name, type }: ReadEntry) =>
    failed.abort(invalidArchive(`'${shorten(name)}' in it is a ${type} that is not known here, or too long`)),
  );
  parser.on('error', (error) =>
    failed.abort(invalidArchive(`it is no tar, or was changed: ${describe(error)}`, error)),
  );
  let hasEnd = false;
  parser.on('eof', () => {
    hasEnd = true;
  });
  try {
    const file = createReadStream(path, { highWaterMark: chunkSize, signal: either });
    for await (const chunk of tarChunks(file, format)) {
      // The library keeps whatever is behind the end, and gzip has its checksum there.
      if (hasEnd) folder.take(chunk);
      else if (!parser.write(chunk)) await once(parser, 'drain', { signal: either });
    }
    if (!hasEnd) parser.end();
    await taken;
    failed.signal.throwIfAborted();
    if (!hasEnd) throw invalidArchive('it ends before its end: it was truncated');
  } catch (error) {
    failed.abort(error);
    // What is being written is not left open.
    current?.end();
    await taken.catch(() => undefined);
    throw failed.signal.reason;
  }
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
      throw invalidArchive(
        `'${shorten(entry.path)}' in it is a ${entry.type}: pack the files themselves (tar --dereference --hard-dereference)`,
      );
  }
}
