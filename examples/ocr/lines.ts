import type { Frame } from './picture.ts';

type Point = readonly [x: number, y: number];

/** More probable than that is part of a text, and a line is more probable than that on the average. */
const leastProbability = 0.3;
const leastMean = 0.5;
/** In pixels of the map: what is thinner is no text. */
const leastSide = 3;
/** The detector marks the middle of a line: how much larger the line is (Liao et al. 2020, Real-time Scene Text Detection with DB). */
const unclipRatio = 1.6;
const mostLines = 1000;

/**
 * The lines of text in a map of how probable it is that there is text, of which each has a frame in the coordinates of the map, in the
 * order in which people read them. Their frames go from left to right; those of lines that stand upright, from their foot.
 */
export function linesIn(map: Float32Array, width: number, height: number): Frame[] {
  const seen = new Uint8Array(map.length);
  const frames: Frame[] = [];
  for (let start = 0; start < map.length && frames.length < mostLines; start++) {
    if (seen[start] === 1 || !(Number(map[start]) > leastProbability)) continue;
    const { mean, border } = region(map, width, height, start, seen);
    if (mean < leastMean) continue;
    const rectangle = smallestRectangle(hull(border));
    if (Math.min(rectangle.length, rectangle.breadth) < leastSide) continue;
    frames.push(frameOf(rectangle));
  }
  return inReadingOrder(frames);
}

/** Everything that hangs together with a pixel, corners included: its mean, and the first and last pixel of each row. */
function region(map: Float32Array, width: number, height: number, start: number, seen: Uint8Array) {
  const rows = new Map<number, { first: number; last: number }>();
  const left = [start];
  seen[start] = 1;
  let sum = 0;
  let count = 0;
  for (let place = left.pop(); place !== undefined; place = left.pop()) {
    const [x, y] = [place % width, Math.floor(place / width)];
    sum += Number(map[place]);
    count += 1;
    const row = rows.get(y);
    if (row === undefined) rows.set(y, { first: x, last: x });
    else {
      row.first = Math.min(row.first, x);
      row.last = Math.max(row.last, x);
    }
    for (let near = 0; near < 9; near++) {
      const [u, v] = [x + (near % 3) - 1, y + Math.floor(near / 3) - 1];
      const other = v * width + u;
      if (u < 0 || u >= width || v < 0 || v >= height || seen[other] === 1) continue;
      if (!(Number(map[other]) > leastProbability)) continue;
      seen[other] = 1;
      left.push(other);
    }
  }
  // Pixels are squares: their corners count, not their middles.
  const border = Array.from(rows, ([y, { first, last }]): Point[] => [
    [first, y],
    [first, y + 1],
    [last + 1, y],
    [last + 1, y + 1],
  ]).flat();
  return { mean: sum / count, border };
}

/** The convex hull (Andrew's monotone chain), counter-clockwise. */
function hull(points: readonly Point[]): Point[] {
  const sorted = points.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (ordered: readonly Point[]) => {
    const chain: Point[] = [];
    for (const point of ordered) {
      for (let [a, b] = chain.slice(-2); a && b && turn(a, b, point) <= 0; [a, b] = chain.slice(-2)) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.toReversed())];
}

function turn(a: Point, b: Point, c: Point): number {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}

/** A rectangle: its middle, the unit vector along one of its sides, how long that is, and the other. */
interface Rectangle {
  readonly middle: Point;
  readonly along: Point;
  readonly length: number;
  readonly breadth: number;
}

/** One side of the smallest rectangle around a hull lies on a side of the hull (Freeman and Shapira 1975). */
function smallestRectangle(corners: readonly Point[]): Rectangle {
  const around = corners.map((corner, index): Rectangle => {
    const next = corners[(index + 1) % corners.length] ?? corner;
    const size = Math.hypot(next[0] - corner[0], next[1] - corner[1]);
    const [x, y]: Point = [(next[0] - corner[0]) / size, (next[1] - corner[1]) / size];
    const us = corners.map((point) => point[0] * x + point[1] * y);
    const vs = corners.map((point) => point[1] * x - point[0] * y);
    const [u, v] = [(Math.max(...us) + Math.min(...us)) / 2, (Math.max(...vs) + Math.min(...vs)) / 2];
    return {
      middle: [u * x - v * y, u * y + v * x],
      along: [x, y],
      length: Math.max(...us) - Math.min(...us),
      breadth: Math.max(...vs) - Math.min(...vs),
    };
  });
  return around.reduce((best, one) => (one.length * one.breadth < best.length * best.breadth ? one : best));
}

/** What is much higher than wide is a line that stands upright. */
const uprightRatio = 1.5;

function frameOf({ middle, along: [x, y], length, breadth }: Rectangle): Frame {
  const more = (length * breadth * unclipRatio) / (2 * (length + breadth));
  // The side that goes from left to right most, and the one that goes down.
  const isAlong = Math.abs(x) >= Math.abs(y);
  const sign = (isAlong ? x : y) < 0 ? -1 : 1;
  const unit: Point = isAlong ? [sign * x, sign * y] : [sign * y, -sign * x];
  const [width, height] = [(isAlong ? length : breadth) + 2 * more, (isAlong ? breadth : length) + 2 * more];
  const right: Point = [unit[0] * width, unit[1] * width];
  const down: Point = [-unit[1] * height, unit[0] * height];
  const origin: Point = [middle[0] - (right[0] + down[0]) / 2, middle[1] - (right[1] + down[1]) / 2];
  if (height < uprightRatio * width) return { origin, right, down };
  return { origin: [origin[0] + down[0], origin[1] + down[1]], right: [-down[0], -down[1]], down: right };
}

/** From top to bottom; those that are side by side, from left to right. */
function inReadingOrder(frames: readonly Frame[]): Frame[] {
  const middleOf = ({ origin, right, down }: Frame): Point => [
    origin[0] + (right[0] + down[0]) / 2,
    origin[1] + (right[1] + down[1]) / 2,
  ];
  const rows: Frame[][] = [];
  for (const frame of frames.toSorted((a, b) => middleOf(a)[1] - middleOf(b)[1])) {
    const row = rows.at(-1);
    const first = row?.[0];
    const isBeside = first !== undefined && middleOf(frame)[1] - middleOf(first)[1] < Math.hypot(...first.down) / 2;
    if (isBeside) row?.push(frame);
    else rows.push([frame]);
  }
  return rows.flatMap((row) => row.toSorted((a, b) => middleOf(a)[0] - middleOf(b)[0]));
}
