import { writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Message } from '../execution/frames.ts';
import { type ProcessEnd, WorkerProcess } from '../execution/worker-process.ts';
import type { HandlerOutput } from './handler-output.ts';
import type { HandlerProcessSettings } from './handler-settings.ts';

/** A process that runs a handler, in this container or in the one beside it. */
export interface HandlerWorker {
  readonly socket: Duplex;
  readonly ended: Promise<ProcessEnd>;
  onMessage: (message: Message) => void;
  /** Ends it at once. */
  kill(): void;
}

/** Of a message, beside the tensors or the answer that it has. */
const mostHeadBytes = 65_536;
/** From source this file is a .ts beside handler-process.ts; built, .js beside .js. */
const main = new URL(import.meta.url.replace(/handler-worker\.(ts|js)$/, 'handler-process.$1'));
/** Where the program's own modules are. */
const program = ['../..', '../../../contract', '../../../package.json'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);

/** What a process may say at once. */
export function mostMessageBytes({ mostTensorBytes, mostAnswerBytes }: HandlerProcessSettings): number {
  return mostHeadBytes + Math.max(mostTensorBytes, mostAnswerBytes);
}

/** Starts the process of a handler in this container: without an environment, and with Node's permission model. */
export async function startHandlerProcess(
  settings: HandlerProcessSettings,
  output: HandlerOutput,
  signal: AbortSignal,
): Promise<WorkerProcess> {
  const worker = new WorkerProcess(
    {
      main,
      settings,
      env: {},
      nodeOptions: [
        '--permission',
        '--no-experimental-sqlite',
        ...[...program, `${dirname(settings.path)}/`].map((path) => `--allow-fs-read=${path}`),
      ],
      mostMessageBytes: mostMessageBytes(settings),
      onOutput: (text) => output.write(text),
    },
    signal,
  );
  // Where memory runs out, it goes before what serves.
  const { pid } = worker.child;
  if (pid !== undefined) await writeFile(`/proc/${pid}/oom_score_adj`, '1000').catch(() => undefined);
  return worker;
}
