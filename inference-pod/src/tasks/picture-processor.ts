import type { ModelSession } from '../model/session.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import { shorten } from '../protocol/json-reader.ts';
import { InvalidConfiguration, objectIn } from './model-configuration.ts';
import { inWords, UnfitModel } from './model-outputs.ts';
import { type Picture, UnreadablePicture } from './picture.ts';
import { centerCropped, type Filter, filters, pixelsBetween, resized } from './resampling.ts';
import { pictureProcessorName } from './task.ts';

/** What is done with a picture before a model takes it, as a `preprocessor_config.json` of the hub says. */
export interface PictureProcessing {
  readonly resize: Resize | undefined;
  readonly filter: Filter;
  readonly crop: { readonly width: number; readonly height: number } | undefined;
  /** What each colour is multiplied by, then the mean and the standard deviation of each. */
  readonly factor: number;
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** Whether the quotient is divided by that once more, as the processor of EfficientNet does for its classifier. */
  readonly isDividedTwice: boolean;
}

type Resize =
  | { readonly kind: 'exact'; readonly width: number; readonly height: number }
  | { readonly kind: 'shortest'; readonly edge: number };

const mostEdge = 4096;

/**
 * @param text of the file
 * @throws InvalidConfiguration
 */
export function pictureProcessingIn(text: string): PictureProcessing {
  const configuration = objectIn(pictureProcessorName, text);
  const field = (name: string): unknown => Reflect.get(configuration, name);
  refuseUnknown(field);
  const isOn = (name: string, usual: boolean) => {
    const value = field(name);
    return typeof value === 'boolean' ? value : usual;
  };
  const kind = kindOf(field('image_processor_type') ?? field('feature_extractor_type'));
  const crops = isOn('do_center_crop', field('crop_size') !== undefined);
  const share = field('crop_pct');
  const byShortest = kind ?? (crops || typeof share === 'number' ? 'shortest' : 'exact');
  const size = isOn('do_resize', true) ? sizeOf(field('size'), byShortest) : undefined;
  const normalizes = isOn('do_normalize', true);
  const filter = filters[numberOf('resample', field('resample') ?? 2)];
  if (filter === undefined) throw invalid("its 'resample' is none of Pillow's filters, 0 to 5");
  const rescales = isOn('do_rescale', true);
  const processing = {
    filter,
    factor: rescales ? numberOf('rescale_factor', field('rescale_factor') ?? 1 / 255) : 1,
    mean: normalizes ? coloursOf('image_mean', field('image_mean')) : [0, 0, 0],
    deviation: normalizes ? coloursOf('image_std', field('image_std')) : [1, 1, 1],
    isDividedTwice: isOn('include_top', false),
  };
  if (!hasEnd(processing)) throw invalid("its 'rescale_factor', 'image_mean' and 'image_std' make numbers without end");
  if (typeof share === 'number' && size?.kind === 'shortest') return { ...processing, ...sharedCrop(size.edge, share) };
  return { ...processing, resize: size, crop: crops ? cropOf(field('crop_size')) : undefined };
}

/** What a size that is one number means to the processors of `transformers`, by what their names begin with. */
const sizeKinds: ReadonlyMap<string, Resize['kind']> = new Map([
  ['ViT', 'exact'],
  ['DeiT', 'exact'],
  ['Beit', 'exact'],
  ['EfficientNet', 'exact'],
  ['Siglip', 'exact'],
  ['CLIP', 'shortest'],
  ['ConvNext', 'shortest'],
  ['Bit', 'shortest'],
  ['MobileNetV1', 'shortest'],
  ['MobileNetV2', 'shortest'],
]);

/** What some of them do to pixels besides. */
const notDone = ['do_flip_channel_order', 'rescale_offset', 'do_pad', 'do_thumbnail'];

function refuseUnknown(field: (name: string) => unknown): void {
  const unknown = notDone.find((name) => field(name) === true);
  if (unknown !== undefined) throw invalid(`its '${unknown}' is true, and that is not done here`);
}

/** @returns undefined where the file does not name a processor */
function kindOf(type: unknown): Resize['kind'] | undefined {
  if (type === undefined || type === null) return undefined;
  const name = String(type).replace(/(FeatureExtractor|ImageProcessor(Fast)?)$/, '');
  const kind = sizeKinds.get(name);
  if (kind === undefined)
    throw invalid(
      `its 'image_processor_type' is ${shorten(String(type))}, and what is done here is that of ${Array.from(sizeKinds.keys()).join(', ')}: leave its type out if only size, crop, rescaling and normalisation are meant`,
    );
  return kind;
}

function hasEnd(processing: Normalization): boolean {
  return [0, 1, 2].every((colour) => [0, 255].every((value) => Number.isFinite(normalized(value, colour, processing))));
}

