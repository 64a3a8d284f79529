import { StartupError } from '../model/startup-error.ts';
import type { Signature } from '../protocol/datatypes.ts';
import { type Call, everyWire } from '../protocol/wires.ts';
import { answered, type ExecutorSettings, type OpenedModel } from './executor-settings.ts';
import { jobAfter, type Message, openedJob, writeHead } from './frames.ts';
import type { InferenceAnswer } from './inference.ts';
import { describeEnd, type ProcessEnd, WorkerProcess } from './worker-process.ts';

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

/** An answer, and for how long it has kept the executor busy, in seconds. */
export type ExecutorAnswer = InferenceAnswer & { readonly busySeconds: number };

interface Job {
  readonly number: number;
  readonly resolve: (answer: ExecutorAnswer | ProcessEnd) => void;
}

export interface TimedCall {
  readonly call: Call;
  /** Until nobody waits for the answer any more. */
  readonly leftMilliseconds: number;
}

/** From source this file is executor.ts beside executor-process.ts; built, .js beside .js. */
const executorMain = new URL(import.meta.url.replace(/executor\.(ts|js)$/, 'executor-process.$1'));

/** What of the environment an executor is given: where things are, and what the libraries that it uses are told. */
const passedOn = /^(PATH|HOME|LANG|LC_.*|LOCPATH|TZ|TMPDIR|LD_LIBRARY_PATH|NODE_.*|ORT_.*|OMP_.*)$/;

/** It reads a file that others have made, and needs nothing that is secret. */
function environment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => passedOn.test(name)));
}

/** A process that runs one model, seen from the serving process. */
export class Executor {
  readonly model: LoadedModel;
  readonly #process: WorkerProcess;
  /** Not a Map: see `UnderWay`. There are as many as one batch has, and one more. */
  readonly #jobs: Job[] = [];
  #lastJob = openedJob;
  #lastProgress = performance.now();

  private constructor(process: WorkerProcess, model: LoadedModel) {
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
    const process = new WorkerProcess({ main: executorMain, settings, env: environment() }, signal);
    const opened = new Promise<OpenedModel>((resolve) => {
      process.onMessage = ({ body }) => resolve(JSON.parse(body.toString()));
    });
    const kill = () => process.kill();
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
  get ended(): Promise<ProcessEnd> {
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
  run(calls: readonly TimedCall[]): readonly Promise<ExecutorAnswer | ProcessEnd>[] {
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
      return new Promise<ExecutorAnswer | ProcessEnd>((resolve) => this.#jobs.push({ number: job, resolve }));
    });
    this.#process.socket.uncork();
    return answers;
  }

  /** Ends the process at once; a run in native code cannot be ended otherwise. */
  kill(): void {
    this.#process.kill();
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

  #ended(end: ProcessEnd): void {
    for (const { resolve } of this.#jobs.splice(0)) resolve(end);
  }
}
