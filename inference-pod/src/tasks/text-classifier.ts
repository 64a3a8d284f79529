import type { ModelSession } from '../model/session.ts';
import { classOutputOf } from './model-outputs.ts';
import type { Task } from './task.ts';
import { TextModel, type TokenRow } from './text-model.ts';

/** Texts, or pairs of them, to a number for each label. */
export class TextClassifier {
  readonly #model: TextModel;
  readonly #labels: number;

  /**
   * @param paddingId of the tokenizer
   * @param labels how many there are
   * @throws UnfitModel when the model has other inputs or outputs than classifiers of text
   */
  constructor(session: ModelSession, task: Task['kind'], paddingId: number, labels: number) {
    this.#model = new TextModel(session, task, paddingId, classOutputOf(session.signature, task, labels));
    this.#labels = labels;
  }

  /**
   * @param beforeRun called before each run of the model; what it throws ends all
   * @returns for each row a logit for each label, in their order
   * @throws RequestError 400 when the model refuses them
   */
  logits(rows: readonly TokenRow[], beforeRun: () => void): Promise<readonly Float32Array[]> {
    const size = this.#labels;
    return this.#model.run(rows, beforeRun, ({ values, shape }, ofRun) => {
      if (shape.length > 2 || values.length !== ofRun.length * size)
        throw new Error(`the model gave shape [${shape}] for ${ofRun.length} texts and ${size} labels`);
      return ofRun.map((_, index) => Float32Array.from(values.subarray(index * size, (index + 1) * size)));
    });
  }
}
