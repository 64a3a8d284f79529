import type { Logger } from 'pino';
import { RequestError } from '../protocol/request-error.ts';
import { type BatchingSettings, isBatchable } from './batching.ts';
import type { Deadline } from './deadline.ts';
import { describeEnd, Executor, type ExecutorEnd, type LoadedModel } from './executor.ts';
import type { ExecutorSettings } from './executor-settings.ts';
import { failure, type InferenceAnswer, type InferenceCall } from './inference.ts';
import type { ServingThread } from './serving-thread.ts';

export interface SchedulerOptions {
  readonly settings: ExecutorSettings;
  /** Runs what is proven to be cheap; undefined for a model of which nothing is. */
  readonly servingThread: ServingThread | undefined;
  /** Undefined: each call is run by itself. */
  readonly batching: BatchingSettings | undefined;
  /** How many executors. */
  readonly instances: number;
  /** How many calls may wait or be computed at once. */
  readonly maxInFlight: number;
  /** The longest deadline that a request can have; an executor that is silent for longer than twice that is killed. */
  readonly requestTimeoutMilliseconds: number;
  readonly log: Logger;
  /** Ends every executor at once. */
  readonly signal: AbortSignal;
  /** Executors end again and again: the pod can do no more than to begin anew. */
  readonly onHopeless: (reason: string) => void;
}

/** A call that waits or is computed. */
interface Job {
  readonly call: InferenceCall;
  /** What the run is measured for. */
  readonly shapes: string | undefined;
  readonly deadline: Deadline;
  /** On the clock of `performance.now`. */
  readonly arrival: number;
  readonly isAbandoned: () => boolean;
  /** Undefined once it has an answer, or nobody waits for one. */
  settle: ((answer: InferenceAnswer | undefined) => void) | undefined;
}

/** Enough that an executor never waits for the next call; the rest wait here, where they can be dropped. */
const callsAhead = 2;

/** As many ends within this time are not bad luck any more. */
const mostEnds = 5;
const endsWithinMilliseconds = 300_000;
const firstRestartMilliseconds = 100;
const lastRestartMilliseconds = 10_000;
const watchMilliseconds = 500;

/** How quickly the measured time of a call follows what is seen. */
const smoothing = 0.1;

/** Gives calls to executors in the order of their arrival, as long as somebody waits for the answer. */
export class Scheduler {
  readonly model: LoadedModel;
  readonly #options: SchedulerOptions;
  readonly #executors = new Set<Executor>();
  readonly #queue: Job[] = [];
  readonly #ends: number[] = [];
  #inFlight = 0;
  #restarts = 0;
  /** Milliseconds from one answer to the next while an executor is busy. */
  #pace: number | undefined;
  #idle: (() => void)[] = [];
  readonly #batching: BatchingSettings | undefined;
  #flush: NodeJS.Timeout | undefined;

