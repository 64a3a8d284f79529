import type { Logger } from 'pino';
import { RequestError } from '../protocol/request-error.ts';
import { type Call, isInferenceCall } from '../protocol/wires.ts';
import { type BatchingDecision, decideBatching } from './batch-gain.ts';
import { type BatchingSettings, isBatchable } from './batching.ts';
import { type Deadline, DeadlinePassed } from './deadline.ts';
import { Executor, type ExecutorAnswer, type LoadedModel } from './executor.ts';
import type { ExecutorSettings } from './executor-settings.ts';
import { failure, type InferenceAnswer } from './inference.ts';
import { ServingThread } from './serving-thread.ts';
import { describeEnd, type ProcessEnd } from './worker-process.ts';

export interface SchedulerOptions {
  readonly settings: ExecutorSettings;
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
  readonly call: Call;
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
/** A run is not killed before, however short the deadlines are: it is slow, and others wait for no longer than they want. */
const leastHungMilliseconds = 10_000;
/** The serving thread answers nothing while it opens a model. */
const quickLoadMilliseconds = 2000;
/** An executor that is started anew may take so many times as long as the first. */
const slowestLoad = 10;
const leastLoadMilliseconds = 60_000;

/** How quickly the measured time of a call follows what is seen. */
const smoothing = 0.1;
/** In milliseconds. */
const leastPace = 0.001;

/** Gives calls to executors in the order of their arrival, as long as somebody waits for the answer. */
export class Scheduler {
  readonly model: LoadedModel;
  readonly #options: SchedulerOptions;
  readonly #executors = new Set<Executor>();
  /** Those that were killed for a run without end. */
  readonly #hung = new Set<Executor>();
  readonly #queue: Job[] = [];
  readonly #ends: number[] = [];
  #inFlight = 0;
  #restarts = 0;
  /** Milliseconds for which an answer keeps an executor busy. */
  #pace: number | undefined;
  #idle: (() => void)[] = [];
  /** What has become of batching; undefined where it was not asked for. */
  readonly batching: BatchingDecision | undefined;
  readonly #batching: BatchingSettings | undefined;
  /** Runs what is proven to be cheap; undefined for a model of which nothing is. */
  #servingThread: ServingThread | undefined;
  readonly #loadMilliseconds: number;
  #flush: NodeJS.Timeout | undefined;

  private constructor(
    options: SchedulerOptions,
    executors: readonly Executor[],
    model: LoadedModel,
    loadMilliseconds: number,
  ) {
    this.#options = options;
    this.model = model;
    this.#loadMilliseconds = loadMilliseconds;
    if (options.batching !== undefined) this.batching = decideBatching(isBatchable(model.signature), model.batchGain);
    this.#batching = this.batching?.kind === 'on' ? options.batching : undefined;
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
    const begin = performance.now();
    // The first says whether the model can be loaded at all, and how long that takes.
    const first = await start();
    const loadMilliseconds = performance.now() - begin;
    const others = await Promise.all(Array.from({ length: options.instances - 1 }, start));
    return new Scheduler(options, [first, ...others], first.model, loadMilliseconds);
  }

