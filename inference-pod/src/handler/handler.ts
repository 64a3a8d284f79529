import { join } from 'node:path';
import type { Logger } from 'pino';
import { type Deadline, DeadlinePassed } from '../execution/deadline.ts';
import { jobAfter, type Message, openedJob, writeHead } from '../execution/frames.ts';
import { Overload } from '../execution/scheduler.ts';
import { describeEnd, type ProcessEnd } from '../execution/worker-process.ts';
import { messageOf } from '../model/error-message.ts';
import { StartupError } from '../model/startup-error.ts';
import { RequestError } from '../protocol/request-error.ts';
import { HandlerOutput } from './handler-output.ts';
import { asks, type HandlerProcessSettings, handlerName, type RequestHead, tells } from './handler-settings.ts';
import { answerIn, refusalIn } from './handler-told.ts';
import { type HandlerWorker, startHandlerProcess } from './handler-worker.ts';
import { RemoteWorker } from './remote-worker.ts';

export interface HandlerOptions {
  /** Where `handler.mjs` is, and what else it may read. */
  readonly folder: string;
  readonly settings: Omit<HandlerProcessSettings, 'path'>;
  /** The longest that it may take until it answers, or asks for a run of a model. */
  readonly timeoutMilliseconds: number;
  /** Requests that may wait or be answered at once. */
  readonly mostUnderWay: number;
  readonly log: Logger;
  /** Where the container that it runs in listens; undefined: it runs in this one. */
  readonly socketPath: string | undefined;
  /** It cannot be started anew, again and again: the pod can do no more than to begin anew. */
  readonly onHopeless: (reason: string) => void;
  /** Ends the process. */
  readonly signal: AbortSignal;
}

/** A request of the Open Inference Protocol, or an answer, with tensors in binary form. */
export interface ModelMessage {
  readonly body: Buffer;
  /** How much of it is JSON; undefined when all is. */
  readonly headerLength: number | undefined;
}

export interface ModelRun extends ModelMessage {
  /** The place among all of the model that is to be run; undefined where a process has said none. */
  readonly model: number | undefined;
}

export interface HandlerAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

/** A request that its handler refuses, or fails at. */
export class HandlerProblem extends RequestError {
  override readonly name = 'HandlerProblem';
  /** What went wrong, for the one whose handler it is. */
  readonly reason: string;

  constructor(status: number, message: string, reason = message) {
    super(status, message);
    this.reason = reason;
  }
}

/** One call of the handler, which waits or is under way. */
interface Call {
  readonly job: number;
  readonly code: number;
  readonly headerLength: number | undefined;
  readonly pieces: readonly Buffer[];
  /** The process that has what was kept for it; undefined where nothing was. */
  readonly keeper: HandlerWorker | undefined;
  /** @returns whether anybody still waited */
  settle(outcome: Message | RequestError | undefined): boolean;
  /** Whether the client has gone. */
  isAbandoned(): boolean;
}

const startMilliseconds = 60_000;
const firstRestartMilliseconds = 100;
const lastRestartMilliseconds = 10_000;
/** So many in a row, while others wait to begin. */
const mostResumed = 4;
/** Of one that was loaded before, in a row. */
const mostStarts = 5;

/**
 * The handler of a model, seen from the serving process: one call is done after the other. One that hangs is ended with its process, which
 * is started anew; so is what says what it was not asked.
 */
export class Handler {
  readonly #options: HandlerOptions;
  readonly #queue: Call[] = [];
  #worker: HandlerWorker | undefined;
  #current: Call | undefined;
  #lastJob = openedJob;
  #restarts = 0;
  #underWay = 0;
  /** How many calls in a row were of requests that had begun before. */
  #resumed = 0;
  #inModel = 0;
  #idle: (() => void)[] = [];

  private constructor(options: HandlerOptions, worker: HandlerWorker) {
    this.#options = options;
    this.#adopt(worker);
  }

  /** @throws StartupError ModelInvalid for a module that cannot be used; the signal's reason */
  static async start(options: HandlerOptions): Promise<Handler> {
    return new Handler(options, await started(options, startMilliseconds));
  }

  /** How often its process was started anew. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Requests that wait for it or that it works on; not those that the model has now. */
  get inFlight(): number {
    return this.#underWay - this.#inModel;
  }

