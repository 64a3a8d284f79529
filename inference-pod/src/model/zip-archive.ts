import { isUtf8 } from 'node:buffer';
import { open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { type Entry, fromRandomAccessReaderPromise, type ZipFile } from 'yauzl';
import { shorten } from '../protocol/json-reader.ts';
import { invalidArchive, type UnpackedFolder } from './unpacked-folder.ts';
import { ZipReader } from './zip-reader.ts';

/** What is there beside files, by the bits of their mode (stat.h: S_IFMT). */
const modes = { mask: 0o170000, none: 0, file: 0o100000 };

/** @throws StartupError ModelInvalid, ModelTooLarge; what reading and writing throw; the reason of the folder's signal */
export async function unpackZip(path: string, folder: UnpackedFolder): Promise<void> {
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
    throw invalidArchive(`'${shorten(entry.fileName)}' in it is no file: pack the files themselves`);
  if (entry.isEncrypted()) throw invalidArchive(`'${shorten(entry.fileName)}' in it is encrypted`);
  if (!entry.canDecodeFileData())
    throw invalidArchive(
      `'${shorten(entry.fileName)}' in it is compressed by method ${entry.compressionMethod}: use deflate`,
    );
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
  if (sum !== entry.crc32) throw invalidArchive(`'${shorten(entry.fileName)}' in it has another checksum than it says`);
}
