import type { Answering, TaskTools } from './answering.ts';
import { configurationIn } from './model-configuration.ts';
import { rerank } from './rerank.ts';
import { configurationName, type TextTask, tokenizerName } from './task.ts';
import { textClassification } from './text-classification.ts';
import { textEmbedding } from './text-embedding.ts';
import { TextTokenizer } from './text-tokenizer.ts';
import { tokenClassification } from './token-classification.ts';
import { zeroShot } from './zero-shot.ts';

/**
 * @param read gives a file beside the model
 * @throws InvalidTokenizer, InvalidConfiguration, UnfitModel
 */
export function textTask(tools: TaskTools, task: TextTask, read: (file: string) => string): Answering {
  const ofTexts = { ...tools, tokenizer: new TextTokenizer(read(tokenizerName), task.maxTokens) };
  switch (task.kind) {
    case 'TextEmbedding':
      return textEmbedding(ofTexts, task);
    case 'TextClassification':
      return textClassification(ofTexts, task, configurationIn(read(configurationName)));
    case 'TokenClassification':
      return tokenClassification(ofTexts, task, configurationIn(read(configurationName)));
    case 'ZeroShot':
      return zeroShot(ofTexts, task, configurationIn(read(configurationName)));
    case 'Rerank':
      return rerank(ofTexts, task);
  }
}