  /** Resolves once none is. */
  idle(): Promise<void> {
    return this.#underWay === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  /**
   * Answers a request.
   *
   * @param run gives a model's answer; undefined when nobody waits any more
   * @param isAbandoned asked when its turn comes: what nobody waits for any more is not done
   * @returns undefined when that was so
   * @throws RequestError as the handler refuses it; 500 when it fails; 503 when too many are under way; 504 when it hangs, or the deadline
   * passes; what `run` throws
   */
  async answer(
    head: RequestHead,
    body: Buffer,
    deadline: Deadline,
    isAbandoned: () => boolean,
    run: (request: ModelRun) => Promise<ModelMessage | undefined>,
  ): Promise<HandlerAnswer | undefined> {
    if (this.#underWay >= this.#options.mostUnderWay)
      throw new Overload(`${handlerName} has too many requests: try again`, 0);
    this.#lastJob = jobAfter(this.#lastJob);
    const job = this.#lastJob;
    this.#underWay += 1;
    try {
      const header = Buffer.from(JSON.stringify(head));
      const asked = { job, code: asks.begin, headerLength: header.length, pieces: [header, body], isAbandoned };
      let said = await this.#call({ ...asked, keeper: undefined }, deadline);
      const keeper = this.#worker;
      try {
        while (said?.frame.code === tells.run) {
          const given = await this.#whileModelRuns(run(runOf(said)));
          if (given === undefined) return undefined;
          const { headerLength } = given;
          const resumed = { job, code: asks.resume, headerLength, pieces: [given.body], keeper, isAbandoned };
          said = await this.#call(resumed, deadline);
        }
        return said === undefined ? undefined : answerOf(said);
      } finally {
        // It has forgotten what it answered, and a process that is gone has forgotten all.
        if (keeper !== undefined && keeper === this.#worker) send(keeper, { job, code: asks.forget, pieces: [] });
      }
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  async #whileModelRuns<T>(answer: Promise<T>): Promise<T> {
    this.#inModel += 1;
    try {
      return await answer;
    } finally {
      this.#inModel -= 1;
    }
  }

  #call(asked: Omit<Call, 'settle'>, deadline: Deadline): Promise<Message | undefined> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const left = deadline.at - performance.now();
      const timer = setTimeout(() => call.settle(new DeadlinePassed(deadline)), Math.max(0, left));
      const call: Call = {
        ...asked,
        settle: (outcome) => {
          const isWaiting = !isOver;
          isOver = true;
          clearTimeout(timer);
          const place = this.#queue.indexOf(call);
          if (place !== -1) this.#queue.splice(place, 1);
          if (outcome instanceof RequestError) reject(outcome);
          else resolve(outcome);
          return isWaiting;
        },
      };
      // What is nearly done comes first: otherwise all would be begun, and nothing be answered in time.
      const first = this.#queue.findIndex(({ code }) => code === asks.begin);
      const place = asked.code === asks.begin || first === -1 ? this.#queue.length : first;
      this.#queue.splice(place, 0, call);
      this.#next();
    });
  }

  #next(): void {
    const worker = this.#worker;
    if (worker === undefined || this.#current !== undefined) return;
    const call = this.#nextCall();
    if (call === undefined) return;
    if (call.isAbandoned()) {
      call.settle(undefined);
      this.#next();
      return;
    }
    if (call.keeper !== undefined && call.keeper !== worker) {
      call.settle(failed('it was started anew while the model ran, and has forgotten what it had kept'));
      this.#next();
      return;
    }
    this.#current = call;
    send(worker, call);
    const { timeoutMilliseconds } = this.#options;
    const timer = setTimeout(() => {
      call.settle(
        new HandlerProblem(504, `${handlerName} took longer than the ${timeoutMilliseconds} ms that it may take`),
      );
      worker.kill();
    }, timeoutMilliseconds);
    worker.onMessage = (message) => {
      clearTimeout(timer);
      if (this.#current === call && message.frame.job === call.job) this.#answered(call, message, worker);
      else distrust(worker);
    };
  }

  /** What has been begun, as a rule; but those that go on and on keep nobody from beginning. */
  #nextCall(): Call | undefined {
    const begin = this.#queue.findIndex(({ code }) => code === asks.begin);
    const [call] = this.#queue.splice(begin > 0 && this.#resumed >= mostResumed ? begin : 0, 1);
    this.#resumed = call?.code === asks.resume ? this.#resumed + 1 : 0;
    return call;
  }

  #answered(call: Call, message: Message, worker: HandlerWorker): void {
    this.#current = undefined;
    // What was kept for an answer that nobody waits for would be kept for ever.
    if (!call.settle(message)) send(worker, { job: call.job, code: asks.forget, pieces: [] });
    this.#next();
  }

