import { inflateSync } from 'node:zlib';
import { convertIndexedToRgb, decode as decodePng } from 'fast-png';
import jpeg from 'jpeg-js';

const mostPixels = 16_000_000;
/** Longer strips are no pages. */
const mostRatio = 50;
/** @throws what a client is told, for what is no PNG or JPEG, or is too large */
export function pictureIn(body) {
  try {
    const picture = body[0] === 0xff ? jpegIn(body) : pngIn(body);
    const { width, height } = picture;
    if (Math.max(width, height) > mostRatio * Math.min(width, height))
      throw new Error(
        `it is ${width} x ${height}, and one side may be ${mostRatio} times as long as the other at most`,
      );
    return picture;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw Object.assign(new Error(`the body is no picture that can be read, in PNG or JPEG: ${why}`), { status: 400 });
  }
}
function jpegIn(body) {
  const limits = { maxResolutionInMP: mostPixels / 1e6, maxMemoryUsageInMB: 512 };
  const { width, height, data } = jpeg.decode(body, { useTArray: true, ...limits });
  return { width, height, channels: 4, pixels: data };
}
function pngIn(body) {
  const decoded = decodePng(plainPng(body));
  const { width, height, depth, channels, data, palette } = decoded;
  if (palette !== undefined) {
    const pixels = convertIndexedToRgb(decoded);
    return onWhite({ width, height, channels: pixels.length / (width * height), pixels });
  }
  return onWhite({ width, height, channels, pixels: bytesOf(data, depth, width * channels, height) });
}
/** Elements of a byte each: those of 16 bits lose the lower ones, and several of 1, 2 or 4 bits are packed in a byte. */
function bytesOf(data, depth, perRow, rows) {
  if (depth === 8 && data instanceof Uint8Array) return data;
  const bytes = new Uint8Array(perRow * rows);
  if (depth === 16) {
    for (let at = 0; at < bytes.length; at++) bytes[at] = Number(data[at]) >> 8;
    return bytes;
  }
  const rowBytes = Math.ceil((perRow * depth) / 8);
  const most = 2 ** depth - 1;
  for (let at = 0; at < bytes.length; at++) {
    const bit = (at % perRow) * depth;
    const packed = Number(data[Math.floor(at / perRow) * rowBytes + (bit >> 3)]);
    bytes[at] = (((packed >> (8 - depth - (bit & 7))) & most) * 255) / most;
  }
  return bytes;
}
/** What is transparent is white, as paper is. */
function onWhite(picture) {
  const { channels, pixels } = picture;
  if (channels !== 2 && channels !== 4) return picture;
  for (let at = 0; at < pixels.length; at += channels) {
    const alpha = Number(pixels[at + channels - 1]) / 255;
    if (alpha === 1) continue;
    for (let colour = 0; colour < channels - 1; colour++)
      pixels[at + colour] = 255 - alpha * (255 - Number(pixels[at + colour]));
  }
  return picture;
}
const signatureBytes = 8;
/** Of a chunk, beside its data: how long that is, its type, and a checksum. */
const chunkBytes = 12;
const samplesOf = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/**
 * A PNG (W3C, Portable Network Graphics) with nothing but its pixels, of which there are no more than it says.
 *
 * @throws Error for what is none, or is too large
 */
function plainPng(body) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const kept = [body.subarray(0, signatureBytes)];
  const data = [];
  let most;
  for (let at = signatureBytes; at + chunkBytes <= body.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...body.subarray(at + 4, at + 8));
    const end = at + chunkBytes + length;
    if (end > body.length) throw new Error('it is cut short');
    if (type === 'IHDR' && most !== undefined) throw new Error('it has two headers');
    if (most === undefined) most = mostBytesOf(type, view, at + 8);
    if (type === 'IDAT') data.push(body.subarray(at + 8, end - 4));
    if (['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND'].includes(type)) kept.push(body.subarray(at, end));
    at = end;
  }
  if (most === undefined) throw new Error('it has no header');
  // More than its header says is nothing that a picture has need of.
  inflateSync(Buffer.concat(data), { maxOutputLength: most });
  return Buffer.concat(kept);
}
/** What the pixels take before they are packed, by the header of a picture, with what interlacing may add. */
function mostBytesOf(type, view, header) {
  if (type !== 'IHDR') throw new Error('it does not begin with its header');
  const [width, height] = [view.getUint32(header), view.getUint32(header + 4)];
  if (width === 0 || height === 0) throw new Error('it has no pixels');
  if (width * height > mostPixels) throw new Error(`it has more than ${mostPixels} pixels`);
  const bits = view.getUint8(header + 8) * (samplesOf[view.getUint8(header + 9)] ?? 4);
  return 2 * height * (Math.ceil((width * bits) / 8) + 2) + 64;
}
/** Writes what is in a frame as planes of blue, green and red, from -1 to 1: a place between pixels in proportion, a larger one as its mean. */
export function sample(picture, { origin, right, down }, planes) {
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
function colourAt({ width, height, channels, pixels }, u, v, plane) {
  const colour = channels < 3 ? 0 : 2 - plane;
  const [x, y] = [clamp(u - 0.5, width - 1), clamp(v - 0.5, height - 1)];
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [a, b] = [x - left, y - top];
  const at = (top * width + left) * channels + colour;
  const toRight = left + 1 < width ? channels : 0;
  const below = top + 1 < height ? width * channels : 0;
  const mixed = (place) => (1 - a) * (pixels[place] ?? 0) + a * (pixels[place + toRight] ?? 0);
  return (1 - b) * mixed(at) + b * mixed(at + below);
}
function clamp(value, most) {
  return Math.min(most, Math.max(0, value));
}
//# sourceMappingURL=picture.js.map
