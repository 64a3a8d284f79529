import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex, PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { StartupError } from '../model/startup-error.ts';
import type { Signature } from '../protocol/datatypes.ts';
import { type Call, everyWire } from '../protocol/wires.ts';
import { answered, type ExecutorSettings, executorChannel, type OpenedModel, openedJob } from './executor-settings.ts';
import { FrameParser, type Message, writeHead } from './frames.ts';
import { leaveBehind } from './garbage.ts';
import type { InferenceAnswer } from './inference.ts';

/** What is known of a model once it is loaded. */
export interface LoadedModel {
  readonly signature: Signature;
  readonly omittedOutputs: readonly string[];
  /** Why the model refused the warm-up on zeros, if it did. */
  readonly warmUpRefused: string | undefined;
  /** What the process that loaded it held in memory then. */
  readonly memoryBytes: number;
  /** How many times as many rows a second it computes together; undefined where that was not measured, or cannot be. */
  readonly batchGain: number | undefined;
}

/** How an executor's process ended that was not told to. */
export interface ExecutorEnd {
  /** The signal or the exit code. */
  readonly how: string;
  /** The last that it wrote to its standard error. */
  readonly lastWords: string;
}

/** An answer, and for how long it has kept the executor busy, in seconds. */
export type ExecutorAnswer = InferenceAnswer & { readonly busySeconds: number };

interface Job {
  readonly number: number;
  readonly resolve: (answer: ExecutorAnswer | ExecutorEnd) => void;
}

const lastJobNumber = 0xffff_fffe;

/** Numbers of jobs have 32 bits; then they begin again, long after those of the first are done. */
export function jobAfter(job: number): number {
  return (job % lastJobNumber) + 1;
}

/** The last words of a process are kept up to this length. */
const lastWordsLength = 2000;

export interface TimedCall {
  readonly call: Call;
  /** Until nobody waits for the answer any more. */
  readonly leftMilliseconds: number;
}

/** A process that runs one model, seen from the serving process. */
export class Executor {
  readonly model: LoadedModel;
  readonly #process: ExecutorProcess;
  /** Not a Map: see `UnderWay`. There are as many as one batch has, and one more. */
  readonly #jobs: Job[] = [];
  #lastJob = openedJob;
  #lastProgress = performance.now();

