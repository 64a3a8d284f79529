/** How the vectors of the tokens become one of the text. */
export const poolings = ['Mean', 'FirstToken', 'LastToken'] as const;
export type Pooling = (typeof poolings)[number];

/** What a model is used for beside its tensors. */
export interface TextEmbeddingTask {
  readonly kind: 'TextEmbedding';
  readonly pooling: Pooling;
  /** Whether vectors are made 1 long. */
  readonly isNormalized: boolean;
  /** Tokens of a text at most, with the special ones; the tokenizer's own limit where undefined. */
  readonly maxTokens: number | undefined;
}
