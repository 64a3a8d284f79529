import type { ArchiveFormat } from './archive-format.ts';
import { describe } from './download.ts';
import { StartupError } from './startup-error.ts';
import { invalidArchive, UnpackedFolder, type UnpackOptions } from './unpacked-folder.ts';

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
    if (format === 'zip') {
      const { unpackZip } = await import('./zip-archive.ts');
      await unpackZip(path, unpacked);
    } else {
      const { unpackTar } = await import('./tar-archive.ts');
      await unpackTar(path, format, unpacked, options.signal);
    }
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof StartupError || isOfDisk(error)) throw error;
    throw invalidArchive(describe(error), error);
  }
  return unpacked.files;
}

function isOfDisk(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'syscall' in error;
}
