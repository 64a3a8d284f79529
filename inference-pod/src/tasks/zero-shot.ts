import { badRequest } from '../protocol/request-error.ts';
import { decodeClassification, encodeClassification } from '../protocol/text-classification.ts';
import type { Answering, TextTools } from './answering.ts';
import { encoded } from './encoded-text.ts';
import type { ModelConfiguration } from './model-configuration.ts';
import { UnfitModel } from './model-outputs.ts';
import { softmax } from './scores.ts';
import type { ZeroShotTask } from './task.ts';
import { ranked, tokensOf } from './text-classification.ts';
import { TextClassifier } from './text-classifier.ts';

/** Texts times labels of a request, each of which is run. */
const mostPairs = 2048;

/**
 * Answers `POST /v1/classify` by labels that the request names: a model of textual entailment is asked whether "this is an example of
 * the label" follows from the text (W. Yin, J. Hay, D. Roth, "Benchmarking Zero-shot Text Classification", EMNLP 2019), with the
 * conventions of the pipeline of `transformers`.
 *
 * @throws UnfitModel when the model has no label for that
 */
export function zeroShot(
  { session, tokenizer, name }: TextTools,
  task: ZeroShotTask,
  { labels: verdicts }: ModelConfiguration,
): Answering {
  const entailment = verdicts.findIndex((label) => label.toLowerCase().startsWith('entail'));
  if (entailment === -1 || verdicts.length < 2)
    throw new UnfitModel(
      `the task ZeroShot needs a model that tells entailment from contradiction; the labels of this one are ${verdicts.join(', ')}`,
    );
  const contradiction = entailment === 0 ? verdicts.length - 1 : 0;
  tokenizer.pairFrame();
  const classifier = new TextClassifier(session, task.kind, tokenizer.paddingId, verdicts.length);
  return async (body, progress) => {
    const { input, labels = [], isMultiLabel, top } = decodeClassification(body, name, true);
    if (input.length * labels.length > mostPairs)
      throw badRequest(
        `'input' has ${input.length} entries and 'labels' ${labels.length}: at most ${mostPairs} pairs of them are taken, send fewer at once`,
      );
    const hypotheses = labels.map((label, index) =>
      encoded(`labels[${index}]`, () => tokenizer.encodeBare(task.hypothesis.replaceAll('{}', () => label))),
    );
    const rows = input.flatMap((text, index) => {
      progress.goOn();
      const premise = encoded(`input[${index}]`, () => tokenizer.encodeBare(text));
      return hypotheses.map((hypothesis, at) =>
        encoded(`labels[${at}]`, () => tokenizer.pair(premise, hypothesis, 'first')),
      );
    });
    const logits = await classifier.logits(rows, progress);
    const isEach = isMultiLabel || labels.length === 1;
    const predictions = input.map((_, at) => {
      const ofText = logits.slice(at * labels.length, (at + 1) * labels.length);
      const scores = isEach
        ? Float32Array.from(ofText, (each) => softmax(chosen(each, [contradiction, entailment]))[1] ?? 0)
        : softmax(Float32Array.from(ofText, (each) => each[entailment] ?? 0));
      return ranked(labels, scores).slice(0, top);
    });
    return encodeClassification(name, predictions, tokensOf(rows));
  };
}

function chosen(logits: Float32Array, places: readonly number[]): Float32Array {
  return Float32Array.from(places, (place) => logits[place] ?? 0);
}
