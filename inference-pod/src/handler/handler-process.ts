/**
 * The process that a handler runs in. It is started with Node's permission model: no files but this program's and the model's folder, no
 * network, no other processes, no addons. One call is done after the other, so whatever hangs or crashes it costs that one.
 */

import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { setImmediate as immediate } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { FrameChannel } from '../execution/frame-channel.ts';
import { type Message, openedJob, workerChannel, writeHead } from '../execution/frames.ts';
import { asks, type HandlerProcessSettings, tells } from './handler-settings.ts';
import { HandlerFailed, HandlerWork, type Said } from './handler-work.ts';

const channel = new FrameChannel(workerChannel);

function say(job: number, { code, head, body }: Said): void {
  const header = head === undefined ? undefined : Buffer.from(head);
  const pieces = [...(header === undefined ? [] : [header]), ...body];
  channel.write([
    writeHead({
      job,
      code: tells[code],
      following: 0,
      headerLength: header?.length,
      seconds: undefined,
      busySeconds: 0,
      leftMilliseconds: 0,
      bodyLength: pieces.reduce((sum, { length }) => sum + length, 0),
    }),
    ...pieces,
  ]);
}

/** It could end the process that serves, which has the same user. */
function forbidSignals(): void {
  for (const name of ['kill', '_kill', '_debugProcess', '_debugEnd'])
    Object.defineProperty(process, name, { value: undefined });
  // Of the module itself, also for who imports its names.
  os.setPriority = () => {
    throw new Error('a handler sets no priorities');
  };
  syncBuiltinESMExports();
}

async function done(work: HandlerWork, { frame, body }: Message): Promise<Said | undefined> {
  const { job, code, headerLength } = frame;
  switch (code) {
    case asks.begin:
      return work.begin(job, body, headerLength ?? body.length);
    case asks.resume:
      return work.resume(job, body, headerLength);
    default:
      work.forget(job);
      return undefined;
  }
}

/** A call that waits for what only a later message can bring, such as a run of another request, would wait for ever. */
async function orStuck(work: HandlerWork, message: Message): Promise<Said | undefined> {
  const { promise: stuck, resolve } = Promise.withResolvers<Said>();
  const onStuck = () => {
    work.forget(message.frame.job);
    resolve({ code: 'failed', head: undefined, body: [Buffer.from(stuckMessage)] });
  };
  // Told when nothing is left that could go on.
  process.once('beforeExit', onStuck);
  const said = await Promise.race([done(work, message), stuck]);
  process.off('beforeExit', onStuck);
  return said;
}

const stuckMessage =
  'it waits for what never comes: a run of a model goes on for the request that has asked for it alone';

async function main(): Promise<void> {
  const [first] = channel.readBatch() ?? [];
  if (first === undefined) return;
  const settings: HandlerProcessSettings = JSON.parse(first.body.toString());
  forbidSignals();
  let work: HandlerWork;
  try {
    work = HandlerWork.of(await import(pathToFileURL(settings.path).href), settings);
  } catch (error) {
    const message = error instanceof HandlerFailed ? error.message : inspect(error);
    return say(openedJob, { code: 'failed', head: undefined, body: [Buffer.from(message)] });
  }
  say(openedJob, { code: 'opened', head: undefined, body: [] });
  for (let batch = channel.readBatch(); batch !== undefined; batch = channel.readBatch()) {
    for (const message of batch) {
      const said = await orStuck(work, message);
      // What the call has left behind is dealt with before it is answered: a rejection of nobody's is its own.
      await immediate();
      if (said !== undefined) say(message.frame.job, said);
    }
    channel.release(batch);
  }
}

// Only the serving process ends this one.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']) process.on(signal, () => undefined);

await main();
process.exit(0);
