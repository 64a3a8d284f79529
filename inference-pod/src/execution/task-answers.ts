import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelSession } from '../model/session.ts';
import { StartupError } from '../model/startup-error.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { TaskCall } from '../protocol/wires.ts';
import { type Answering, Progress, refuseLarger, type TaskTools } from '../tasks/answering.ts';
import { UnusableModel } from '../tasks/model-outputs.ts';
import type { Task } from '../tasks/task.ts';
import { failure, type InferenceAnswer, type InferenceLimits } from './inference.ts';

/** A request in the form of a task, and how long somebody waits for its answer. */
export interface TimedTaskCall extends TaskCall {
  readonly leftMilliseconds: number;
}

/** Answers requests in the form of a task. */
export interface TaskAnswers {
  /**
   * Never rejects.
   *
   * @param onAnswer called with the place of each call and its answer, as soon as there is one
   */
  answer(calls: readonly TimedTaskCall[], onAnswer: (place: number, answer: InferenceAnswer) => void): Promise<void>;
}

/** Bodies of texts that are run together have at most so many bytes in all: who asks little does not wait for who asks much. */
const mostBytesTogether = 65_536;

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
  const mostBytes = isOfTexts(task) ? mostBytesTogether : 0;
  const answerOne = async ({ wire, body, progress }: BegunCall): Promise<InferenceAnswer> => {
    try {
      const text = await answering(body, progress, wire);
      refuseLarger(Buffer.byteLength(text), mostAnswerBytes);
      return { kind: 'answered', body: text, headerLength: undefined, seconds: progress.seconds };
    } catch (error) {
      return failure(error);
    }
  };
  return {
    async answer(calls, onAnswer) {
      // Their time runs while others have their turn.
      const begun = calls.map((call) => ({ ...call, progress: new Progress(call.leftMilliseconds) }));
      for (const group of groupsOf(begun, mostBytes))
        await Promise.all(group.map(async ([place, call]) => onAnswer(place, await answerOne(call))));
    },
  };
}

interface BegunCall extends TaskCall {
  readonly progress: Progress;
}

/** Calls with their places, in their order. */
function groupsOf(calls: readonly BegunCall[], mostBytes: number): readonly [number, BegunCall][][] {
  const groups: [number, BegunCall][][] = [];
  let room = 0;
  for (const [place, call] of calls.entries()) {
    const group = groups.at(-1);
    if (group === undefined || call.body.length > room) {
      groups.push([[place, call]]);
      room = mostBytes;
    } else group.push([place, call]);
    room -= call.body.length;
  }
  return groups;
}

function isOfTexts({ kind }: Task): boolean {
  return kind !== 'ImageClassification' && kind !== 'ObjectDetection';
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
