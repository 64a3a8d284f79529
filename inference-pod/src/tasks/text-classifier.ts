import type { ModelSession } from '../model/session.ts';
import { classOutputOf } from './model-outputs.ts';
import type { Task } from './task.ts';
import { type ReadRows, type RunProgress, TextModel, type TokenRow } from './text-model.ts';

/** Texts, or pairs of them, to a number for each label. */
export class TextClassifier {
  readonly #model: TextModel;

  /**
   * @param paddingId of the tokenizer
   * @param labels how many there are
   * @throws UnfitModel when the model has other inputs or outputs than classifiers of text
   */
  constructor(session: ModelSession, task: Task['kind'], paddingId: number, labels: number) {
    const output = classOutputOf(session.signature, task, labels);
    this.#model = new TextModel(session, task, paddingId, output, logitsFor(labels));
  }

  /**
   * @returns for each row a logit for each label, in their order
   * @throws RequestError 400 when the model refuses them, 504 when nobody waits any more
   */
  logits(rows: readonly TokenRow[], progress: RunProgress): Promise<readonly Float32Array[]> {
    return this.#model.run(rows, progress);
  }
}

function logitsFor(labels: number): ReadRows {
  return ({ values, shape }, rows) => {
    if (shape.length > 2 || values.length !== rows.length * labels)
      throw new Error(`the model gave shape [${shape}] for ${rows.length} texts and ${labels} labels`);
    return rows.map((_, index) => Float32Array.from(values.subarray(index * labels, (index + 1) * labels)));
  };
}
