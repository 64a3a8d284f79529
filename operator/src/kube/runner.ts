import type { WorkQueue } from './queue.ts';

/** What is to happen with a key after a pass over it. */
export interface PassResult {
  readonly requeueAfterMilliseconds?: number;
}

export interface RunnerOptions {
  readonly queue: WorkQueue;
  readonly workers: number;
  readonly work: (key: string) => Promise<PassResult>;
  /** Told of each pass that threw; the key is tried again with a growing delay. */
  readonly onError: (key: string, error: unknown) => void;
}

/** Works on the keys of a queue until it is closed. */
export async function runWorkers({ queue, workers, work, onError }: RunnerOptions): Promise<void> {
  const worker = async () => {
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
      try {
        const { requeueAfterMilliseconds } = await work(key);
        queue.forget(key);
        if (requeueAfterMilliseconds !== undefined) {
          queue.add(key, { afterMilliseconds: requeueAfterMilliseconds, priority: 'low' });
        }
      } catch (error) {
        onError(key, error);
        queue.addFailed(key);
      } finally {
        queue.done(key);
      }
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
}