/** As the processors compute, in single precision. */
function normalized(value: number, colour: number, { factor, mean, deviation, isDividedTwice }: Normalization): number {
  const by = deviation[colour] ?? 1;
  const once = Math.fround((Math.fround(value * factor) - (mean[colour] ?? 0)) / by);
  return isDividedTwice ? Math.fround(once / by) : once;
}

type Normalization = Pick<PictureProcessing, 'factor' | 'mean' | 'deviation' | 'isDividedTwice'>;

/** As the processor of ConvNeXT: small pictures are the middle of somewhat larger ones, large ones are taken whole. */
function sharedCrop(edge: number, share: number): Pick<PictureProcessing, 'resize' | 'crop'> {
  const square = { width: edge, height: edge };
  if (edge >= 384) return { resize: { kind: 'exact', ...square }, crop: undefined };
  if (!(share > 0 && share <= 1)) throw invalid("its 'crop_pct' is no share from 0 to 1");
  return { resize: { kind: 'shortest', edge: edgeOf('crop_pct', Math.trunc(edge / share)) }, crop: square };
}

function sizeOf(size: unknown, kind: Resize['kind']): Resize {
  if (typeof size === 'number') {
    const edge = edgeOf('size', size);
    return kind === 'shortest' ? { kind, edge } : { kind, width: edge, height: edge };
  }
  const { shortest_edge: edge, width, height } = fieldsOf('size', size);
  if (edge !== undefined) return { kind: 'shortest', edge: edgeOf('size.shortest_edge', edge) };
  return { kind: 'exact', width: edgeOf('size.width', width), height: edgeOf('size.height', height) };
}

function cropOf(size: unknown): { readonly width: number; readonly height: number } {
  const { width, height } = typeof size === 'number' ? { width: size, height: size } : fieldsOf('crop_size', size);
  return { width: edgeOf('crop_size.width', width), height: edgeOf('crop_size.height', height) };
}

interface Edges {
  readonly shortest_edge?: unknown;
  readonly width?: unknown;
  readonly height?: unknown;
}

function fieldsOf(name: string, value: unknown): Edges {
  if (typeof value === 'object' && value !== null) return value;
  throw invalid(`its '${name}' is no size`);
}

function edgeOf(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= mostEdge) return value;
  throw invalid(`its '${name}' is no number of pixels from 1 to ${mostEdge}`);
}

function numberOf(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw invalid(`its '${name}' is no number`);
}

function coloursOf(name: string, value: unknown): readonly number[] {
  if (Array.isArray(value) && value.length === 3) return value.map((each: unknown) => numberOf(name, each));
  throw invalid(`its '${name}' has no number for each of three colours`);
}

function invalid(problem: string): InvalidConfiguration {
  return new InvalidConfiguration(pictureProcessorName, problem);
}

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
    const { crop } = this.#processing;
    const small = this.#resized(picture);
    return this.#normalized(crop === undefined ? small : centerCropped(small, crop.width, crop.height));
  }

  #resized(picture: Picture): Picture {
    const { resize, filter } = this.#processing;
    if (resize === undefined) return picture;
    const [width, height] =
      resize.kind === 'exact' ? [resize.width, resize.height] : withShortest(picture, resize.edge);
    // Of a picture that is a line, a strip of another shape is made that has far more pixels than it.
    if (Math.max(pixelsBetween(picture, width, height), width * height) > this.#mostPixels)
      throw new UnreadablePicture(`its sides, ${picture.width} x ${picture.height}, are too different: cut it`);
    return resized(picture, width, height, filter);
  }

  #normalized({ width, height, data }: Picture): Float32Array {
    const pixels = width * height;
    const values = new Float32Array(3 * pixels);
    for (let colour = 0; colour < 3; colour++) {
      // There are but 256 of them.
      const table = Float32Array.from({ length: 256 }, (_, value) => normalized(value, colour, this.#processing));
      for (let pixel = 0; pixel < pixels; pixel++) {
        const place = this.#isColourFirst ? colour * pixels + pixel : 3 * pixel + colour;
        values[place] = table[data[3 * pixel + colour] ?? 0] ?? 0;
      }
    }
    return values;
  }
}

/** Height and width of what a model is given. */
function edgesOf({ resize, crop }: PictureProcessing): readonly [number, number] {
  if (crop !== undefined) return [crop.height, crop.width];
  if (resize?.kind === 'exact') return [resize.height, resize.width];
  throw invalid('it makes pictures of different sizes: it has neither a size nor a crop of both edges');
}

/** The longer edge keeps the proportion, cut to whole pixels. */
function withShortest({ width, height }: Picture, edge: number): readonly [number, number] {
  const longer = (long: number, short: number) => Math.max(1, Math.trunc((edge * long) / short));
  return width <= height ? [edge, longer(height, width)] : [longer(width, height), edge];
}
