/**
 * Reads the texts in a picture: the model of the deployment finds the lines, a second says whether they stand on their heads, a third reads
 * them.
 */
import { readFileSync } from 'node:fs';
import type { Outputs, OutputTensor, Predict, Run } from '@slipway/handler';
import { linesIn } from './lines.ts';
import { type Frame, type Picture, pictureIn, sample } from './picture.ts';

/** What the recognizer's classes stand for: nothing, then these, and a space. */
const characters = ['', ...readFileSync(new URL('characters.txt', import.meta.url), 'utf8').split('\n'), ' '];

/** The detector takes sides of whole steps, the shorter of so many pixels. */
const step = 32;
const shortSide = 736;
const longestSide = 1600;
/** Of lines, as both models of lines take them. */
const rows = 48;
const columnsOfDirection = 192;
const leastColumns = 320;
const mostColumns = 3200;
const batchSize = 8;
/** Of all lines of a batch: the recognizer gives 26 KB for eight of them. */
const mostColumnsOfBatch = 12_000;
/** Less sure, a line is left as it is. */
const sureOfDirection = 0.9;
/** Less sure, a text is none. */
const sureOfText = 0.5;

export const predict: Predict = async (request, run) => {
  const picture = pictureIn(request.body);
  const lines = await turnedRight(picture, await find(picture, run), run);
  const texts = await read(picture, lines, run);
  return { lines: texts.filter(({ text, score }) => text !== '' && score >= sureOfText) };
};

async function find(picture: Picture, run: Run): Promise<Frame[]> {
  const { width, height } = picture;
  const scale = Math.min(Math.max(1, shortSide / Math.min(width, height)), longestSide / Math.max(width, height));
  const [columns, rows] = [width, height].map((side) => step * Math.max(1, Math.round((side * scale) / step)));
  if (columns === undefined || rows === undefined) return [];
  const data = new Float32Array(3 * rows * columns);
  const whole: Frame = { origin: [0, 0], right: [width, 0], down: [0, height] };
  sample(picture, whole, { into: data, offset: 0, stride: columns, columns, rows });
  const map = only(await run({ x: { shape: [1, 3, rows, columns], data } }));
  const [x, y] = [width / columns, height / rows];
  return linesIn(floats(map), columns, rows).map(({ origin, right, down }) => ({
    origin: [origin[0] * x, origin[1] * y],
    right: [right[0] * x, right[1] * y],
    down: [down[0] * x, down[1] * y],
  }));
}

async function turnedRight(picture: Picture, lines: readonly Frame[], run: Run): Promise<Frame[]> {
  const turned: Frame[] = [];
  for (const batch of batches(lines, () => columnsOfDirection)) {
    const scores = only(await run({ x: sampled(picture, batch, columnsOfDirection) }, { model: 'direction.onnx' }));
    for (const [index, line] of batch.entries())
      turned.push(Number(scores.data[2 * index + 1]) > sureOfDirection ? upsideDown(line) : line);
  }
  return turned;
}

async function read(picture: Picture, lines: readonly Frame[], run: Run) {
  const byLength = lines.map((line, index) => ({ line, index })).toSorted((a, b) => ratioOf(a.line) - ratioOf(b.line));
  const found: { text: string; score: number; box: number[][] }[] = [];
  for (const batch of batches(byLength, ({ line }) => columnsOf(line))) {
    const columns = Math.max(...batch.map(({ line }) => columnsOf(line)));
    const input = sampled(
      picture,
      batch.map(({ line }) => line),
      columns,
    );
    const probabilities = only(await run({ x: input }, { model: 'recognizer.onnx' }));
    for (const [place, { line, index }] of batch.entries())
      found[index] = { ...decoded(probabilities, place), box: cornersOf(line) };
  }
  return found;
}

/** Lines as a model of lines takes them: of one height, and what is left beside a shorter one grey. */
function sampled(picture: Picture, lines: readonly Frame[], most: number) {
  const data = new Float32Array(lines.length * 3 * rows * most);
  for (const [index, line] of lines.entries()) {
    const columns = Math.min(most, Math.ceil(rows * ratioOf(line)));
    sample(picture, line, { into: data, offset: index * 3 * rows * most, stride: most, columns, rows });
  }
  return { shape: [lines.length, 3, rows, most], data };
}

/** The most probable class of each place; what is said twice in a row is one character (Graves et al. 2006). */
function decoded({ shape, data }: OutputTensor, line: number): { text: string; score: number } {
  const [, places = 0, classes = 0] = shape;
  const chosen: { character: number; probability: number }[] = [];
  let before = 0;
  for (let place = 0; place < places; place++) {
    const start = (line * places + place) * classes;
    let character = 0;
    for (let one = 1; one < classes; one++)
      if (Number(data[start + one]) > Number(data[start + character])) character = one;
    if (character !== 0 && character !== before)
      chosen.push({ character, probability: Number(data[start + character]) });
    before = character;
  }
  const text = chosen.map(({ character }) => characters[character] ?? '').join('');
  const score = chosen.reduce((sum, { probability }) => sum + probability, 0) / Math.max(1, chosen.length);
  return { text: text.trim(), score };
}

function columnsOf(line: Frame): number {
  return Math.min(mostColumns, Math.max(leastColumns, Math.ceil(rows * ratioOf(line))));
}

function ratioOf({ right, down }: Frame): number {
  return Math.hypot(...right) / Math.hypot(...down);
}

function upsideDown({ origin, right, down }: Frame): Frame {
  return {
    origin: [origin[0] + right[0] + down[0], origin[1] + right[1] + down[1]],
    right: [-right[0], -right[1]],
    down: [-down[0], -down[1]],
  };
}

/** From the one where the text begins, clockwise. */
function cornersOf({ origin: [x, y], right, down }: Frame): number[][] {
  const corners = [
    [x, y],
    [x + right[0], y + right[1]],
    [x + right[0] + down[0], y + right[1] + down[1]],
    [x + down[0], y + down[1]],
  ];
  return corners.map((corner) => corner.map(Math.round));
}

function only(outputs: Outputs): OutputTensor {
  const [output] = Object.values(outputs);
  if (output === undefined) throw new Error('the model has given nothing');
  return output;
}

function floats({ data }: OutputTensor): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data, Number);
}

/** @param columnsOf rises, so that the last of a batch says how many each of its lines has */
function batches<T>(all: readonly T[], columnsOf: (one: T) => number): T[][] {
  const made: T[][] = [];
  for (const one of all) {
    const batch = made.at(-1);
    const size = (batch?.length ?? 0) + 1;
    if (batch !== undefined && size <= batchSize && size * columnsOf(one) <= mostColumnsOfBatch) batch.push(one);
    else made.push([one]);
  }
  return made;
}
