import { open } from 'node:fs/promises';

export type ArchiveFormat = 'tar' | 'tar.gz' | 'zip';

export const tarBlock = 512;
const gzipMagic = Buffer.from([0x1f, 0x8b]);
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

/** Its checksum is the sum of its bytes, with spaces where that stands. */
function isTarHeader(block: Buffer): boolean {
  const { from, to } = tarChecksum;
  const [digits] = /^ *[0-7]+/.exec(block.toString('latin1', from, to)) ?? [];
  if (digits === undefined) return false;
  const sum = block.reduce((total, byte, at) => total + (at >= from && at < to ? 0x20 : byte), 0);
  return Number.parseInt(digits, 8) === sum;
}

export function isGzip(bytes: Buffer): boolean {
  return bytes.subarray(0, gzipMagic.length).equals(gzipMagic);
}