  #adopt(worker: HandlerWorker): void {
    this.#worker = worker;
    worker.onMessage = () => distrust(worker);
    void worker.ended.then((end) => void this.#ended(end));
  }

  async #ended(end: ProcessEnd): Promise<void> {
    const { log, signal, onHopeless } = this.#options;
    this.#worker = undefined;
    if (signal.aborted) return;
    log.error({ ...end }, `the process of ${handlerName} ended: it is started anew`);
    this.#current?.settle(new HandlerProblem(500, `the process of ${handlerName} ended: the pod's log says how`));
    this.#current = undefined;
    let backoff = firstRestartMilliseconds;
    for (let tries = 1; ; tries++) {
      await new Promise((resolve) => setTimeout(resolve, backoff));
      if (signal.aborted) return;
      try {
        // A container that ends again and again is started later and later: tensors are answered all the while.
        this.#adopt(await started(this.#options, Number.POSITIVE_INFINITY));
        this.#restarts += 1;
        this.#next();
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.error({ err: error, tries }, `${handlerName} could not be started anew`);
        if (tries === mostStarts) return onHopeless(messageOf(error));
        backoff = Math.min(lastRestartMilliseconds, 4 * backoff);
      }
    }
  }
}

/** It has said what it was not asked: nothing that it says is believed any more. */
function distrust(worker: HandlerWorker): void {
  worker.onMessage = () => undefined;
  worker.kill();
}

function runOf({ frame, body }: Message): ModelRun {
  return { body: body.subarray(0, -1), headerLength: frame.headerLength, model: body.at(-1) };
}

function answerOf(message: Message): HandlerAnswer {
  const { frame, body } = message;
  if (frame.code !== tells.answer) throw problem(message);
  const length = frame.headerLength ?? 0;
  const head = answerIn(body.subarray(0, length).toString());
  if (head !== undefined) return { ...head, body: body.subarray(length) };
  throw failed('it gave an answer that is none');
}

function problem({ frame, body }: Message): HandlerProblem {
  if (frame.code !== tells.refused) return failed(body.toString());
  const refusal = refusalIn(body.toString());
  return refusal === undefined
    ? failed('it refused, and not as it should')
    : new HandlerProblem(refusal.status, refusal.message);
}

function failed(reason: string): HandlerProblem {
  return new HandlerProblem(500, `${handlerName} has failed: the pod's log says how`, reason);
}

function send(
  worker: HandlerWorker,
  { job, code, headerLength, pieces }: Pick<Call, 'job' | 'code' | 'pieces'> & Partial<Call>,
): void {
  const bodyLength = pieces.reduce((sum, { length }) => sum + length, 0);
  const rest = { following: 0, seconds: undefined, busySeconds: 0, leftMilliseconds: 0 };
  worker.socket.cork();
  worker.socket.write(writeHead({ job, code, headerLength, bodyLength, ...rest }));
  for (const piece of pieces) worker.socket.write(piece);
  worker.socket.uncork();
}

/**
 * Starts its process, and waits until the module is loaded.
 *
 * @param patienceMilliseconds how long the container that it runs in may take to be there
 * @throws StartupError ModelInvalid; the signal's reason
 */
async function started(
  { folder, settings, log, signal, socketPath }: HandlerOptions,
  patienceMilliseconds: number,
): Promise<HandlerWorker> {
  const own = { ...settings, path: join(folder, handlerName) };
  const output = new HandlerOutput(log, () => performance.now());
  const worker =
    socketPath === undefined
      ? await startHandlerProcess(own, output, signal)
      : await RemoteWorker.connect(socketPath, own, signal, patienceMilliseconds);
  const timer = setTimeout(() => worker.kill(), startMilliseconds);
  const told = new Promise<Message>((resolve) => {
    worker.onMessage = resolve;
  });
  const first = await Promise.race([told, worker.ended]);
  clearTimeout(timer);
  signal.throwIfAborted();
  if ('frame' in first && first.frame.code === tells.opened) return worker;
  worker.kill();
  const why = 'frame' in first ? first.body.toString() : `its process ended (${describeEnd(first)})`;
  throw new StartupError('ModelInvalid', `${handlerName} cannot be used: ${why}`);
}
