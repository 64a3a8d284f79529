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

/**
 * @param text of the file
 * @param task that the model is for
 * @throws InvalidConfiguration
 */
export function pictureProcessingIn(text: string, task: PictureTask): PictureProcessing {
  const configuration = objectIn(pictureProcessorName, text);
  const field = (name: string): unknown => Reflect.get(configuration, name);
  refuseUnknown(field, task);
  const isOn = (name: string, usual: boolean) => {
    const value = field(name);
    return typeof value === 'boolean' ? value : usual;
  };
  const kind = kindOf(field('image_processor_type') ?? field('feature_extractor_type'), task);
  const crops = isOn('do_center_crop', field('crop_size') !== undefined);
  const share = field('crop_pct');
  const byShortest = kind ?? (crops || typeof share === 'number' ? 'shortest' : 'exact');
  const size = isOn('do_resize', true) ? sizeOf(field('size'), byShortest, field('max_size')) : undefined;
  const normalizes = isOn('do_normalize', true);
  const filter = filters[numberOf('resample', field('resample') ?? 2)];
  if (filter === undefined) throw invalidProcessing("its 'resample' is none of Pillow's filters, 0 to 5");
  const rescales = isOn('do_rescale', true);
  const processing = {
    filter,
    factor: rescales ? numberOf('rescale_factor', field('rescale_factor') ?? 1 / 255) : 1,
    mean: normalizes ? coloursOf('image_mean', field('image_mean')) : [0, 0, 0],
    deviation: normalizes ? coloursOf('image_std', field('image_std')) : [1, 1, 1],
    isDividedTwice: isOn('include_top', false),
  };
  if (!hasEnd(processing))
    throw invalidProcessing("its 'rescale_factor', 'image_mean' and 'image_std' make numbers without end");
  if (typeof share === 'number' && size?.kind === 'shortest') return { ...processing, ...sharedCrop(size.edge, share) };
  return { ...processing, resize: size, crop: crops ? cropOf(field('crop_size')) : undefined };
}

export type PictureTask = 'ImageClassification' | 'ObjectDetection';

/** What a size that is one number means to the processors of `transformers`, by what their names begin with. */
const sizeKinds: Readonly<Record<PictureTask, ReadonlyMap<string, Resize['kind']>>> = {
  ImageClassification: new Map([
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
  ]),
  ObjectDetection: new Map([
    ['Detr', 'shortest'],
    ['ConditionalDetr', 'shortest'],
    ['DeformableDetr', 'shortest'],
    ['RTDetr', 'exact'],
  ]),
};

/** What some of them do to pixels besides. Pictures of a detector are padded to the largest of a batch, and here each is one by itself. */
const notDone = ['do_flip_channel_order', 'rescale_offset', 'do_thumbnail'];

function refuseUnknown(field: (name: string) => unknown, task: PictureTask): void {
  const unknown = [...notDone, ...(task === 'ObjectDetection' ? [] : ['do_pad'])].find((name) => field(name) === true);
  if (unknown !== undefined) throw invalidProcessing(`its '${unknown}' is true, and that is not done here`);
}

/** @returns undefined where the file does not name a processor */
function kindOf(type: unknown, task: PictureTask): Resize['kind'] | undefined {
  if (type === undefined || type === null) return undefined;
  const name = String(type).replace(/(FeatureExtractor|ImageProcessor(Fast)?)$/, '');
  const kinds = sizeKinds[task];
  const kind = kinds.get(name);
  if (kind === undefined)
    throw invalidProcessing(
      `its 'image_processor_type' is ${shorten(String(type))}, and what is done here is that of ${Array.from(kinds.keys()).join(', ')}: leave its type out if only size, crop, rescaling and normalisation are meant`,
    );
  return kind;
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
