import { decodeEntities, encodeEntities, type FoundEntity } from '../protocol/entities.ts';
import { type Answering, refuseLarger, type TextTools } from './answering.ts';
import { encoded } from './encoded-text.ts';
import { entitiesOf } from './entities.ts';
import type { ModelConfiguration } from './model-configuration.ts';
import { tokenOutputOf } from './model-outputs.ts';
import { softmax } from './scores.ts';
import type { TokenClassificationTask } from './task.ts';
import { tokensOf } from './text-classification.ts';
import { type ReadRows, TextModel } from './text-model.ts';

/** Of an entity in JSON, beside its text and its label. */
const mostBytesOfEntity = 96;

/**
 * Answers `POST /v1/entities` by the labels that the model gives to tokens.
 *
 * @throws UnfitModel, InvalidTokenizer
 */
export function tokenClassification(
  { session, tokenizer, name, mostAnswerBytes }: TextTools,
  task: TokenClassificationTask,
  { labels }: ModelConfiguration,
): Answering {
  const output = tokenOutputOf(session.signature, task.kind, labels.length);
  const model = new TextModel(session, task.kind, tokenizer.paddingId, output, bestOf(labels.length));
  tokenizer.followPlaces();
  return async (body, progress) => {
    const { input, threshold } = decodeEntities(body, name);
    const texts = input.map((text, index) => {
      progress.goOn();
      return { text, ...encoded(`input[${index}]`, () => tokenizer.placed(text)) };
    });
    const rows = texts.map(({ ids }) => ({ length: ids.length, tokens: () => ({ ids, types: undefined }) }));
    const best = await model.run(rows, progress);
    let bytes = 0;
    const entities = texts.map(({ text, from, tokens }, index) => {
      const given = best[index] ?? new Float32Array(0);
      const labelled = tokens.map((token, at) => ({
        ...token,
        label: labels[given[2 * (from + at)] ?? 0] ?? '',
        score: given[2 * (from + at) + 1] ?? 0,
      }));
      const found = entitiesOf(labelled, task.aggregation).filter(({ score }) => score >= threshold);
      const told = toldOf(text, found);
      bytes += told.reduce((sum, one) => sum + 6 * (one.text.length + one.label.length) + mostBytesOfEntity, 0);
      refuseLarger(bytes, mostAnswerBytes);
      return told;
    });
    return encodeEntities(name, entities, tokensOf(rows));
  };
}

/** For each token the place of its best label, and how sure that is. */
function bestOf(labels: number): ReadRows {
  return ({ values, shape }, rows) => {
    const [, length = 0] = shape;
    if (shape.length !== 3 || shape[2] !== labels)
      throw new Error(`the model gave shape [${shape}] for ${rows.length} texts and ${labels} labels`);
    return rows.map(({ ids }, row) => {
      const best = new Float32Array(2 * ids.length);
      for (const token of ids.keys()) {
        const from = (row * length + token) * labels;
        const scores = softmax(values.subarray(from, from + labels));
        const label = scores.reduce((most, score, at) => (score > (scores[most] ?? 0) ? at : most), 0);
        best.set([label, scores[label] ?? Number.NaN], 2 * token);
      }
      return best;
    });
  };
}

/** Places as Python counts them, by code points. */
function toldOf(text: string, found: ReturnType<typeof entitiesOf>): readonly FoundEntity[] {
  let units = 0;
  let points = 0;
  const lengthOf = (from: number, to: number) => Array.from(text.slice(from, to)).length;
  // A character may be of two tokens, and of two entities.
  const pointsAt = (unit: number) => {
    points += unit < units ? -lengthOf(unit, units) : lengthOf(units, unit);
    units = unit;
    return points;
  };
  return found.map(({ label, start, end, score }) => ({
    label,
    text: text.slice(start, end),
    start: pointsAt(start),
    end: pointsAt(end),
    score,
  }));
}
