import { shorten } from '../protocol/json-reader.ts';
import { InvalidConfiguration, objectIn } from './model-configuration.ts';
import { type Filter, filters } from './resampling.ts';
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

export type Resize =
  | { readonly kind: 'exact'; readonly width: number; readonly height: number }
  /** The longer edge keeps the proportion; where it would be longer than this, both are shorter. */
  | { readonly kind: 'shortest'; readonly edge: number; readonly longest: number | undefined };

const mostEdge = 4096;

/** Gives a field of the file. */
type Field = (name: string) => unknown;

/**
 * @param text of the file
 * @throws InvalidConfiguration
 */
export function pictureProcessingIn(text: string): PictureProcessing {
  const field = fieldsIn(text);
  refuseDone(field, [...notDone, 'do_pad']);
  const kind = ofProcessor(field, sizeKinds);
  const crops = isOn(field, 'do_center_crop', field('crop_size') !== undefined);
  const share = field('crop_pct');
  const byShortest = kind ?? (crops || typeof share === 'number' ? 'shortest' : 'exact');
  const size = isOn(field, 'do_resize', true) ? sizeOf(field('size'), byShortest, field('max_size')) : undefined;
  const colours = coloursIn(field, true);
  if (typeof share === 'number' && size?.kind === 'shortest') return { ...colours, ...sharedCrop(size.edge, share) };
  return { ...colours, resize: size, crop: crops ? cropOf(field('crop_size')) : undefined };
}

/** What is particular to the processor of a detector. */
interface DetectorProcessing {
  readonly processing: PictureProcessing & { readonly resize: Resize };
  /** How many are found at most, where that is not the number of the boxes. */
  readonly mostFound: number | undefined;
}

/**
 * As the processors of detectors do it, which cut nothing, and pad pictures to the largest of several: here each is one by itself.
 *
 * @param text of the file
 * @throws InvalidConfiguration
 */
export function detectorProcessingIn(text: string): DetectorProcessing {
  const field = fieldsIn(text);
  refuseDone(field, notDone);
  if (isOn(field, 'do_pad', true) && field('pad_size') !== undefined)
    throw invalidProcessing("its 'pad_size' is given, and pictures are not padded here");
  if (!isOn(field, 'do_resize', true)) throw invalidProcessing("its 'do_resize' is false: pictures may have any size");
  const { number, normalizes, mostFound } = ofProcessor(field, detectors) ?? detr;
  const resize = sizeOf(field('size'), number, field('max_size') ?? mostOfDetr);
  return { processing: { ...coloursIn(field, normalizes), resize, crop: undefined }, mostFound };
}

function fieldsIn(text: string): Field {
  const configuration = objectIn(pictureProcessorName, text);
  // What is null is not given, as their writers have it.
  return (name) => Reflect.get(configuration, name) ?? undefined;
}

function isOn(field: Field, name: string, usual: boolean): boolean {
  const value = field(name);
  return typeof value === 'boolean' ? value : usual;
}