  /** Opens the model here as well, if it is cheap by its shapes and was quickly opened elsewhere. */
  async openServingThread(workDirectory: string): Promise<void> {
    if (this.#loadMilliseconds > quickLoadMilliseconds) return;
    const { settings, log } = this.#options;
    this.#servingThread = await ServingThread.open({ settings, workDirectory, log });
  }

  /** Calls that wait or are computed. */
  get inFlight(): number {
    return this.#inFlight + (this.#servingThread?.running ?? 0);
  }

  /** How often an executor was started anew. */
  get restarts(): number {
    return this.#restarts;
  }

  /** How many inferences the serving thread has made itself. */
  get servingThreadRuns(): number {
    return this.#servingThread?.runs ?? 0;
  }

  /** Whether any executor can answer. */
  get isAble(): boolean {
    return this.#executors.size > 0;
  }

  /** Resolves once no call waits or is computed. */
  async idle(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    await this.#servingThread?.idle();
  }

  /**
   * Answers a call.
   *
   * @param isAbandoned asked when the call's turn comes: one whose client has gone is not computed
   * @returns undefined for a call that was abandoned
   * @throws RequestError 503 at once when too many are in flight, or when its deadline would pass while it waits; 504
   *   once the deadline has passed
   */
  infer(call: Call, deadline: Deadline, isAbandoned: () => boolean): Promise<InferenceAnswer | undefined> {
    if (performance.now() > deadline.at) throw new DeadlinePassed(deadline);
    if (this.inFlight >= this.#options.maxInFlight) {
      throw new Overload('the server is full: too many requests are in flight, try again', this.#wait);
    }
    const taken = isInferenceCall(call) ? this.#servingThread?.take(call) : undefined;
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
        // Its body is not kept until its turn comes.
        const place = this.#queue.indexOf(job);
        if (place !== -1) this.#queue.splice(place, 1);
        reject(new DeadlinePassed(deadline));
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
    if (this.#batching !== undefined) {
      for (const executor of this.#executors) this.#feedTogether(executor, this.#batching);
      return;
    }
    // None is given a second call while another has none.
    for (let running = 0; running < callsAhead; running++) {
      for (const executor of this.#executors) if (executor.running === running) this.#send(executor, 1);
    }
  }

  /** Flushed on size, on delay, and, without a delay, when the executor has nothing to do. */
  #feedTogether(executor: Executor, { maxSize, maxDelayMilliseconds }: BatchingSettings): void {
    const [oldest] = this.#queue;
    if (executor.running > 0 || oldest === undefined) return;
    const until = Math.min(oldest.arrival + maxDelayMilliseconds, oldest.deadline.at - 2 * (this.#pace ?? 0));
    const left = until - performance.now();
    if (left <= 0 || this.#queue.length >= maxSize) this.#send(executor, maxSize);
    else this.#flush ??= setTimeout(() => this.#flushed(), left);
  }

  #flushed(): void {
    this.#flush = undefined;
    this.#feed();
  }

  /** Sends the next jobs together, if there are any. */
  #send(executor: Executor, most: number): void {
    const jobs: Job[] = [];
    while (jobs.length < most) {
      const job = this.#nextJob();
      if (job === undefined) break;
      jobs.push(job);
    }
    if (jobs.length === 0) return;
    const answers = executor.run(
      jobs.map(({ call, deadline }) => ({ call, leftMilliseconds: deadline.at - performance.now() })),
    );
    for (const [index, answer] of answers.entries()) {
      const job = jobs[index];
      if (job === undefined) continue;
      void answer.then((answered) => this.#answered(job, answered));
    }
    void Promise.all(answers).then((answered) => this.#measured(answered));
  }

  /** Calls that are answered together share what they took, whichever answer came last. */
  #measured(answers: readonly (ExecutorAnswer | ProcessEnd)[]): void {
    const busy = answers.reduce((sum, answer) => sum + ('how' in answer ? 0 : answer.busySeconds), 0);
    if (busy === 0) return;
    // By the geometric mean: what is asked of a task may take a thousand times as long as what comes after it.
    const pace = Math.max(leastPace, (busy * 1000) / answers.length);
    const weight = (1 - smoothing) ** answers.length;
    this.#pace = this.#pace === undefined ? pace : this.#pace ** weight * pace ** (1 - weight);
  }

  /** The next job that somebody waits for. */
  #nextJob(): Job | undefined {
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      if (job.isAbandoned()) job.settle?.(undefined);
      if (job.settle !== undefined) return job;
    }
    return undefined;
  }

  #answered(job: Job, answered: ExecutorAnswer | ProcessEnd): void {
    if ('how' in answered) {
      job.settle?.(failure(new Error(`the process that ran the model ended (${answered.how})`)));
      return;
    }
    if (job.shapes !== undefined) this.#servingThread?.measured(job.shapes, answered);
    job.settle?.(answered);
    this.#feed();
  }

  #adopt(executor: Executor): void {
    this.#executors.add(executor);
    void executor.ended.then((end) => {
      this.#executors.delete(executor);
      if (!this.#options.signal.aborted) void this.#restart(end, this.#hung.delete(executor));
    });
  }

  async #restart(end: ProcessEnd, isHung: boolean): Promise<void> {
    const { log, settings, signal, onHopeless } = this.#options;
    const now = performance.now();
    // One that was killed for a run without end did what a request made it do.
    if (!isHung) this.#ends.push(now);
    while ((this.#ends[0] ?? now) < now - endsWithinMilliseconds) this.#ends.shift();
    log.error({ ends: this.#ends.length, ...end }, 'the process that runs the model ended: it is started anew');
    if (this.#ends.length >= mostEnds * this.#options.instances) return onHopeless(describeEnd(end));
    const backoff = Math.min(
      lastRestartMilliseconds,
      firstRestartMilliseconds * 4 ** Math.max(0, this.#ends.length - 1),
    );
    await new Promise((resolve) => setTimeout(resolve, backoff));
    if (signal.aborted) return;
    try {
      const limit = AbortSignal.timeout(Math.max(leastLoadMilliseconds, slowestLoad * this.#loadMilliseconds));
      this.#adopt(await Executor.start(settings, signal, limit));
      this.#restarts++;
      this.#feed();
    } catch (error) {
      if (signal.aborted) return;
      await this.#restart({ how: error instanceof Error ? error.message : String(error), lastWords: '' }, false);
    }
  }

  #killHung(): void {
    for (const executor of this.#executors) {
      const { silence } = executor;
      if (silence < Math.max(leastHungMilliseconds, 2 * this.#options.requestTimeoutMilliseconds)) continue;
      this.#options.log.error({ milliseconds: Math.round(silence) }, 'a run of the model does not end: it is killed');
      this.#hung.add(executor);
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
