import { decodePictures, pictureWireOf } from '../protocol/picture-request.ts';
import { encodeClassification } from '../protocol/text-classification.ts';
import { type Answering, refuseLarger, type TaskTools } from './answering.ts';
import { configurationIn } from './model-configuration.ts';
import { classOutputOf, floatsOf } from './model-outputs.ts';
import { decodePicture, readable } from './picture.ts';
import { pictureProcessingIn } from './picture-processing.ts';
import { PictureProcessor } from './picture-processor.ts';
import { scoresOf } from './scores.ts';
import { configurationName, type ImageClassificationTask, pictureProcessorName } from './task.ts';
import { mostBytesOfScore, ranked } from './text-classification.ts';

/** As the pipeline of `transformers` has it. */
const usualTop = 5;
/** Pictures of one run at most: what is held of them in memory is bounded. */
const mostOfRun = 8;

/**
 * Answers `POST /v1/classify` for pictures.
 *
 * @param read gives a file beside the model
 * @throws UnfitModel, InvalidConfiguration
 */
export function imageClassification(
  { session, name, mostAnswerBytes }: TaskTools,
  task: ImageClassificationTask,
  read: (file: string) => string,
): Answering {
  const processing = pictureProcessingIn(read(pictureProcessorName));
  const { labels, scoring } = configurationIn(read(configurationName));
  const processor = new PictureProcessor(session, task.kind, processing, task.mostPixels);
  const output = classOutputOf(session.signature, task.kind, labels.length);
  const longest = labels.reduce((most, label) => Math.max(most, Buffer.byteLength(JSON.stringify(label))), 0);

  const run = async (values: readonly Float32Array[]): Promise<readonly Float32Array[]> => {
    const inputs = new Map([[processor.input, processor.tensorOf(values)]]);
    const given = (await session.run(inputs, [{ name: output }])).get(output);
    if (given === undefined) throw new Error(`the model gave no ${output}`);
    const logits = floatsOf(given.datatype, given.data);
    const size = labels.length;
    if (logits.length !== values.length * size)
      throw new Error(`the model gave shape [${given.shape}] for ${values.length} pictures and ${size} labels`);
    if (!logits.every(Number.isFinite)) throw new Error(`the model gave ${output} that is no number, or without end`);
    return values.map((_, at) => logits.slice(at * size, (at + 1) * size));
  };

  return async (body, progress, wire) => {
    const { pictures, top = usualTop } = await decodePictures(pictureWireOf(wire), body, name);
    const told = Math.min(top, labels.length);
    refuseLarger(pictures.length * ((told + 1) * (longest + mostBytesOfScore) + mostBytesOfScore), mostAnswerBytes);
    const logits: Float32Array[] = [];
    for (const some of chunks(pictures, processor.batch ?? mostOfRun)) {
      const values: Float32Array[] = [];
      for (const picture of some) {
        progress.goOn();
        const read = async () => processor.values(await decodePicture(picture.bytes, task.mostPixels));
        values.push(await readable(picture.field, read));
      }
      // A model of a batch that is fixed is given all of it.
      const filled = processor.batch === undefined ? values : padded(values, processor.batch);
      progress.goOn();
      logits.push(...(await progress.timed(run(filled))).slice(0, values.length));
    }
    const predictions = logits.map((ofPicture) =>
      ranked(labels, scoresOf(ofPicture, task.scoring ?? scoring)).slice(0, told),
    );
    return encodeClassification(name, predictions, undefined);
  };
}

function chunks<T>(list: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size));
}

function padded(values: readonly Float32Array[], count: number): readonly Float32Array[] {
  const [first = new Float32Array(0)] = values;
  return Array.from({ length: count }, (_, at) => values[at] ?? first);
}
