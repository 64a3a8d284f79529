import type { ModelSession } from '../model/session.ts';
import type { Tensor, TensorSignature } from '../protocol/datatypes.ts';
import { type Detection, encodeDetections, type SeenPicture } from '../protocol/detections.ts';
import { decodePictures, pictureWireOf } from '../protocol/picture-request.ts';
import { type Answering, refuseLarger, type TaskTools } from './answering.ts';
import { configurationIn } from './model-configuration.ts';
import { floatOutputs, floatsOf, inWords, UnfitModel } from './model-outputs.ts';
import { decodePicture, readable } from './picture.ts';
import { detectorProcessingIn, type PictureProcessing } from './picture-processing.ts';
import { type PreparedPicture, prepared } from './prepared-picture.ts';
import { configurationName, type ObjectDetectionTask, pictureProcessorName } from './task.ts';

/** As the pipeline of `transformers` has it. */
const usualThreshold = 0.5;
/** Of a detection in JSON, beside its label. */
const mostBytesOfDetection = 192;

/**
 * Answers `POST /v1/detect` by a model that gives a fixed number of boxes and a number for each label of each: DETR (N. Carion et al.,
 * "End-to-End Object Detection with Transformers", ECCV 2020) and its kin. Where it has one number more than there are labels, that
 * is for a box with nothing in it, and a box is what is most likely of all others; otherwise each label of each box is one by itself.
 *
 * @param read gives a file beside the model
 * @throws UnfitModel, InvalidConfiguration
 */
export function objectDetection(
  { session, name, mostAnswerBytes }: TaskTools,
  task: ObjectDetectionTask,
  read: (file: string) => string,
): Answering {
  const { processing, mostFound } = detectorProcessingIn(read(pictureProcessorName));
  const { labels } = configurationIn(read(configurationName));
  const detector = new Detector(session, labels, processing, mostFound);
  const longest = labels.reduce((most, label) => Math.max(most, Buffer.byteLength(JSON.stringify(label))), 0);

  return async (body, progress, wire) => {
    const request = await decodePictures(pictureWireOf(wire), body, name);
    const { pictures, threshold = usualThreshold, top } = request;
    const seen: SeenPicture[] = [];
    let bytes = 0;
    for (const one of pictures) {
      progress.goOn();
      const { width, height, picture } = await readable(one.field, async () => {
        const decoded = await decodePicture(one.bytes, task.mostPixels);
        return { ...decoded, picture: prepared(decoded, processing, true, task.mostPixels) };
      });
      const given = await progress.timed(detector.run(picture));
      const detections = detector.detections(given, { width, height }, threshold).slice(0, top);
      bytes += detections.length * (longest + mostBytesOfDetection);
      refuseLarger(bytes, mostAnswerBytes);
      seen.push({ width, height, detections });
    }
    return encodeDetections(name, seen);
  };
}

/** What a model gave for one picture. */
interface Given {
  readonly logits: Float32Array;
  readonly boxes: Float32Array;
  readonly count: number;
  /** Of each box. */
  readonly classes: number;
}

interface Found {
  readonly score: number;
  /** Of the label. */
  readonly place: number;
  readonly box: number;
}

/** A model that gives boxes. */
class Detector {
  readonly #session: ModelSession;
  readonly #labels: readonly string[];
  readonly #mostFound: number | undefined;
  readonly #input: string;
  /** Takes a 1 for each pixel that is of the picture; undefined for a model that does not ask. */
  readonly #mask: TensorSignature | undefined;
  readonly #logits: string;
  readonly #boxes: string;

  /** @throws UnfitModel */
  constructor(
    session: ModelSession,
    labels: readonly string[],
    { resize }: PictureProcessing,
    mostFound: number | undefined,
  ) {
    this.#session = session;
    this.#labels = labels;
    this.#mostFound = mostFound;
    const { inputs, outputs } = session.signature;
    const edges = resize?.kind === 'exact' ? [resize.height, resize.width] : [-1, -1];
    const picture = inputs.find((input) => input.datatype === 'FP32' && isOf(input, [1, 3, ...edges]));
    const mask = inputs.find(({ datatype, shape: [pictures, ...edgesOfMask] }) => {
      return datatype === 'INT64' && edgesOfMask.length === 2 && (pictures === -1 || pictures === 1);
    });
    if (picture === undefined || inputs.some((input) => input !== picture && input !== mask))
      throw new UnfitModel(
        `the task ObjectDetection needs a model with an input of FP32 [-1, 3, ${edges.join(', ')}], as preprocessor_config.json has it, and perhaps a mask of INT64 [-1, HEIGHT, WIDTH]; this one has ${inWords(inputs)}`,
      );
    const named = (name: string, ...widths: readonly number[]) => {
      const fit = floatOutputs(session.signature, 3).filter(({ shape: [, , width = -1] }) =>
        [-1, ...widths].includes(width),
      );
      return fit.find((output) => output.name === name) ?? (fit.length === 1 ? fit[0] : undefined);
    };
    const boxes = named('pred_boxes', 4);
    const logits = named('logits', labels.length, labels.length + 1);
    if (boxes === undefined || logits === undefined || boxes === logits)
      throw new UnfitModel(
        `the task ObjectDetection needs a model with the outputs logits [-1, BOXES, ${labels.length} or ${labels.length + 1}] and pred_boxes [-1, BOXES, 4]; this one has ${inWords(outputs)}`,
      );
    this.#input = picture.name;
    this.#mask = mask;
    this.#logits = logits.name;
    this.#boxes = boxes.name;
  }

