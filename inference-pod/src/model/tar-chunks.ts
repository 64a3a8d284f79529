import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { isGzip, tarBlock } from './archive-format.ts';
import { invalidArchive } from './unpacked-folder.ts';

/** Of what a tar says of a file beside its header: its name has 4096 at most. */
const mostHeaderBytes = 65_536;
export const chunkSize = 65_536;

/** What the library is given is never compressed. */
export const parserOptions = { strict: true, brotli: false, zstd: false, maxMetaEntrySize: mostHeaderBytes } as const;

/**
 * What the library is to read of a tar. It is unpacked by a thread of Node's, and not by the library in this one: a kilobyte may be a megabyte.
 *
 * @throws StartupError ModelInvalid for what is too short, or compressed twice; what reading and unpacking throw
 */
export async function* tarChunks(bytes: AsyncIterable<Buffer>, format: 'tar' | 'tar.gz'): AsyncGenerator<Buffer, void> {
  // Whoever reads it is told of its errors.
  const chunks: AsyncIterable<Buffer> =
    format === 'tar' ? bytes : pipeline(Readable.from(bytes), createGunzip({ chunkSize }), () => undefined);
  let beginning: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (beginning === undefined) {
      yield chunk;
      continue;
    }
    beginning = Buffer.concat([beginning, chunk]);
    // The library would unpack it once more.
    if (isGzip(beginning)) throw invalidArchive('it is compressed twice');
    if (beginning.length < tarBlock) continue;
    yield beginning;
    beginning = undefined;
  }
  if (beginning !== undefined) throw invalidArchive('it is no tar: it is too short');
}
