import type { Picture } from './picture.ts';

/** The filters of Pillow by its numbers, which `preprocessor_config.json` has. */
export const filters = ['Nearest', 'Lanczos', 'Bilinear', 'Bicubic', 'Box', 'Hamming'] as const;
export type Filter = (typeof filters)[number];

/** How far a filter reaches, and what it weighs at a distance. */
interface Kernel {
  readonly support: number;
  weight(distance: number): number;
}

const kernels: Readonly<Record<Exclude<Filter, 'Nearest'>, Kernel>> = {
  Box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  Bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  Hamming: { support: 1, weight: hamming },
  Bicubic: { support: 2, weight: bicubic },
  Lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

function hamming(x: number): number {
  const distance = Math.abs(x);
  if (distance === 0) return 1;
  return distance >= 1 ? 0 : sinc(distance) * (0.54 + 0.46 * Math.cos(distance * Math.PI));
}

/** R. Keys, "Cubic convolution interpolation for digital image processing", IEEE 1981, with a of -1/2. */
function bicubic(x: number): number {
  const a = -0.5;
  const distance = Math.abs(x);
  if (distance < 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * a : 0;
}

/** Weights are whole numbers of so many bits, as in Pillow, whose results are had to the bit. */
const precisionBits = 22;

/** For each place of a new line, where the pixels begin that it is of, and their weights. */
interface Line {
  readonly starts: Int32Array;
  readonly weights: readonly Int32Array[];
}

/**
 * A picture of another size, each pixel weighed from all that it covers: a convolution along rows, then along columns, as Pillow
 * up to version 12 does it. Between the two, colours are rounded to bytes, so that their order tells.
 */
export function resized(picture: Picture, width: number, height: number, filter: Filter): Picture {
  if (filter === 'Nearest') return nearest(picture, width, height);
  const kernel = kernels[filter];
  if (isColumnsFirst(picture, height)) return alongRows(alongColumns(picture, height, kernel), width, kernel);
  return alongColumns(alongRows(picture, width, kernel), height, kernel);
}

/** Of what is nearly a line, rows would be made far longer first. */
function isColumnsFirst(picture: Picture, height: number): boolean {
  return picture.height > 100 * picture.width && height < picture.height;
}

/** How many pixels are held at once while a picture is made another size, beside its own. */
export function pixelsBetween(picture: Picture, width: number, height: number): number {
  return isColumnsFirst(picture, height) ? picture.width * height : width * picture.height;
}

function lineOf(from: number, to: number, { support, weight }: Kernel): Line {
  const scale = from / to;
  const stretch = Math.max(1, scale);
  const reach = support * stretch;
  const starts = new Int32Array(to);
  const exact = new Float64Array(2 * Math.ceil(reach) + 1);
  const weights = Array.from({ length: to }, (_, place) => {
    const center = (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(from, Math.trunc(center + reach + 0.5));
    starts[place] = start;
    let sum = 0;
    for (let at = 0; at < end - start; at++) {
      exact[at] = weight((at + start - center + 0.5) / stretch);
      sum += exact[at] ?? 0;
    }
    const share = sum === 0 ? 1 : sum;
    return new Int32Array(end - start).map((__, at) => rounded(((exact[at] ?? 0) / share) * 2 ** precisionBits));
  });
  return { starts, weights };
}

/** Halves away from 0. */
function rounded(value: number): number {
  return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
}

function alongRows({ width: from, height, data }: Picture, width: number, kernel: Kernel): Picture {
  if (from === width) return { width, height, data };
  const { starts, weights } = lineOf(from, width, kernel);
  const into = new Uint8ClampedArray(3 * width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const start = 3 * (row * from + (starts[column] ?? 0));
      weigh(data, start, 3, weights[column] ?? none, into, 3 * (row * width + column));
    }
  }
  return { width, height, data: new Uint8Array(into.buffer) };
}

function alongColumns({ width, height: from, data }: Picture, height: number, kernel: Kernel): Picture {
  if (from === height) return { width, height, data };
  const { starts, weights } = lineOf(from, height, kernel);
  const into = new Uint8ClampedArray(3 * width * height);
  for (let row = 0; row < height; row++) {
    const ofRow = weights[row] ?? none;
    for (let column = 0; column < width; column++) {
      const start = 3 * ((starts[row] ?? 0) * width + column);
      weigh(data, start, 3 * width, ofRow, into, 3 * (row * width + column));
    }
  }
  return { width, height, data: new Uint8Array(into.buffer) };
}

const none = new Int32Array(0);

/** The three colours of one pixel, from those that are `step` bytes apart. */
function weigh(
  data: Uint8Array,
  start: number,
  step: number,
  weights: Int32Array,
  into: Uint8ClampedArray,
  place: number,
): void {
  const half = 2 ** (precisionBits - 1);
  let [red, green, blue] = [half, half, half];
  for (let at = 0, from = start; at < weights.length; at++, from += step) {
    const weight = weights[at] ?? 0;
    red += (data[from] ?? 0) * weight;
    green += (data[from + 1] ?? 0) * weight;
    blue += (data[from + 2] ?? 0) * weight;
  }
  into[place] = red >> precisionBits;
  into[place + 1] = green >> precisionBits;
  into[place + 2] = blue >> precisionBits;
}

function nearest({ width: from, height: fromHeight, data }: Picture, width: number, height: number): Picture {
  const into = new Uint8Array(3 * width * height);
  for (let row = 0; row < height; row++) {
    const fromRow = Math.floor(((row + 0.5) * fromHeight) / height);
    for (let column = 0; column < width; column++) {
      const start = 3 * (fromRow * from + Math.floor(((column + 0.5) * from) / width));
      into.set(data.subarray(start, start + 3), 3 * (row * width + column));
    }
  }
  return { width, height, data: into };
}

/** The middle of a picture; what it does not have is black. */
export function centerCropped(picture: Picture, width: number, height: number): Picture {
  if (picture.width === width && picture.height === height) return picture;
  const left = Math.floor((picture.width - width) / 2);
  const top = Math.floor((picture.height - height) / 2);
  const into = new Uint8Array(3 * width * height);
  const from = Math.max(0, left);
  const to = Math.min(picture.width, left + width);
  for (let row = Math.max(0, -top); row < height && top + row < picture.height; row++) {
    const start = 3 * (top + row) * picture.width;
    into.set(picture.data.subarray(start + 3 * from, start + 3 * to), 3 * (row * width + from - left));
  }
  return { width, height, data: into };
}
