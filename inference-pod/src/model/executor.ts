import { Worker } from 'node:worker_threads';
import type { Signature } from '../protocol/datatypes.ts';
import { StartupError } from './startup-error.ts';
import type { InferenceAnswer, InferenceJob, WorkerMessage, WorkerSettings } from './worker-messages.ts';

/** Runs inferences on a thread of its own. */
export interface Executor {
  readonly signature: Signature;
  readonly omittedOutputs: readonly string[];
  /** Why the model refused the warm-up on zeros, if it did. */
  readonly warmUpRefused: string | undefined;
  /**
   * Answers one request, in the order of arrival; the body's buffer is transferred and cannot be used afterwards.
   *
   * @param isAbandoned asked when the request's turn comes: one whose client has gone is not computed
   * @returns undefined for a request that was abandoned
   */
  infer(body: Uint8Array<ArrayBuffer>, isAbandoned: () => boolean): Promise<InferenceAnswer | undefined>;
}

interface Waiting {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly isAbandoned: () => boolean;
  readonly resolve: (answer: InferenceAnswer | undefined) => void;
}

/** Enough that the thread never waits for the next job; the rest wait here, where they can be dropped. */
const jobsAhead = 2;

/**
 * Starts the worker thread and waits until its model is loaded and warm.
 *
 * The thread is never terminated: `Worker.terminate` during `session.run` aborts the whole process. It ends with it.
 *
 * @param onCrash called once if the thread ends by itself; nothing can be answered afterwards
 * @throws StartupError ModelInvalid
 */
export function startExecutor(settings: WorkerSettings, onCrash: (error: Error) => void): Promise<Executor> {
  // From source this file is executor.ts beside worker.ts; built, executor.js beside worker.js.
  const worker = new Worker(new URL(import.meta.url.replace(/executor\.(ts|js)$/, 'worker.$1')), {
    workerData: settings,
  });
  const computing = new Map<number, (answer: InferenceAnswer) => void>();
  const queue: Waiting[] = [];
  let lastJob = 0;

  const feed = () => {
    while (computing.size < jobsAhead) {
      const next = queue.shift();
      if (next === undefined) return;
      if (next.isAbandoned()) {
        next.resolve(undefined);
        continue;
      }
      const job = ++lastJob;
      computing.set(job, next.resolve);
      worker.postMessage({ job, body: next.body } satisfies InferenceJob, [next.body.buffer]);
    }
  };
  const infer: Executor['infer'] = (body, isAbandoned) =>
    new Promise((resolve) => {
      queue.push({ body, isAbandoned, resolve });
      feed();
    });

  return new Promise((resolve, reject) => {
    let opened = false;
    const crashed = (error: Error) => (opened ? onCrash(error) : reject(error));
    worker.once('error', (error) => crashed(error instanceof Error ? error : new Error(String(error))));
    worker.once('exit', (code) => crashed(new Error(`the model's thread ended by itself with code ${code}`)));
    worker.on('message', (message: WorkerMessage) => {
      switch (message.kind) {
        case 'opened': {
          opened = true;
          const { signature, omittedOutputs, warmUpRefused } = message;
          return resolve({ signature, omittedOutputs, warmUpRefused, infer });
        }
        case 'failed':
          return reject(new StartupError(message.failure.reason, message.failure.message));
        case 'answer': {
          computing.get(message.job)?.(message.answer);
          computing.delete(message.job);
          return feed();
        }
      }
    });
  });
}
