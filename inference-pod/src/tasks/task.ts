import type { Column } from '../protocol/tables.ts';

/** How the vectors of the tokens become one of the text. */
export const poolings = ['Mean', 'FirstToken', 'LastToken'] as const;
export type Pooling = (typeof poolings)[number];

/** What is made of the numbers that a model gives for its labels, or for how well two texts fit. */
export const scorings = ['Softmax', 'Sigmoid', 'Logits'] as const;
export type Scoring = (typeof scorings)[number];

/** How labels of tokens become those of what they name, as `transformers` calls it. */
export const aggregations = ['Simple', 'First'] as const;
export type Aggregation = (typeof aggregations)[number];

/** What a model is used for beside its tensors. */
export type Task = TextTask | ImageClassificationTask | ObjectDetectionTask | TabularTask;

export type TextTask = TextEmbeddingTask | TextClassificationTask | TokenClassificationTask | ZeroShotTask | RerankTask;

export const taskKinds = [
  'TextEmbedding',
  'TextClassification',
  'TokenClassification',
  'ZeroShot',
  'Rerank',
  'ImageClassification',
  'ObjectDetection',
  'Tabular',
] as const satisfies readonly Task['kind'][];

interface TokenLimit {
  /** Tokens of a text, or of two together, at most, with the special ones; the tokenizer's own limit where undefined. */
  readonly maxTokens: number | undefined;
}

export interface TextEmbeddingTask extends TokenLimit {
  readonly kind: 'TextEmbedding';
  readonly pooling: Pooling;
  /** Whether vectors are made 1 long. */
  readonly isNormalized: boolean;
}

/** Texts to the labels of the model. */
export interface TextClassificationTask extends TokenLimit {
  readonly kind: 'TextClassification';
  /** Undefined: as the model's configuration says. */
  readonly scoring: Scoring | undefined;
}

/** Texts to what they name, and where, by a model that gives labels to tokens. */
export interface TokenClassificationTask extends TokenLimit {
  readonly kind: 'TokenClassification';
  readonly aggregation: Aggregation;
}

/** Texts to labels that the request names, by a model that tells whether one text follows from another. */
export interface ZeroShotTask extends TokenLimit {
  readonly kind: 'ZeroShot';
  /** What is asked about a label, with `{}` for it. */
  readonly hypothesis: string;
}

/** How well each of several texts answers another. */
export interface RerankTask extends TokenLimit {
  readonly kind: 'Rerank';
  readonly scoring: Exclude<Scoring, 'Softmax'>;
}

/** Pictures to the labels of the model. */
export interface ImageClassificationTask {
  readonly kind: 'ImageClassification';
  /** Undefined: as the model's configuration says. */
  readonly scoring: Scoring | undefined;
  /** Of one picture. */
  readonly mostPixels: number;
}

/** Pictures to what is in them, and where. */
export interface ObjectDetectionTask {
  readonly kind: 'ObjectDetection';
  /** Of one picture. */
  readonly mostPixels: number;
}

/** Rows of named columns. */
export interface TabularTask {
  readonly kind: 'Tabular';
  /** What is said of the columns beside what the model says. */
  readonly columns: readonly Column[] | undefined;
}

/** Of the pipeline of `transformers`. */
export const usualHypothesis = 'This example is {}.';

/** What is said of a task, some of which is of others. */
export interface TaskOptions {
  readonly maxTokens?: number | undefined;
  readonly pooling: Pooling;
  readonly normalization: 'Enabled' | 'Disabled';
  readonly scoring?: Scoring | undefined;
  readonly aggregation: Aggregation;
  readonly hypothesis: string;
  readonly columns?: readonly Column[] | undefined;
  readonly maxPixels: number;
}

/** @throws InvalidTask when an option has a value that the task cannot be done with */
export function taskOf(kind: Task['kind'], options: TaskOptions): Task {
  const { maxTokens, pooling, normalization, scoring, aggregation, hypothesis, columns, maxPixels } = options;
  switch (kind) {
    case 'TextEmbedding':
      return { kind, maxTokens, pooling, isNormalized: normalization === 'Enabled' };
    case 'TextClassification':
      return { kind, maxTokens, scoring };
    case 'TokenClassification':
      return { kind, maxTokens, aggregation };
    case 'ZeroShot':
      if (!hypothesis.includes('{}')) throw new InvalidTask(`the hypothesis '${hypothesis}' has no {} for the label`);
      return { kind, maxTokens, hypothesis };
    case 'Rerank':
      if (scoring === 'Softmax') throw new InvalidTask('scoring Softmax needs several labels: the task Rerank has one');
      return { kind, maxTokens, scoring: scoring ?? 'Sigmoid' };
    case 'ImageClassification':
      return { kind, scoring, mostPixels: maxPixels };
    case 'ObjectDetection':
      return { kind, mostPixels: maxPixels };
    case 'Tabular':
      return { kind, columns };
  }
}

/** A task cannot be done as it is said. */
export class InvalidTask extends Error {
  override readonly name = 'InvalidTask';
}

/** As the hub calls them. */
export const tokenizerName = 'tokenizer.json';
export const configurationName = 'config.json';
export const pictureProcessorName = 'preprocessor_config.json';

/** The files that a task needs beside the model. */
export function companionsOf(task: Task | undefined): readonly string[] {
  switch (task?.kind) {
    case undefined:
    case 'Tabular':
      return [];
    case 'TextEmbedding':
    case 'Rerank':
      return [tokenizerName];
    case 'TextClassification':
    case 'TokenClassification':
    case 'ZeroShot':
      return [tokenizerName, configurationName];
    case 'ImageClassification':
    case 'ObjectDetection':
      return [configurationName, pictureProcessorName];
  }
}
