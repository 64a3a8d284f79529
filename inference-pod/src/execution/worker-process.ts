import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex, PassThrough, type Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { FrameParser, FrameTooLarge, type Message, openingMessage, workerChannel } from './frames.ts';
import { leaveBehind } from './garbage.ts';

/** How a process ended that was not told to. */
export interface ProcessEnd {
  /** The signal or the exit code. */
  readonly how: string;
  /** The last that it wrote to its standard error. */
  readonly lastWords: string;
}

export function describeEnd({ how, lastWords }: ProcessEnd): string {
  return lastWords === '' ? how : `${how}; its last words: ${lastWords}`;
}

export interface WorkerOptions {
  /** The module that it runs. */
  readonly main: URL;
  /** Its first message, as JSON. */
  readonly settings: object;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For Node itself, beside what this process was started with. */
  readonly nodeOptions?: readonly string[];
  /** It is killed when it says more at once. */
  readonly mostMessageBytes?: number;
  /** Told what it writes to its standard output and error; what it writes to its output is thrown away otherwise. */
  readonly onOutput?: (text: string) => void;
}

/** The last words of a process are kept up to this length. */
const lastWordsLength = 2000;

/** A process of this program's own that is told what to do in frames over a socket, and answers in them. */
export class WorkerProcess {
  readonly child: ChildProcess;
  readonly socket: Duplex;
  readonly ended: Promise<ProcessEnd>;
  onMessage: (message: Message) => void = () => undefined;
  #lastWords = '';

  constructor(options: WorkerOptions, signal: AbortSignal) {
    const { main, settings, env, nodeOptions = [], onOutput } = options;
    this.child = spawn(process.execPath, [...process.execArgv, ...nodeOptions, fileURLToPath(main)], {
      stdio: ['ignore', onOutput === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env,
      // What the terminal sends to this process is not for that one: it answers until it is told to end.
      detached: true,
    });
    const failed = new Promise<ProcessEnd>((resolve) => {
      this.child.once('error', (error) => resolve({ how: error.message, lastWords: this.#lastWords }));
    });
    // Where no process could be made there is no socket; that is told by its end.
    const socket = this.child.stdio?.[workerChannel];
    this.socket = socket instanceof Duplex ? socket : new PassThrough();
    if (socket instanceof Duplex) this.#listen(socket, options);
    // That the process is gone is told by its end.
    this.socket.on('error', () => undefined);
    this.socket.write(openingMessage(settings));
    this.#heed(this.child.stdout, onOutput);
    this.#heed(this.child.stderr, (text) => {
      this.#lastWords = (this.#lastWords + text).slice(-lastWordsLength);
      onOutput?.(text);
    });
    const kill = () => this.kill();
    signal.addEventListener('abort', kill);
    const closed = new Promise<ProcessEnd>((resolve) => {
      this.child.once('close', (code, name) => {
        signal.removeEventListener('abort', kill);
        resolve({ how: name ?? `exit code ${code}`, lastWords: this.#lastWords.trim() });
      });
    });
    this.ended = Promise.race([failed, closed]);
  }

  /** Ends the process at once; a run in native code cannot be ended otherwise. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  #listen(socket: Duplex, { mostMessageBytes }: WorkerOptions): void {
    const parser = new FrameParser((message) => this.onMessage(message), mostMessageBytes);
    socket.on('data', (chunk: Buffer) => {
      try {
        parser.push(chunk);
      } catch (error) {
        if (!(error instanceof FrameTooLarge)) throw error;
        this.#lastWords = error.message;
        socket.pause();
        this.kill();
      }
      // And the body that it was copied into.
      leaveBehind(2 * chunk.length);
    });
  }

  #heed(stream: Readable | null, onText: ((text: string) => void) | undefined): void {
    stream?.on('data', (chunk: Buffer) => onText?.(chunk.toString()));
  }
}
