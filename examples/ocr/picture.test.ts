import { crc32, deflateSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { pictureIn } from './picture.ts';

/** Pictures as scanners and people who mean harm make them. */
function chunk(type: string, data: Uint8Array): Buffer {
  const typed = Buffer.concat([Buffer.from(type), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(typed));
  return Buffer.concat([length, typed, checksum]);
}

function header(width: number, height: number, depth: number, colour: number): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width);
  data.writeUInt32BE(height, 4);
  data.set([depth, colour], 8);
  return chunk('IHDR', data);
}

const png = (...chunks: readonly Buffer[]) =>
  Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), ...chunks, chunk('IEND', Buffer.alloc(0))]);
const rows = (...lines: readonly (readonly number[])[]) =>
  chunk('IDAT', deflateSync(Buffer.from(lines.flatMap((line) => [0, ...line]))));
const zeros = (bytes: number) => deflateSync(Buffer.alloc(bytes));

describe('a PNG', () => {
  test.each([
    [1, [[0b1010_0000], [0b0110_0000]], [255, 0, 255, 0, 255, 255]],
    [2, [[0b0011_1000], [0b0100_0000]], [0, 255, 170, 85, 0, 0]],
    [
      4,
      [
        [0xf0, 0x80],
        [0x12, 0x30],
      ],
      [255, 0, 136, 17, 34, 51],
    ],
    [
      8,
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      [1, 2, 3, 4, 5, 6],
    ],
    [
      16,
      [
        [1, 0, 2, 99, 3, 0],
        [4, 0, 5, 0, 255, 255],
      ],
      [1, 2, 3, 4, 5, 255],
    ],
  ])('in grey of %d bits has its pixels', (depth, lines, pixels) => {
    const { width, height, channels, ...picture } = pictureIn(png(header(3, 2, depth, 0), rows(...lines)));
    expect([width, height, channels]).toEqual([3, 2, 1]);
    expect(Array.from(picture.pixels)).toEqual(pixels);
  });

  test('that is transparent is on white', () => {
    const { pixels, channels } = pictureIn(png(header(2, 1, 8, 6), rows([0, 0, 0, 0, 10, 20, 30, 255])));
    expect([channels, Array.from(pixels)]).toEqual([4, [255, 255, 255, 0, 10, 20, 30, 255]]);
    const palette = [chunk('PLTE', Buffer.from([0, 0, 0, 9, 9, 9])), chunk('tRNS', Buffer.from([0]))];
    const indexed = pictureIn(png(header(2, 1, 8, 3), ...palette, rows([0, 1])));
    expect(Array.from(indexed.pixels)).toEqual([255, 255, 255, 0, 9, 9, 9, 255]);
  });

  test('that has something beside its pixels is read without that', () => {
    const hidden = chunk('iCCP', Buffer.concat([Buffer.from('a\0\0'), zeros(200_000_000)]));
    expect(pictureIn(png(header(1, 1, 8, 0), hidden, rows([7]))).pixels).toEqual(Uint8Array.of(7));
  });

  test.each([
    ['of more pixels than are taken', png(header(20_000, 20_000, 8, 0), rows([1])), 'more than 16000000 pixels'],
    ['of no pixels', png(header(0, 0, 8, 0), rows([])), 'it has no pixels'],
    ['with two headers', png(header(2, 2, 8, 0), header(20_000, 20_000, 8, 0), rows([1])), 'it has two headers'],
    [
      'whose header comes later',
      png(chunk('tEXt', Buffer.from('a\0b')), header(20_000, 20_000, 8, 0)),
      'does not begin with its header',
    ],
    ['of more than its header says', png(header(10, 10, 8, 0), chunk('IDAT', zeros(200_000_000))), 'larger than'],
    ['that is a strip', png(header(1, 100, 8, 0), rows(...Array(100).fill([1]))), 'one side may be 50 times as long'],
    ['that is cut short', png(header(3, 2, 8, 0), rows([1, 2, 3])).subarray(0, 50), 'it is cut short'],
    ['that is nothing', Buffer.alloc(0), 'it has no header'],
  ])('%s is refused', (_, bytes, message) => {
    expect(() => pictureIn(bytes)).toThrow(
      expect.objectContaining({ status: 400, message: expect.stringContaining(message) }),
    );
  });
});
