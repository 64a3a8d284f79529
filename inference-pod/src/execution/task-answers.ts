import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelSession } from '../model/session.ts';
import { StartupError } from '../model/startup-error.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { TaskWire } from '../protocol/wires.ts';
import { type Answering, Progress, refuseLarger, type TaskTools } from '../tasks/answering.ts';
import { UnusableModel } from '../tasks/model-outputs.ts';
import type { Task } from '../tasks/task.ts';
import { failure, type InferenceAnswer, type InferenceLimits } from './inference.ts';

/** Answers requests in the form of a task. */
export interface TaskAnswers {
  /**
   * Never rejects.
   *
   * @param leftMilliseconds until nobody waits for the answer any more
   */
  answer(wire: TaskWire, body: Buffer, leftMilliseconds: number): Promise<InferenceAnswer>;
}

/**
 * Makes a model one that takes what its task says. What that needs is loaded with it.
 *
 * @param folder where the files are that it needs beside the model
 * @throws StartupError ModelInvalid, when one of these cannot be used or the model is none for the task
 */
export async function openTask(
  session: ModelSession,
  task: Exclude<Task, { readonly kind: 'Tabular' }>,
  folder: string,
  { name }: ModelIdentity,
  { mostAnswerBytes }: InferenceLimits,
): Promise<TaskAnswers> {
  const answering = await opened({ session, name, mostAnswerBytes }, task, folder);
  return {
    async answer(wire, body, leftMilliseconds) {
      const progress = new Progress(leftMilliseconds);
      try {
        const text = await answering(body, progress, wire);
        refuseLarger(Buffer.byteLength(text), mostAnswerBytes);
        return { kind: 'answered', body: text, headerLength: undefined, seconds: progress.seconds };
      } catch (error) {
        return failure(error);
      }
    },
  };
}

async function opened(tools: TaskTools, task: Parameters<typeof openTask>[1], folder: string): Promise<Answering> {
  const read = (file: string) => readFileSync(join(folder, file), 'utf8');
  try {
    switch (task.kind) {
      case 'ImageClassification':
        return (await import('../tasks/image-classification.ts')).imageClassification(tools, task, read);
      case 'ObjectDetection':
        return (await import('../tasks/object-detection.ts')).objectDetection(tools, task, read);
      default:
        return (await import('../tasks/text-task.ts')).textTask(tools, task, read);
    }
  } catch (error) {
    if (error instanceof UnusableModel) throw new StartupError('ModelInvalid', error.message, { cause: error });
    throw error;
  }
}
