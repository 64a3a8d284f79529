import sharp from 'sharp';
import { badRequest } from '../protocol/request-error.ts';

/** Colours of a picture, row by row: red, green and blue of each pixel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

const startOfImage = 0xd8;
const endOfImage = 0xd9;
const startOfScan = 0xda;
/** Encoders write ten; a thumbnail inside has as many. */
const mostScans = 100;

/** The longest that a JPEG has: of a line of pixels, each takes ten times as much on the way as those of a square. */
const longestEdge = 65_535;

/** Bytes are no picture that can be taken. */
export class UnreadablePicture extends Error {
  override readonly name = 'UnreadablePicture';
}

// The library knows forms that fetch what they name, or that are programs.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'],
});
// A pod has as many threads as it computes with, and pictures are one behind another.
sharp.concurrency(1);
sharp.cache(false);

/**
 * The pixels of a JPEG, PNG or WebP, turned as it says that it was taken. Transparency and colour profiles are left out, as
 * Python's Pillow does when it is asked for RGB; of several frames the first is taken.
 *
 * @param mostPixels larger pictures are refused before they are decoded
 * @throws UnreadablePicture
 */
export async function decodePicture(bytes: Buffer, mostPixels: number): Promise<Picture> {
  if (scansOf(bytes) > mostScans) throw new UnreadablePicture(`it is a JPEG of more than ${mostScans} scans`);
  try {
    const image = sharp(bytes, { limitInputPixels: false, ignoreIcc: true, failOn: 'error' });
    const { width, height, format } = await image.metadata();
    if (width * height > mostPixels)
      throw new UnreadablePicture(`it has ${width} x ${height} pixels, and at most ${mostPixels} are taken`);
    if (Math.max(width, height) > longestEdge)
      throw new UnreadablePicture(`it has ${width} x ${height} pixels, and edges of at most ${longestEdge} are taken`);
    if (!['jpeg', 'png', 'webp'].includes(format)) throw new UnreadablePicture(`${format} is not taken`);
    const { data, info } = await image
      .autoOrient()
      .removeAlpha()
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: info.channels === 3 ? data : coloured(data, info.channels) };
  } catch (error) {
    if (error instanceof UnreadablePicture) throw error;
    throw new UnreadablePicture(
      `it is no JPEG, PNG or WebP that can be read: ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
      },
    );
  }
}

/**
 * @param field of the request that has the picture
 * @throws RequestError 400 that names it, for an UnreadablePicture
 */
export async function readable<T>(field: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof UnreadablePicture) throw badRequest(`${field} cannot be taken: ${error.message}`);
    throw error;
  }
}

/**
 * How often a JPEG goes over its picture, by its markers (ITU-T T.81, B.1): a scan of forty bytes may take as long as that of a whole
 * picture, and a decoder does not end in between.
 */
function scansOf(bytes: Buffer): number {
  if (bytes[0] !== 0xff || bytes[1] !== startOfImage) return 0;
  let scans = 0;
  for (let at = 2; at !== -1; at = bytes.indexOf(0xff, at)) {
    while (bytes[at + 1] === 0xff) at++;
    const marker = bytes[at + 1] ?? endOfImage;
    if (marker === endOfImage) break;
    if (marker === startOfScan) scans++;
    // Those between the data of a scan have no length.
    const isAlone = marker <= 0x01 || (marker >= 0xd0 && marker <= startOfImage);
    at += isAlone || at + 4 > bytes.length ? 2 : 2 + bytes.readUInt16BE(at + 2);
  }
  return scans;
}

/** Of shades of grey. */
function coloured(data: Uint8Array, channels: number): Uint8Array {
  const pixels = data.length / channels;
  const colours = new Uint8Array(3 * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) colours.fill(data[pixel * channels] ?? 0, 3 * pixel, 3 * pixel + 3);
  return colours;
}
