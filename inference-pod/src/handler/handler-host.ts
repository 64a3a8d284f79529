import type { Socket } from 'node:net';
import { relative } from 'node:path';
import type { Logger } from 'pino';
import { FrameParser, type Message, writeHead } from '../execution/frames.ts';
import type { WorkerProcess } from '../execution/worker-process.ts';
import { messageOf } from '../model/error-message.ts';
import { HandlerOutput } from './handler-output.ts';
import { type HandlerProcessSettings, handlerName } from './handler-settings.ts';
import { startHandlerProcess } from './handler-worker.ts';

export interface HandlerHostOptions {
  /** Where models are: no handler is taken from elsewhere. */
  readonly folder: string;
  readonly log: Logger;
  /** Ends all processes. */
  readonly signal: AbortSignal;
}

/** Starts the process that a connection asks for in its first message, and passes messages on, both ways. */
export function serveHandlers(socket: Socket, { folder, log, signal }: HandlerHostOptions): void {
  const gone = new AbortController();
  let worker: Promise<WorkerProcess> | undefined;
  const begin = async (first: Message) => {
    const settings: HandlerProcessSettings = JSON.parse(first.body.toString());
    if (!isWithin(folder, settings.path)) throw new Error(`${settings.path} is no ${handlerName} of a model`);
    const output = new HandlerOutput(log, () => performance.now());
    const process = await startHandlerProcess(settings, output, AbortSignal.any([signal, gone.signal]));
    process.onMessage = (message) => pass(message, socket);
    void process.ended.then((end) => {
      if (!gone.signal.aborted) log.error({ ...end }, `the process of ${handlerName} ended`);
      socket.destroy();
    });
    return process;
  };
  const end = (error: unknown) => {
    log.error({ reason: messageOf(error) }, `${handlerName} cannot be run`);
    socket.destroy();
  };
  const parser = new FrameParser((message) => {
    if (worker === undefined) {
      worker = begin(message);
      worker.catch(end);
    } else worker.then((process) => pass(message, process.socket)).catch(end);
  });
  socket.on('data', (chunk: Buffer) => parser.push(chunk));
  socket.on('error', () => undefined);
  socket.once('close', () => gone.abort());
}

function pass({ frame, body }: Message, to: Pick<Socket, 'write'>): void {
  to.write(writeHead(frame));
  to.write(body);
}

function isWithin(folder: string, path: string): boolean {
  const steps = relative(folder, path).split('/');
  return steps[0] !== '..' && steps[0] !== '' && steps.at(-1) === handlerName;
}
