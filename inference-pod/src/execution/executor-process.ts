/**
 * An executor: a process that owns the model and answers one batch of calls after another. `session.run` blocks its
 * thread and native code can hang or crash, so it has a process of its own, which can be killed at any moment.
 */
import { refuseForeignOperators } from '../model/operator-domains.ts';
import { type ModelSession, openSession, warmUp } from '../model/session.ts';
import { StartupError } from '../model/startup-error.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { tableOf, UnfitTable } from '../protocol/tables.ts';
import { everyWire, type InferenceCall, isTaskWire, type TaskCall } from '../protocol/wires.ts';
import type { TabularTask } from '../tasks/task.ts';
import { measureBatchGain } from './batch-gain.ts';
import { inferTogether } from './batching.ts';
import { answered, type ExecutorSettings, type OpenedModel } from './executor-settings.ts';
import { FrameChannel } from './frame-channel.ts';
import { type Message, openedJob, workerChannel, writeHead } from './frames.ts';
import { leaveOldBehind } from './garbage.ts';
import { type InferenceAnswer, type InferenceLimits, infer } from './inference.ts';
import type { TaskAnswers } from './task-answers.ts';

const channel = new FrameChannel(workerChannel);
/** Since the last batch. */
let answeredBytes = 0;

function send(job: number, answer: InferenceAnswer, busySeconds = 0): void {
  const body = answer.kind === 'answered' ? answer.body : answer.message;
  const pieces = typeof body === 'string' ? [Buffer.from(body)] : body;
  const head = {
    job,
    code: answer.kind === 'answered' ? answered : answer.status,
    following: 0,
    headerLength: answer.kind === 'answered' ? answer.headerLength : undefined,
    seconds: answer.seconds,
    busySeconds,
    leftMilliseconds: 0,
    bodyLength: pieces.reduce((sum, { length }) => sum + length, 0),
  };
  channel.write([writeHead(head), ...pieces]);
  answeredBytes += head.bodyLength;
}

const noTask: TaskAnswers = {
  async answer(calls, onAnswer) {
    const message = 'this model takes no such requests';
    for (const place of calls.keys()) onAnswer(place, { kind: 'refused', status: 404, message, seconds: undefined });
  },
};

function tell(opened: OpenedModel): void {
  send(openedJob, { kind: 'answered', body: JSON.stringify(opened), headerLength: undefined, seconds: undefined });
}

/** What a task needs is loaded where there is one. */
async function openedTask(
  session: ModelSession,
  settings: ExecutorSettings['task'],
  model: ModelIdentity,
  limits: InferenceLimits,
): Promise<TaskAnswers> {
  if (settings === undefined) return noTask;
  const { task, folder } = settings;
  if (task.kind !== 'Tabular') {
    const { openTask } = await import('./task-answers.ts');
    return openTask(session, task, folder, model, limits);
  }
  // Rows become tensors, and are answered as these are.
  checkTable(session, task.columns);
  return noTask;
}

function checkTable({ signature }: ModelSession, columns: TabularTask['columns']): void {
  try {
    tableOf(signature, columns);
  } catch (error) {
    if (error instanceof UnfitTable) throw new StartupError('ModelInvalid', error.message, { cause: error });
    throw error;
  }
}

/** Whose the answer is, and how long somebody waits for it. */
interface Addressed {
  readonly job: number;
  readonly leftMilliseconds: number;
}

function callsOf(batch: readonly Message[]) {
  const ofTensors: (InferenceCall & Addressed)[] = [];
  const ofTasks: (TaskCall & Addressed)[] = [];
  for (const { frame, body } of batch) {
    const { job, code, headerLength, leftMilliseconds } = frame;
    const wire = everyWire[code] ?? everyWire[0];
    if (isTaskWire(wire)) ofTasks.push({ wire, body, headerLength, job, leftMilliseconds });
    else ofTensors.push({ wire, body, headerLength, job, leftMilliseconds });
  }
  return { ofTensors, ofTasks };
}

/** @returns undefined when the serving process is gone */
function readSettings(): ExecutorSettings | undefined {
  const [first] = channel.readBatch() ?? [];
  return first === undefined ? undefined : JSON.parse(first.body.toString());
}

async function main(settings: ExecutorSettings): Promise<void> {
  const { path, threads, model, limits, mostRows, task, operatorDomains = [] } = settings;
  await refuseForeignOperators(path, operatorDomains);
  const session = await openSession(path, threads);
  const warmUpRefused = await warmUp(session);
  const tasks = await openedTask(session, task, model, limits);
  const { signature, omittedOutputs } = session;
  const batchGain = mostRows > 1 && warmUpRefused === undefined ? await measureBatchGain(session, mostRows) : undefined;
  const memoryBytes = process.memoryUsage.rss();
  tell({
    kind: 'opened',
    signature,
    omittedOutputs,
    memoryBytes,
    ...(warmUpRefused === undefined ? {} : { warmUpRefused }),
    ...(batchGain === undefined ? {} : { batchGain }),
  });
  for (let batch = channel.readBatch(); batch !== undefined; batch = channel.readBatch()) {
    const { ofTensors, ofTasks } = callsOf(batch);
    let since = performance.now();
    const replyTo = (calls: readonly Addressed[]) => (place: number, answer: InferenceAnswer) => {
      const now = performance.now();
      send(calls[place]?.job ?? openedJob, answer, (now - since) / 1000);
      since = now;
    };
    const [first, ...others] = ofTensors;
    if (others.length > 0) await inferTogether(ofTensors, session, model, limits, mostRows, replyTo(ofTensors));
    else if (first !== undefined) replyTo(ofTensors)(0, await infer(first, session, model, limits));
    await tasks.answer(ofTasks, replyTo(ofTasks));
    channel.release(batch);
    leaveOldBehind(answeredBytes);
    answeredBytes = 0;
  }
}

// Only the serving process ends this one.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']) process.on(signal, () => undefined);

try {
  const settings = readSettings();
  if (settings !== undefined) await main(settings);
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  tell({ kind: 'failed', failure: { reason: error.reason, message: error.message } });
}
process.exit(0);