  private constructor(process: ExecutorProcess, model: LoadedModel) {
    this.#process = process;
    this.model = model;
    process.onMessage = (message) => this.#answered(message);
    void process.ended.then((end) => this.#ended(end));
  }

  /**
   * Starts a process and waits until its model is loaded and warm.
   *
   * @param signal ends the process at once, whatever it does
   * @param limit ends it as long as its model is not loaded, and no longer
   * @throws StartupError ModelInvalid; the reason of the signal or of the limit
   */
  static async start(settings: ExecutorSettings, signal: AbortSignal, limit?: AbortSignal): Promise<Executor> {
    const process = new ExecutorProcess(settings, signal);
    const opened = new Promise<OpenedModel>((resolve) => {
      process.onMessage = ({ body }) => resolve(JSON.parse(body.toString()));
    });
    const kill = () => process.child.kill('SIGKILL');
    limit?.addEventListener('abort', kill);
    const first = await Promise.race([opened, process.ended]);
    limit?.removeEventListener('abort', kill);
    signal.throwIfAborted();
    limit?.throwIfAborted();
    if ('how' in first) {
      throw new StartupError(
        'ModelInvalid',
        `the process that loads the model ended by itself (${describeEnd(first)})`,
      );
    }
    if (first.kind === 'failed') throw new StartupError(first.failure.reason, first.failure.message);
    const { signature, omittedOutputs, warmUpRefused, memoryBytes, batchGain } = first;
    return new Executor(process, { signature, omittedOutputs, warmUpRefused, memoryBytes, batchGain });
  }

  /** Resolves once the process is gone, which it is only if it crashed or was killed. */
  get ended(): Promise<ExecutorEnd> {
    return this.#process.ended;
  }

  get running(): number {
    return this.#jobs.length;
  }

  /** For how long nothing was answered, in milliseconds, while something should have been. */
  get silence(): number {
    return this.#jobs.length === 0 ? 0 : performance.now() - this.#lastProgress;
  }

  /** Sends calls that may be answered together. Each promise resolves with the answer, or with the end of the process. */
  run(calls: readonly TimedCall[]): readonly Promise<ExecutorAnswer | ExecutorEnd>[] {
    if (this.#jobs.length === 0) this.#lastProgress = performance.now();
    this.#process.socket.cork();
    const answers = calls.map(({ call: { wire, body, headerLength }, leftMilliseconds }, index) => {
      const job = jobAfter(this.#lastJob);
      this.#lastJob = job;
      const following = calls.length - 1 - index;
      const head = {
        job,
        code: everyWire.indexOf(wire),
        following,
        headerLength,
        seconds: undefined,
        busySeconds: 0,
        leftMilliseconds,
        bodyLength: body.length,
      };
      this.#process.socket.write(writeHead(head));
      this.#process.socket.write(body);
      return new Promise<ExecutorAnswer | ExecutorEnd>((resolve) => this.#jobs.push({ number: job, resolve }));
    });
    this.#process.socket.uncork();
    return answers;
  }

  /** Ends the process at once; a run in native code cannot be ended otherwise. */
  kill(): void {
    this.#process.child.kill('SIGKILL');
  }

  #answered({ frame: { job, code, headerLength, seconds, busySeconds }, body }: Message): void {
    this.#lastProgress = performance.now();
    const place = this.#jobs.findIndex(({ number }) => number === job);
    const [answering] = place === -1 ? [] : this.#jobs.splice(place, 1);
    answering?.resolve(
      code === answered
        ? { kind: 'answered', body: [body], headerLength, seconds, busySeconds }
        : { kind: 'refused', status: code, message: body.toString(), seconds, busySeconds },
    );
  }

  #ended(end: ExecutorEnd): void {
    for (const { resolve } of this.#jobs.splice(0)) resolve(end);
  }
}

export function describeEnd({ how, lastWords }: ExecutorEnd): string {
  return lastWords === '' ? how : `${how}; its last words: ${lastWords}`;
}

/** What of the environment an executor is given: where things are, and what the libraries that it uses are told. */
const passedOn = /^(PATH|HOME|LANG|LC_.*|LOCPATH|TZ|TMPDIR|LD_LIBRARY_PATH|NODE_.*|ORT_.*|OMP_.*)$/;

/** Of the message that has the settings. */
const settingsHead = {
  job: openedJob,
  code: 0,
  following: 0,
  headerLength: undefined,
  seconds: undefined,
  busySeconds: 0,
  leftMilliseconds: 0,
};

class ExecutorProcess {
  readonly child: ChildProcess;
  readonly socket: Duplex;
  readonly ended: Promise<ExecutorEnd>;
  onMessage: (message: Message) => void = () => undefined;

  constructor(settings: ExecutorSettings, signal: AbortSignal) {
    // From source this file is executor.ts beside executor-process.ts; built, .js beside .js.
    const main = fileURLToPath(new URL(import.meta.url.replace(/executor\.(ts|js)$/, 'executor-process.$1')));
    this.child = spawn(process.execPath, [...process.execArgv, main], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      // It reads a file that others have made, and needs nothing that is secret.
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => passedOn.test(name))),
      // What the terminal sends to this process is not for that one: it answers until it is told to end.
      detached: true,
    });
    const failed = new Promise<ExecutorEnd>((resolve) => {
      this.child.once('error', (error) => resolve({ how: error.message, lastWords }));
    });
    // Where no process could be made there is no socket; that is told by its end.
    const socket = this.child.stdio?.[executorChannel];
    this.socket = socket instanceof Duplex ? socket : new PassThrough();
    let lastWords = '';
    const parser = new FrameParser((message) => this.onMessage(message));
    if (socket instanceof Duplex) {
      socket.on('data', (chunk: Buffer) => {
        parser.push(chunk);
        // And the body that it was copied into.
        leaveBehind(2 * chunk.length);
      });
    }
    // That the process is gone is told by its end.
    this.socket.on('error', () => undefined);
    const body = Buffer.from(JSON.stringify(settings));
    this.socket.write(writeHead({ ...settingsHead, bodyLength: body.length }));
    this.socket.write(body);
    this.child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = (lastWords + chunk.toString()).slice(-lastWordsLength);
    });
    const kill = () => this.child.kill('SIGKILL');
    signal.addEventListener('abort', kill);
    const closed = new Promise<ExecutorEnd>((resolve) => {
      this.child.once('close', (code, name) => {
        signal.removeEventListener('abort', kill);
        resolve({ how: name ?? `exit code ${code}`, lastWords: lastWords.trim() });
      });
    });
    this.ended = Promise.race([failed, closed]);
  }
}
