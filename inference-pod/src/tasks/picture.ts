import sharp from 'sharp';

/** Colours of a picture, row by row: red, green and blue of each pixel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

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
  try {
    const image = sharp(bytes, { limitInputPixels: false, ignoreIcc: true, failOn: 'error' });
    const { width, height, format } = await image.metadata();
    if (width * height > mostPixels)
      throw new UnreadablePicture(`it has ${width} x ${height} pixels, and at most ${mostPixels} are taken`);
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

/** Of shades of grey. */
function coloured(data: Uint8Array, channels: number): Uint8Array {
  const pixels = data.length / channels;
  const colours = new Uint8Array(3 * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) colours.fill(data[pixel * channels] ?? 0, 3 * pixel, 3 * pixel + 3);
  return colours;
}
