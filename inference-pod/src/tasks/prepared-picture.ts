import { type Picture, UnreadablePicture } from './picture.ts';
import { normalized, type PictureProcessing, type Resize } from './picture-processing.ts';
import { centerCropped, pixelsBetween, resized } from './resampling.ts';

/** What a model takes of one picture. */
export interface PreparedPicture {
  readonly width: number;
  readonly height: number;
  /** Each colour as a plane of its own, or the colours of each pixel. */
  readonly values: Float32Array;
}

/**
 * @param mostPixels that a picture may have: on the way no more are made, but where its processing makes more of any
 * @throws UnreadablePicture
 */
export function prepared(
  picture: Picture,
  processing: PictureProcessing,
  isColourFirst: boolean,
  mostPixels: number,
): PreparedPicture {
  const { crop } = processing;
  const small = madeSmaller(picture, processing, mostPixels);
  const { width, height, data } = crop === undefined ? small : centerCropped(small, crop.width, crop.height);
  const pixels = width * height;
  const values = new Float32Array(3 * pixels);
  for (let colour = 0; colour < 3; colour++) {
    // There are but 256 of them.
    const table = Float32Array.from({ length: 256 }, (_, value) => normalized(value, colour, processing));
    for (let pixel = 0; pixel < pixels; pixel++) {
      const place = isColourFirst ? colour * pixels + pixel : 3 * pixel + colour;
      values[place] = table[data[3 * pixel + colour] ?? 0] ?? 0;
    }
  }
  return { width, height, values };
}

function madeSmaller(picture: Picture, { resize, filter }: PictureProcessing, mostPixels: number): Picture {
  if (resize === undefined) return picture;
  const [width, height] = resize.kind === 'exact' ? [resize.width, resize.height] : withShortest(picture, resize);
  // Of a picture that is a line, a strip of another shape is made that has far more pixels than it.
  if (Math.max(pixelsBetween(picture, width, height), width * height) > Math.max(mostPixels, mostMade(resize)))
    throw new UnreadablePicture(`its sides, ${picture.width} x ${picture.height}, are too different: cut it`);
  return resized(picture, width, height, filter);
}

function mostMade(resize: Resize): number {
  return resize.kind === 'exact' ? resize.width * resize.height : resize.edge * (resize.longest ?? 0);
}

/**
 * The longer edge keeps the proportion, cut to whole pixels; where it would be too long, it is made as long as it may be, and both are
 * cut from that (`get_size_with_aspect_ratio` of the processors of `transformers`).
 */
export function withShortest(
  { width, height }: Pick<Picture, 'width' | 'height'>,
  { edge, longest }: Pick<Extract<Resize, { readonly kind: 'shortest' }>, 'edge' | 'longest'>,
): readonly [number, number] {
  const [short, long] = width <= height ? [width, height] : [height, width];
  const isTooLong = longest !== undefined && (long / short) * edge > longest;
  const exact = isTooLong ? (longest * short) / long : edge;
  const shorter = isTooLong ? roundedToEven(exact) : edge;
  const longer = short === shorter ? long : Math.trunc((exact * long) / short);
  // Of a line, a pixel is left.
  const [least, most] = [Math.max(1, shorter), Math.max(1, longer)];
  return width <= height ? [least, most] : [most, least];
}

/** As Python rounds. */
function roundedToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
