import type { ModelSession } from '../model/session.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import { type Detection, encodeDetections, type SeenPicture } from '../protocol/detections.ts';
import { decodePictures, type PictureRequest, pictureWireOf } from '../protocol/picture-request.ts';
import { badRequest } from '../protocol/request-error.ts';
import { type Answering, refuseLarger, type TaskTools } from './answering.ts';
import { configurationIn } from './model-configuration.ts';
import { floatOutputs, floatsOf, inWords, UnfitModel } from './model-outputs.ts';
import { decodePicture, UnreadablePicture } from './picture.ts';
import { pictureProcessingIn } from './picture-processing.ts';
import { type PreparedPicture, prepared } from './prepared-picture.ts';
import { scoresOf } from './scores.ts';
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
  const processing = pictureProcessingIn(read(pictureProcessorName), task.kind);
  const { labels } = configurationIn(read(configurationName));
  const detector = new Detector(session, labels);
  const longest = labels.reduce((most, label) => Math.max(most, Buffer.byteLength(JSON.stringify(label))), 0);

  return async (body, progress, wire) => {
    const request = await decodePictures(pictureWireOf(wire), body, name);
    const { pictures, threshold = usualThreshold, top } = request;
    const seen: SeenPicture[] = [];
    let bytes = 0;
    for (const one of pictures) {
      progress.goOn();
      const { width, height, picture } = await readable(one, async () => {
        const decoded = await decodePicture(one.bytes, task.mostPixels);
        return { ...decoded, picture: prepared(decoded, processing, true, task.mostPixels) };
      });
      const detections = (await progress.timed(detector.detect(picture, width, height, threshold))).slice(0, top);
      bytes += detections.length * (longest + mostBytesOfDetection);
      refuseLarger(bytes, mostAnswerBytes);
      seen.push({ width, height, detections });
    }
    return encodeDetections(name, seen);
  };
}

async function readable<T>({ field }: PictureRequest['pictures'][number], read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof UnreadablePicture) throw badRequest(`${field} cannot be taken: ${error.message}`);
    throw error;
  }
}

/** A model that gives boxes. */
class Detector {
  readonly #session: ModelSession;
  readonly #labels: readonly string[];
  readonly #input: string;
  /** Takes a 1 for each pixel that is of the picture; undefined for a model that does not ask. */
  readonly #mask: { readonly name: string; readonly shape: readonly number[] } | undefined;
  readonly #logits: string;
  readonly #boxes: string;

  /** @throws UnfitModel */
  constructor(session: ModelSession, labels: readonly string[]) {
    this.#session = session;
    this.#labels = labels;
    const { inputs, outputs } = session.signature;
    const picture = inputs.find(({ datatype, shape }) => datatype === 'FP32' && shape.length === 4);
    const mask = inputs.find(({ datatype, shape }) => datatype === 'INT64' && shape.length === 3);
    const others = inputs.filter((input) => input !== picture && input !== mask);
    const takesColours = picture !== undefined && [3, -1].includes(picture.shape[1] ?? 0);
    if (picture === undefined || !takesColours || others.length > 0)
      throw new UnfitModel(
        `the task ObjectDetection needs a model with an input of FP32 [-1, 3, HEIGHT, WIDTH], and perhaps a mask of INT64 [-1, HEIGHT, WIDTH]; this one has ${inWords(inputs)}`,
      );
    const widthsOf = (...widths: readonly number[]) =>
      floatOutputs(session.signature, 3).filter(({ shape: [, , width = -1] }) => [-1, ...widths].includes(width));
    const named = (name: string, ...widths: readonly number[]) => {
      const fit = widthsOf(...widths);
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

  /**
   * @param width of the picture that it was made of, and its height
   * @returns the surest first
   */
  async detect(picture: PreparedPicture, width: number, height: number, threshold: number): Promise<Detection[]> {
    const given = await this.#session.run(this.#inputsOf(picture), [{ name: this.#logits }, { name: this.#boxes }]);
    const [logits, boxes] = [this.#numbersOf(given, this.#logits), this.#numbersOf(given, this.#boxes)];
    const [, count = 0, classes = 0] = logits.shape;
    if (boxes.numbers.length !== 4 * count || classes < this.#labels.length || classes > this.#labels.length + 1)
      throw new Error(`the model gave shapes [${logits.shape}] and [${boxes.shape}] for ${this.#labels.length} labels`);
    const isOneOf = classes > this.#labels.length;
    const found = Array.from({ length: count }, (_, at) => {
      const scores = scoresOf(
        logits.numbers.subarray(at * classes, (at + 1) * classes),
        isOneOf ? 'Softmax' : 'Sigmoid',
      );
      const box = boxIn(boxes.numbers.subarray(4 * at, 4 * at + 4), width, height);
      const all = this.#labels.map((label, place) => ({ label, score: scores[place] ?? 0, box }));
      return isOneOf ? all.reduce((best, one) => (one.score > best.score ? one : best)) : all;
    }).flat();
    // Of labels that are each by themselves, as many are looked at as there are boxes.
    const surest = found.sort((a, b) => b.score - a.score).slice(0, count);
    return surest.filter(({ score }) => score > threshold);
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

  #numbersOf(given: ReadonlyMap<string, Tensor>, output: string) {
    const tensor = given.get(output);
    if (tensor === undefined) throw new Error(`the model gave no ${output}`);
    const numbers = floatsOf(tensor.datatype, tensor.data);
    if (!numbers.every(Number.isFinite)) throw new Error(`the model gave ${output} that is no number, or without end`);
    return { shape: tensor.shape, numbers };
  }
}

/** A model gives the middle and the size of a box, as shares of the picture's. */
function boxIn([x = 0, y = 0, across = 0, down = 0]: Float32Array, width: number, height: number): Detection['box'] {
  return [(x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height];
}
