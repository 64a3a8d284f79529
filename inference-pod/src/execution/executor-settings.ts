import type { StartupFailure } from '../../../contract/src/startup-failure.ts';
import type { Signature } from '../protocol/datatypes.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { Task } from '../tasks/task.ts';
import type { InferenceLimits } from './inference.ts';

/**
 * What an executor is started with, as JSON in its first message: onnxruntime reads its process's command line, and crashes of a long
 * one.
 */
export interface ExecutorSettings {
  readonly path: string;
  readonly threads: number;
  readonly model: ModelIdentity;
  readonly limits: InferenceLimits;
  /** Rows of one run at most, of calls that are sent together. */
  readonly mostRows: number;
  /** Of operators that are not ONNX's own; none where absent. */
  readonly operatorDomains?: readonly string[] | undefined;
  /** What the model is used for beside its tensors; undefined for nothing. */
  readonly task?: TaskSettings | undefined;
}

export interface TaskSettings {
  readonly task: Task;
  /** Where the files are that it needs beside the model. */
  readonly folder: string;
}

/** The code of an answer that is no refusal. */
export const answered = 200;

export type OpenedModel =
  | {
      readonly kind: 'opened';
      readonly signature: Signature;
      readonly omittedOutputs: readonly string[];
      /** What the process holds in memory now. */
      readonly memoryBytes: number;
      readonly warmUpRefused?: string;
      /** How many times as many rows a second it computes together; absent where it was not measured, or cannot be. */
      readonly batchGain?: number;
    }
  | { readonly kind: 'failed'; readonly failure: StartupFailure };