  async run(picture: PreparedPicture): Promise<Given> {
    const outputs = [{ name: this.#logits }, { name: this.#boxes }];
    const given = await this.#session.run(this.#inputsOf(picture), outputs);
    // A label that a model excludes has a logit below all numbers.
    const logits = numbersOf(
      given,
      this.#logits,
      (logit) => logit === Number.NEGATIVE_INFINITY || Number.isFinite(logit),
    );
    const boxes = numbersOf(given, this.#boxes, Number.isFinite);
    const [, count = 0, classes = 0] = logits.shape;
    if (boxes.numbers.length !== 4 * count || classes < this.#labels.length || classes > this.#labels.length + 1)
      throw new Error(`the model gave shapes [${logits.shape}] and [${boxes.shape}] for ${this.#labels.length} labels`);
    return { logits: logits.numbers, boxes: boxes.numbers, count, classes };
  }

  /**
   * @param picture as it was looked at
   * @returns the surest first
   */
  detections(given: Given, picture: Pick<SeenPicture, 'width' | 'height'>, threshold: number): readonly Detection[] {
    const { boxes, count } = given;
    const found = Array.from({ length: count }, (_, box) => this.#surerThan(threshold, given, box)).flat();
    // Of labels that are each by themselves, as many are looked at as there are boxes.
    const most = Math.min(count, this.#mostFound ?? count);
    return found
      .sort((a, b) => b.score - a.score)
      .slice(0, most)
      .map(({ score, place, box }) => ({
        label: this.#labels[place] ?? '',
        score,
        box: boxIn(boxes.subarray(4 * box, 4 * box + 4), picture),
      }));
  }

  /** The labels of a box that are. */
  #surerThan(threshold: number, { logits, classes }: Given, box: number): readonly Found[] {
    const own = logits.subarray(box * classes, (box + 1) * classes);
    if (classes > this.#labels.length) {
      const place = bestOf(own.subarray(0, -1));
      const score = Math.exp((own[place] ?? 0) - logOfSum(own));
      return score > threshold ? [{ score, place, box }] : [];
    }
    const found: Found[] = [];
    for (const [place, logit] of own.entries()) {
      const score = 1 / (1 + Math.exp(-logit));
      if (score > threshold) found.push({ score, place, box });
    }
    return found;
  }

  #inputsOf({ width, height, values }: PreparedPicture): ReadonlyMap<string, Tensor> {
    const inputs = new Map<string, Tensor>([
      [this.#input, { datatype: 'FP32', shape: [1, 3, height, width], data: values }],
    ]);
    if (this.#mask === undefined) return inputs;
    const [, rows = -1, columns = -1] = this.#mask.shape;
    const shape = [1, rows === -1 ? height : rows, columns === -1 ? width : columns] as const;
    const data = new BigInt64Array(shape[1] * shape[2]).fill(1n);
    return inputs.set(this.#mask.name, { datatype: 'INT64', shape, data });
  }
}

/** Whether a tensor of this shape is taken; -1 is any of several. */
function isOf({ shape }: TensorSignature, wanted: readonly number[]): boolean {
  return shape.length === wanted.length && wanted.every((edge, at) => shape[at] === -1 || shape[at] === edge);
}

function numbersOf(given: ReadonlyMap<string, Tensor>, output: string, isRight: (value: number) => boolean) {
  const tensor = given.get(output);
  if (tensor === undefined) throw new Error(`the model gave no ${output}`);
  const numbers = floatsOf(tensor.datatype, tensor.data);
  if (!numbers.every(isRight)) throw new Error(`the model gave ${output} that is no number, or without end`);
  return { shape: tensor.shape, numbers };
}

function bestOf(logits: Float32Array): number {
  let best = 0;
  for (let place = 1; place < logits.length; place++) if ((logits[place] ?? 0) > (logits[best] ?? 0)) best = place;
  return best;
}

/** Of the powers of e; the largest is taken off first, so that none is without end. */
function logOfSum(logits: Float32Array): number {
  const most = logits[bestOf(logits)] ?? 0;
  return most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
}

/** A model gives the middle and the size of a box, as shares of the picture's. */
function boxIn(
  [x = 0, y = 0, across = 0, down = 0]: Float32Array,
  { width, height }: Pick<SeenPicture, 'width' | 'height'>,
): Detection['box'] {
  return [(x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height];
}
