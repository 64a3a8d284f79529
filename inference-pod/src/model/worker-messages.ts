import type { StartupFailure } from '../../../contract/src/startup-failure.ts';
import type { Signature } from '../protocol/datatypes.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';

/** What the worker thread is started with. */
export interface WorkerSettings {
  readonly path: string;
  readonly threads: number;
  readonly model: ModelIdentity;
}

/** To the worker: one inference request; its body is transferred. */
export interface InferenceJob {
  readonly job: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** From the worker. */
export type WorkerMessage =
  | {
      readonly kind: 'opened';
      readonly signature: Signature;
      readonly omittedOutputs: readonly string[];
      readonly warmUpRefused?: string;
    }
  | { readonly kind: 'failed'; readonly failure: StartupFailure }
  | { readonly kind: 'answer'; readonly job: number; readonly answer: InferenceAnswer };

/** An HTTP answer, made whole in the worker; `seconds` is the time that the model itself took. */
export interface InferenceAnswer {
  readonly status: number;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly seconds: number | undefined;
}
