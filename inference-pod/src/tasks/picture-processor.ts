import type { ModelSession } from '../model/session.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import { inWords, UnfitModel } from './model-outputs.ts';
import type { Picture } from './picture.ts';
import { invalidProcessing, type PictureProcessing } from './picture-processing.ts';
import { prepared } from './prepared-picture.ts';

/** Pictures to the tensor that a model takes. */
export class PictureProcessor {
  readonly #processing: PictureProcessing;
  readonly #mostPixels: number;
  readonly input: string;
  readonly #isColourFirst: boolean;
  /** How many pictures the model takes at once; undefined for any number. */
  readonly batch: number | undefined;
  /** Of one picture. */
  readonly #shape: readonly number[];

  /**
   * @param mostPixels that a picture may have, whatever is made of it
   * @throws UnfitModel when the model takes no pictures, or others than these are made; InvalidConfiguration
   */
  constructor(session: ModelSession, task: string, processing: PictureProcessing, mostPixels: number) {
    this.#processing = processing;
    this.#mostPixels = mostPixels;
    const { inputs } = session.signature;
    const [input, ...others] = inputs;
    const isPicture = input?.datatype === 'FP32' && input.shape.length === 4 && others.length === 0;
    if (input === undefined || !isPicture || (input.shape[1] !== 3 && input.shape[3] !== 3 && input.shape[1] !== -1))
      throw new UnfitModel(
        `the task ${task} needs a model with one input of FP32 [-1, 3, HEIGHT, WIDTH] or [-1, HEIGHT, WIDTH, 3]; this one has ${inWords(inputs)}`,
      );
    this.input = input.name;
    this.batch = input.shape[0] === -1 ? undefined : input.shape[0];
    if (this.batch === 0) throw new UnfitModel(`the model takes no pictures at once: ${inWords([input])}`);
    this.#isColourFirst = input.shape[3] !== 3;
    const [height, width] = edgesOf(processing);
    this.#shape = this.#isColourFirst ? [3, height, width] : [height, width, 3];
    const isFit = this.#shape.every((edge, at) => [-1, edge].includes(input.shape[at + 1] ?? -1));
    if (!isFit)
      throw new UnfitModel(
        `pictures are made ${width} x ${height} by preprocessor_config.json, and the model takes ${inWords([input])}`,
      );
  }

  /** @returns one behind another */
  tensorOf(pictures: readonly Float32Array[]): Tensor {
    const size = this.#shape.reduce((product, edge) => product * edge, 1);
    const data = new Float32Array(pictures.length * size);
    for (const [at, picture] of pictures.entries()) data.set(picture, at * size);
    return { datatype: 'FP32', shape: [pictures.length, ...this.#shape], data };
  }

  /**
   * What the model takes of one picture.
   *
   * @throws UnreadablePicture
   */
  values(picture: Picture): Float32Array {
    return prepared(picture, this.#processing, this.#isColourFirst, this.#mostPixels).values;
  }
}

/** Height and width of what a model is given. */
function edgesOf({ resize, crop }: PictureProcessing): readonly [number, number] {
  if (crop !== undefined) return [crop.height, crop.width];
  if (resize?.kind === 'exact') return [resize.height, resize.width];
  throw invalidProcessing('it makes pictures of different sizes: it has neither a size nor a crop of both edges');
}
