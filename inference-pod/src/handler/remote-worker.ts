import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FrameParser, FrameTooLarge, type Message, openingMessage } from '../execution/frames.ts';
import type { ProcessEnd } from '../execution/worker-process.ts';
import { messageOf } from '../model/error-message.ts';
import { StartupError } from '../model/startup-error.ts';
import type { HandlerProcessSettings } from './handler-settings.ts';
import { type HandlerWorker, mostMessageBytes } from './handler-worker.ts';

const retryMilliseconds = 100;

/** The process of a handler in the container beside this one, which lives as long as its connection. */
export class RemoteWorker implements HandlerWorker {
  readonly socket: Socket;
  readonly ended: Promise<ProcessEnd>;
  onMessage: (message: Message) => void = () => undefined;
  #lastWords = '';

  private constructor(socket: Socket, settings: HandlerProcessSettings, signal: AbortSignal) {
    this.socket = socket;
    const parser = new FrameParser((message) => this.onMessage(message), mostMessageBytes(settings));
    socket.on('data', (chunk: Buffer) => {
      try {
        parser.push(chunk);
      } catch (error) {
        if (!(error instanceof FrameTooLarge)) throw error;
        this.#lastWords = error.message;
        this.kill();
      }
    });
    // That it is gone is told by its end.
    socket.on('error', () => undefined);
    const kill = () => this.kill();
    signal.addEventListener('abort', kill);
    this.ended = new Promise((resolve) => {
      socket.once('close', () => {
        signal.removeEventListener('abort', kill);
        resolve({ how: 'the log of its container says how', lastWords: this.#lastWords });
      });
    });
    socket.write(openingMessage(settings));
  }

  /**
   * Asks the container for a process. It may be about to start.
   *
   * @param patienceMilliseconds how long it may take to answer
   * @throws StartupError InvalidConfiguration where it takes longer; the signal's reason
   */
  static async connect(
    path: string,
    settings: HandlerProcessSettings,
    signal: AbortSignal,
    patienceMilliseconds: number,
  ): Promise<RemoteWorker> {
    for (
      const end = performance.now() + patienceMilliseconds;
      ;
      await sleep(retryMilliseconds, undefined, { signal })
    ) {
      try {
        return new RemoteWorker(await connected(path), settings, signal);
      } catch (error) {
        if (performance.now() < end) continue;
        throw new StartupError(
          'InvalidConfiguration',
          `the container of the handler does not answer: ${messageOf(error)}; see its log`,
          { cause: error },
        );
      }
    }
  }

  kill(): void {
    this.socket.destroy();
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