  private constructor(options: SchedulerOptions, executors: readonly Executor[], model: LoadedModel) {
    this.#options = options;
    this.model = model;
    this.#batching = isBatchable(model.signature) ? options.batching : undefined;
    for (const executor of executors) this.#adopt(executor);
    const watch = setInterval(() => this.#killHung(), watchMilliseconds).unref();
    options.signal.addEventListener('abort', () => clearInterval(watch));
  }

  /**
   * Starts the executors, and waits until each has loaded its model.
   *
   * @throws StartupError ModelInvalid; the signal's reason
   */
  static async start(options: SchedulerOptions): Promise<Scheduler> {
    const start = () => Executor.start(options.settings, options.signal);
    // The first says whether the model can be loaded at all.
    const first = await start();
    const others = await Promise.all(Array.from({ length: options.instances - 1 }, start));
    return new Scheduler(options, [first, ...others], first.model);
  }

  /** Calls that wait or are computed. */
  get inFlight(): number {
    return this.#inFlight + (this.#options.servingThread?.running ?? 0);
  }

  /** How often an executor was started anew. */
  get restarts(): number {
    return this.#restarts;
  }

  /** How many inferences the serving thread has made itself. */
  get servingThreadRuns(): number {
    return this.#options.servingThread?.runs ?? 0;
  }

  /** Whether any executor can answer. */
  get isAble(): boolean {
    return this.#executors.size > 0;
  }

  /** Resolves once no call waits or is computed. */
  async idle(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    await this.#options.servingThread?.idle();
  }

  /**
   * Answers a call.
   *
   * @param isAbandoned asked when the call's turn comes: one whose client has gone is not computed
   * @returns undefined for a call that was abandoned
   * @throws RequestError 503 at once when too many are in flight, or when its deadline would pass while it waits; 504
   *   once the deadline has passed
   */
  infer(call: InferenceCall, deadline: Deadline, isAbandoned: () => boolean): Promise<InferenceAnswer | undefined> {
    if (this.inFlight >= this.#options.maxInFlight) {
      throw new Overload('the server is full: too many requests are in flight, try again', this.#wait);
    }
    const taken = this.#options.servingThread?.take(call);
    if (taken?.kind === 'answered') return taken.answer;
    if (performance.now() + this.#wait > deadline.at) {
      throw new Overload(
        `the answer would come later than the ${deadline.milliseconds} ms that it may take: the server is busy, try again`,
        this.#wait,
      );
    }
    this.#inFlight++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        if (job.settle === undefined) return;
        job.settle = undefined;
        this.#left();
        reject(new RequestError(504, `the answer took longer than the ${deadline.milliseconds} ms that it may take`));
      }, deadline.at - performance.now());
      const job: Job = {
        call,
        shapes: taken?.shapes,
        deadline,
        arrival: performance.now(),
        isAbandoned,
        settle: (answer) => {
          clearTimeout(timer);
          job.settle = undefined;
          this.#left();
          resolve(answer);
        },
      };
      this.#queue.push(job);
      this.#feed();
    });
  }

  /** How long a call would wait that came now, in milliseconds. */
  get #wait(): number {
    const running = Array.from(this.#executors).reduce((sum, executor) => sum + executor.running, 0);
    return ((this.#queue.length + running) * (this.#pace ?? 0)) / Math.max(1, this.#executors.size);
  }

  #left(): void {
    this.#inFlight--;
    if (this.#inFlight > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }

  #feed(): void {
    for (const executor of this.#executors) {
      if (this.#batching !== undefined) this.#feedTogether(executor, this.#batching);
      else while (executor.running < callsAhead && this.#send(executor, 1));
    }
  }

  /** Flushed on size, on delay, and, without a delay, when the executor has nothing to do. */
  #feedTogether(executor: Executor, { maxSize, maxDelayMilliseconds }: BatchingSettings): void {
    const [oldest] = this.#queue;
    if (executor.running > 0 || oldest === undefined) return;
    const left = oldest.arrival + maxDelayMilliseconds - performance.now();
    if (left <= 0 || this.#queue.length >= maxSize) this.#send(executor, maxSize);
    else this.#flush ??= setTimeout(() => this.#flushed(), left);
  }

  #flushed(): void {
    this.#flush = undefined;
    this.#feed();
  }

  /** Sends the next jobs together. @returns whether there was any */
  #send(executor: Executor, most: number): boolean {
    const jobs: Job[] = [];
    while (jobs.length < most) {
      const job = this.#nextJob();
      if (job === undefined) break;
      jobs.push(job);
    }
    if (jobs.length === 0) return false;
    const start = performance.now();
    const wasIdle = executor.running === 0;
    const answers = executor.run(jobs.map(({ call }) => call));
    for (const [index, answer] of answers.entries()) {
      const job = jobs[index];
      if (job === undefined) continue;
      void answer.then((answered) => {
        const took = wasIdle ? (performance.now() - start) / jobs.length : undefined;
        this.#answered(job, answered, took);
      });
    }
    return true;
  }

  /** The next job that somebody waits for. */
  #nextJob(): Job | undefined {
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      if (job.isAbandoned()) job.settle?.(undefined);
      if (job.settle !== undefined) return job;
    }
    return undefined;
  }

  #answered(job: Job, answered: InferenceAnswer | ExecutorEnd, milliseconds: number | undefined): void {
    if ('how' in answered) {
      job.settle?.(failure(new Error(`the process that ran the model ended (${answered.how})`)));
      return;
    }
    if (job.shapes !== undefined && answered.seconds !== undefined) {
      this.#options.servingThread?.measured(job.shapes, answered.seconds);
    }
    const pace = milliseconds ?? (answered.seconds ?? 0) * 1000;
    this.#pace = this.#pace === undefined ? pace : this.#pace + smoothing * (pace - this.#pace);
    job.settle?.(answered);
    this.#feed();
  }

  #adopt(executor: Executor): void {
    this.#executors.add(executor);
    void executor.ended.then((end) => {
      this.#executors.delete(executor);
      if (!this.#options.signal.aborted) void this.#restart(end);
    });
  }

  async #restart(end: ExecutorEnd): Promise<void> {
    const { log, settings, signal, onHopeless } = this.#options;
    const now = performance.now();
    this.#ends.push(now);
    while ((this.#ends[0] ?? now) < now - endsWithinMilliseconds) this.#ends.shift();
    log.error({ ends: this.#ends.length, ...end }, 'the process that runs the model ended: it is started anew');
    if (this.#ends.length >= mostEnds) return onHopeless(describeEnd(end));
    const backoff = Math.min(lastRestartMilliseconds, firstRestartMilliseconds * 4 ** (this.#ends.length - 1));
    await new Promise((resolve) => setTimeout(resolve, backoff));
    if (signal.aborted) return;
    try {
      this.#adopt(await Executor.start(settings, signal));
      this.#restarts++;
      this.#feed();
    } catch (error) {
      if (signal.aborted) return;
      await this.#restart({ how: error instanceof Error ? error.message : String(error), lastWords: '' });
    }
  }

  #killHung(): void {
    for (const executor of this.#executors) {
      const { silence } = executor;
      if (silence < 2 * this.#options.requestTimeoutMilliseconds) continue;
      this.#options.log.error({ milliseconds: Math.round(silence) }, 'a run of the model does not end: it is killed');
      executor.kill();
    }
  }
}

/** The server cannot take a request now; it may be sent again after a while. */
export class Overload extends RequestError {
  readonly retryAfterSeconds: number;

  /** @param wait in milliseconds */
  constructor(message: string, wait: number) {
    super(503, message);
    this.name = 'Overload';
    this.retryAfterSeconds = Math.max(1, Math.min(60, Math.ceil(wait / 1000)));
  }
}
