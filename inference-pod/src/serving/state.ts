import type { ModelReport } from '../../../contract/src/model-report.ts';
import type { Executor } from '../model/executor.ts';

/** What the pod can do now. It starts loading, serves once the model is warm, and drains when it is told to end. */
export type ServingState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'serving'; readonly executor: Executor; readonly report: ModelReport }
  | { readonly kind: 'draining'; readonly executor: Executor | undefined; readonly report: ModelReport | undefined };
