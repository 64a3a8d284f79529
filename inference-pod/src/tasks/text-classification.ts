import { decodeClassification, encodeClassification, type Prediction } from '../protocol/text-classification.ts';
import { type Answering, refuseLarger, type TextTools } from './answering.ts';
import { encoded } from './encoded-text.ts';
import type { ModelConfiguration } from './model-configuration.ts';
import { scoresOf } from './scores.ts';
import type { TextClassificationTask } from './task.ts';
import { TextClassifier } from './text-classifier.ts';
import type { TokenRow } from './text-model.ts';

/** Of a score in JSON, and of what stands around it and its label. */
export const mostBytesOfScore = 48;

/**
 * Answers `POST /v1/classify` by the labels of the model.
 *
 * @throws UnfitModel
 */
export function textClassification(
  { session, tokenizer, name, mostAnswerBytes }: TextTools,
  task: TextClassificationTask,
  { labels, scoring }: ModelConfiguration,
): Answering {
  const classifier = new TextClassifier(session, task.kind, tokenizer.paddingId, labels.length);
  const longest = labels.reduce((most, label) => Math.max(most, Buffer.byteLength(JSON.stringify(label))), 0);
  return async (body, progress) => {
    const { input, top = labels.length } = decodeClassification(body, name, false);
    const told = Math.min(top, labels.length);
    refuseLarger(input.length * ((told + 1) * (longest + mostBytesOfScore) + mostBytesOfScore), mostAnswerBytes);
    const rows = input.map((text, index): TokenRow => {
      progress.goOn();
      const ids = encoded(`input[${index}]`, () => tokenizer.encode(text));
      return { length: ids.length, tokens: () => ({ ids, types: undefined }) };
    });
    const logits = await classifier.logits(rows, progress);
    const predictions = logits.map((ofText) =>
      ranked(labels, scoresOf(ofText, task.scoring ?? scoring)).slice(0, told),
    );
    return encodeClassification(name, predictions, tokensOf(rows));
  };
}

/** Labels and their scores, the best first; of equals the first. */
export function ranked(labels: readonly string[], scores: Float32Array): readonly Prediction[] {
  return labels.map((label, at) => ({ label, score: scores[at] ?? 0 })).sort((a, b) => b.score - a.score);
}

export function tokensOf(rows: readonly TokenRow[]): number {
  return rows.reduce((sum, { length }) => sum + length, 0);
}