function coloursIn(field: Field, usuallyNormalizes: boolean): Omit<PictureProcessing, 'resize' | 'crop'> {
  const normalizes = isOn(field, 'do_normalize', usuallyNormalizes);
  const filter = filters[numberOf('resample', field('resample') ?? 2)];
  if (filter === undefined) throw invalidProcessing("its 'resample' is none of Pillow's filters, 0 to 5");
  const colours = {
    filter,
    factor: isOn(field, 'do_rescale', true) ? numberOf('rescale_factor', field('rescale_factor') ?? 1 / 255) : 1,
    mean: normalizes ? coloursOf('image_mean', field('image_mean')) : [0, 0, 0],
    deviation: normalizes ? coloursOf('image_std', field('image_std')) : [1, 1, 1],
    isDividedTwice: isOn(field, 'include_top', false),
  };
  if (!hasEnd(colours))
    throw invalidProcessing("its 'rescale_factor', 'image_mean' and 'image_std' make numbers without end");
  return colours;
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

interface ProcessorOfDetector extends Pick<DetectorProcessing, 'mostFound'> {
  /** What a size means that is one number. */
  readonly number: Resize['kind'];
  /** Unless the file says otherwise. */
  readonly normalizes: boolean;
}

/** The longer edge, where a size is one number. */
const mostOfDetr = 1333;
const detr: ProcessorOfDetector = { number: 'shortest', normalizes: true, mostFound: undefined };
const detectors: ReadonlyMap<string, ProcessorOfDetector> = new Map([
  ['Detr', detr],
  ['ConditionalDetr', { ...detr, mostFound: 100 }],
  ['DeformableDetr', { ...detr, mostFound: 100 }],
  ['RTDetr', { number: 'exact', normalizes: false, mostFound: undefined }],
]);

/** What some processors do to pixels besides. */
const notDone = ['do_flip_channel_order', 'rescale_offset', 'do_thumbnail'];

function refuseDone(field: Field, names: readonly string[]): void {
  const unknown = names.find((name) => field(name) === true);
  if (unknown !== undefined) throw invalidProcessing(`its '${unknown}' is true, and that is not done here`);
}

/** @returns undefined where the file does not name a processor */
function ofProcessor<T>(field: Field, known: ReadonlyMap<string, T>): T | undefined {
  const type = field('image_processor_type') ?? field('feature_extractor_type');
  if (type === undefined) return undefined;
  const found = known.get(String(type).replace(/(FeatureExtractor|ImageProcessor(Fast)?)$/, ''));
  if (found === undefined)
    throw invalidProcessing(
      `its 'image_processor_type' is ${shorten(String(type))}, and what is done here is that of ${Array.from(known.keys()).join(', ')}: leave its type out if only size, crop, rescaling and normalisation are meant`,
    );
  return found;
}

function hasEnd(processing: Normalization): boolean {
  return [0, 1, 2].every((colour) => [0, 255].every((value) => Number.isFinite(normalized(value, colour, processing))));
}

/** As the processors compute, in single precision. */
export function normalized(
  value: number,
  colour: number,
  { factor, mean, deviation, isDividedTwice }: Normalization,
): number {
  const by = deviation[colour] ?? 1;
  const once = Math.fround((Math.fround(value * factor) - (mean[colour] ?? 0)) / by);
  return isDividedTwice ? Math.fround(once / by) : once;
}

type Normalization = Pick<PictureProcessing, 'factor' | 'mean' | 'deviation' | 'isDividedTwice'>;

/** As the processor of ConvNeXT: small pictures are the middle of somewhat larger ones, large ones are taken whole. */
function sharedCrop(edge: number, share: number): Pick<PictureProcessing, 'resize' | 'crop'> {
  const square = { width: edge, height: edge };
  if (edge >= 384) return { resize: { kind: 'exact', ...square }, crop: undefined };
  if (!(share > 0 && share <= 1)) throw invalidProcessing("its 'crop_pct' is no share from 0 to 1");
  return {
    resize: { kind: 'shortest', edge: edgeOf('crop_pct', Math.trunc(edge / share)), longest: undefined },
    crop: square,
  };
}

function sizeOf(size: unknown, kind: Resize['kind'], mostOfOlder: unknown): Resize {
  if (typeof size === 'number') {
    const edge = edgeOf('size', size);
    return kind === 'shortest' ? { kind, edge, longest: longestOf(mostOfOlder) } : { kind, width: edge, height: edge };
  }
  const { shortest_edge: edge, longest_edge: longest, width, height } = fieldsOf('size', size);
  if (edge !== undefined)
    return { kind: 'shortest', edge: edgeOf('size.shortest_edge', edge), longest: longestOf(longest) };
  return { kind: 'exact', width: edgeOf('size.width', width), height: edgeOf('size.height', height) };
}

function longestOf(edge: unknown): number | undefined {
  return edge === undefined || edge === null ? undefined : edgeOf('size.longest_edge', edge);
}

function cropOf(size: unknown): { readonly width: number; readonly height: number } {
  const { width, height } = typeof size === 'number' ? { width: size, height: size } : fieldsOf('crop_size', size);
  return { width: edgeOf('crop_size.width', width), height: edgeOf('crop_size.height', height) };
}

interface Edges {
  readonly shortest_edge?: unknown;
  readonly longest_edge?: unknown;
  readonly width?: unknown;
  readonly height?: unknown;
}

function fieldsOf(name: string, value: unknown): Edges {
  if (typeof value === 'object' && value !== null) return value;
  throw invalidProcessing(`its '${name}' is no size`);
}

function edgeOf(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= mostEdge) return value;
  throw invalidProcessing(`its '${name}' is no number of pixels from 1 to ${mostEdge}`);
}

function numberOf(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw invalidProcessing(`its '${name}' is no number`);
}

function coloursOf(name: string, value: unknown): readonly number[] {
  if (Array.isArray(value) && value.length === 3) return value.map((each: unknown) => numberOf(name, each));
  throw invalidProcessing(`its '${name}' has no number for each of three colours`);
}

export function invalidProcessing(problem: string): InvalidConfiguration {
  return new InvalidConfiguration(pictureProcessorName, problem);
}
