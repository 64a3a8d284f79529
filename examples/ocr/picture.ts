import { convertIndexedToRgb, decode as decodePng } from 'fast-png';
import jpeg from 'jpeg-js';

/** Pixels of some channels of a byte each, in rows from the top; the first three are red, green and blue, or there is only one. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly pixels: Uint8Array;
}

type Point = readonly [x: number, y: number];

/** A rectangle in a picture, in any position: its first corner, and the ways from there to both neighbours. */
export interface Frame {
  readonly origin: Point;
  readonly right: Point;
  readonly down: Point;
}

const mostPixels = 16_000_000;

/** @throws what a client is told, for what is no PNG or JPEG, or is too large */
export function pictureIn(body: Uint8Array): Picture {
  try {
    return body[0] === 0xff ? jpegIn(body) : pngIn(body);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw Object.assign(new Error(`the body is no picture that can be read, in PNG or JPEG: ${why}`), { status: 400 });
  }
}

function jpegIn(body: Uint8Array): Picture {
  const limits = { maxResolutionInMP: mostPixels / 1e6, maxMemoryUsageInMB: 512 };
  const { width, height, data } = jpeg.decode(body, { useTArray: true, ...limits });
  return { width, height, channels: 4, pixels: data };
}

function pngIn(body: Uint8Array): Picture {
  // A chunk of the picture's size comes first.
  const head = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < 24) throw new Error('it is cut short');
  if (head.getUint32(16) * head.getUint32(20) > mostPixels) throw new Error(`it has more than ${mostPixels} pixels`);
  const decoded = decodePng(body);
  const { width, height, depth, channels, data, palette } = decoded;
  if (palette !== undefined) {
    const pixels = Uint8Array.from(convertIndexedToRgb(decoded));
    return { width, height, channels: pixels.length / (width * height), pixels };
  }
  const [most, least] = [2 ** depth - 1, 255];
  return { width, height, channels, pixels: Uint8Array.from(data, (value) => (value / most) * least) };
}

/** Where what is sampled is put. */
export interface Planes {
  readonly into: Float32Array;
  /** Where the first plane begins. */
  readonly offset: number;
  /** The elements of a row, of which only so many columns are written. */
  readonly stride: number;
  readonly columns: number;
  readonly rows: number;
}

/** Writes what is in a frame as planes of blue, green and red, from -1 to 1: a place between pixels in proportion, a larger one as its mean. */
export function sample(picture: Picture, { origin, right, down }: Frame, planes: Planes): void {
  const { into, offset, stride, columns, rows } = planes;
  const across = Math.max(1, Math.round(Math.hypot(...right) / columns));
  const along = Math.max(1, Math.round(Math.hypot(...down) / rows));
  for (let at = 0; at < 3 * rows * columns; at++) {
    const [column, row, plane] = [at % columns, Math.floor(at / columns) % rows, Math.floor(at / (rows * columns))];
    let sum = 0;
    for (let part = 0; part < across * along; part++) {
      const u = (column + ((part % across) + 0.5) / across) / columns;
      const v = (row + (Math.floor(part / across) + 0.5) / along) / rows;
      sum += colourAt(picture, origin[0] + u * right[0] + v * down[0], origin[1] + u * right[1] + v * down[1], plane);
    }
    into[offset + (plane * rows + row) * stride + column] = sum / (across * along) / 127.5 - 1;
  }
}

/** Blue, green or red at a place, from 0 to 255. */
function colourAt({ width, height, channels, pixels }: Picture, u: number, v: number, plane: number): number {
  const colour = channels < 3 ? 0 : 2 - plane;
  const [x, y] = [clamp(u - 0.5, width - 1), clamp(v - 0.5, height - 1)];
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [a, b] = [x - left, y - top];
  const at = (top * width + left) * channels + colour;
  const toRight = left + 1 < width ? channels : 0;
  const below = top + 1 < height ? width * channels : 0;
  const mixed = (place: number) => (1 - a) * (pixels[place] ?? 0) + a * (pixels[place + toRight] ?? 0);
  return (1 - b) * mixed(at) + b * mixed(at + below);
}

function clamp(value: number, most: number): number {
  return Math.min(most, Math.max(0, value));
}
