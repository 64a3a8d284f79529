import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { operatorsOf } from '../model/graph.ts';
import { type ModelSession, openSession } from '../model/session.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import type { AnswerBody } from '../protocol/json-text.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { InferenceRequest } from '../protocol/open-inference-request.ts';
import { OutOfPatience, Patience } from '../protocol/patience.ts';
import { decode, type InferenceCall, textBytes, type Wire } from '../protocol/wires.ts';
import { areCheapByShape } from './cheap-operators.ts';
import { CostOfShapes } from './cost-of-shapes.ts';
import type { ExecutorSettings } from './executor-settings.ts';
import { leaveBehind } from './garbage.ts';
import { answerOf, failure, type InferenceAnswer, type InferenceLimits } from './inference.ts';

/** A larger file is not read to see what it does. */
const mostFileBytes = 8 * 2 ** 20;
/** A larger text takes longer to write than the serving thread may be busy. */
const mostAnswerTextBytes = 65_536;
/** A larger text takes longer to read, even where all of it has a quick way. */
const mostTextBytes = 2 * 2 ** 20;
/** Reading a longer text twice costs more than running the model here would save. */
const longTextBytes = 65_536;
/** So many have to be read twice until their shapes can be proven, and some more. */
const mostVainReads = 40;
/** So many are then not read here at all. */
const unreadTexts = 2000;
/** So many elements of a request may have none. */
const patientElements = 2000;
/** Tensors in binary form are not read, only looked at. */
const mostBodyBytes = 4 * 2 ** 20;

const markName = 'run-on-the-serving-thread';
/** A node that is lost, or a container that is killed, may be no fault of the model's; three times is. */
const mostBadEnds = 3;

/** There while the model is run by this process: found at its start, it says how many have not ended well. */
class Mark {
  readonly #path: string;
  readonly badEnds: number;

  constructor(path: string) {
    this.#path = path;
    this.badEnds = existsSync(path) ? Number(readFileSync(path, 'utf8')) || mostBadEnds : 0;
  }

  set(): void {
    writeFileSync(this.#path, String(this.badEnds + 1));
  }

  /** @param code of the process's end, which is orderly if it is 0 */
  clear(code: number): void {
    if (code === 0) rmSync(this.#path, { force: true });
  }
}

export interface ServingThreadOptions {
  readonly settings: ExecutorSettings;
  readonly workDirectory: string;
  readonly log: Logger;
}

/** What the serving thread makes of a call: it answers it, or says by which shapes it is to be measured elsewhere. */
export type Taken =
  | { readonly kind: 'answered'; readonly answer: Promise<InferenceAnswer> }
  | { readonly kind: 'measure'; readonly shapes: string };

/**
 * Runs a model that is proven to be cheap on the serving thread, which saves a small model most of what a request costs.
 * Proven is what has a small file, only operators whose work goes by shapes, and shapes that were measured many times. It
 * shares the fate of the process, so a process that did not end well is remembered on the pod's volume.
 */
export class ServingThread {
  readonly #session: ModelSession;
  readonly #model: ModelIdentity;
  readonly #limits: InferenceLimits;
  readonly #costs = new CostOfShapes();
  readonly #log: Logger;
  #running = 0;
  #runs = 0;
  #idle: (() => void)[] = [];
  /** When the last request was read or answered here: no run that has not ended can have begun before. */
  #free = 0;
  /** What the thread had computed then, in seconds. */
  #freeCompute = 0;
  /** Long texts that were read here, and then again by an executor, since the last that was not. */
  #vainReads = 0;

  private constructor(session: ModelSession, { settings, log }: ServingThreadOptions) {
    this.#session = session;
    this.#model = settings.model;
    this.#limits = settings.limits;
    this.#log = log;
  }

  /** @returns undefined for a model that is not to be run here */
  static async open(options: ServingThreadOptions): Promise<ServingThread | undefined> {
    const { settings, workDirectory, log } = options;
    if (!(await isCheapByShape(settings.path))) return undefined;
    const mark = new Mark(join(workDirectory, markName));
    if (mark.badEnds >= mostBadEnds) {
      log.warn('processes of this pod ended badly while they ran the model themselves: only executors run it now');
      return undefined;
    }
    try {
      // Opening a model is native code as well.
      mark.set();
      const session = await openSession(settings.path, settings.threads);
      process.once('exit', (code) => mark.clear(code));
      return new ServingThread(session, options);
    } catch (error) {
      log.warn({ err: error }, 'the model is not run on the serving thread');
      return undefined;
    }
  }

  /** @returns undefined for a call that is none of its business */
  take(call: InferenceCall): Taken | undefined {
    const taken = this.#take(call);
    // Runs that wait for their turn have nothing to do with it.
    if (this.#running > 0) this.#done();
    return taken;
  }

  #take(call: InferenceCall): Taken | undefined {
    const isLong = textBytes(call) > longTextBytes;
    if (!isShort(call) || (isLong && this.#isVain())) return undefined;
    let request: InferenceRequest;
    try {
      const patience = new Patience(patientElements);
      request = decode(call, this.#session.signature, { ...this.#limits, patience });
    } catch (error) {
      if (error instanceof OutOfPatience) return undefined;
      return { kind: 'answered', answer: Promise.resolve(failure(error)) };
    }
    if (isLong) leaveBehind(bytesOf(request));
    const shapes = `${call.wire};${shapesOf(request)}`;
    if (!this.#costs.isProven(shapes)) {
      if (isLong) this.#vainReads++;
      return { kind: 'measure', shapes };
    }
    if (isLong) this.#vainReads = 0;
    return { kind: 'answered', answer: this.#run(call.wire, request, shapes) };
  }

  /** Whether a long text would be read twice: most of those before it were. */
  #isVain(): boolean {
    if (this.#vainReads < mostVainReads) return false;
    // Some are, so that shapes can still be proven.
    this.#vainReads++;
    if (this.#vainReads === mostVainReads + unreadTexts) this.#vainReads = 0;
    return true;
  }

  /** A call of these shapes was run by an executor. */
  measured(shapes: string, answer: InferenceAnswer): void {
    if (answer.kind === 'refused' || answer.seconds === undefined) return;
    const isShortAnswer = (answer.headerLength ?? lengthOfBody(answer.body)) <= mostAnswerTextBytes;
    this.#costs.measured(shapes, isShortAnswer ? answer.seconds : Number.POSITIVE_INFINITY);
  }

  async #run(wire: Wire, request: InferenceRequest, shapes: string): Promise<InferenceAnswer> {
    this.#running++;
    this.#runs++;
    try {
      const outputs = await this.#session.run(request.inputs, request.outputs);
      const seconds = (performance.now() - this.#free) / 1000;
      const answer = answerOf(wire, request, outputs, this.#model, this.#limits, seconds);
      // However long it has waited for a processor, which is no cost of the run.
      const before = this.#freeCompute;
      this.#done();
      const cost = this.#freeCompute - before;
      if (this.#costs.ranHere(shapes, cost)) {
        this.#log.warn(
          { shapes, seconds: cost },
          'runs are not cheap any more: executors run these shapes from now on',
        );
      }
      return answer;
    } catch (error) {
      this.#done();
      return failure(error);
    } finally {
      this.#running--;
      if (this.#running === 0 && this.#idle.length > 0) this.#tellIdle();
    }
  }

  /** What the thread does from now on is for another call. */
  #done(): void {
    this.#free = performance.now();
    this.#freeCompute = computedSeconds();
  }

  /** Calls that are computed here. */
  get running(): number {
    return this.#running;
  }

  /** How many were, since the start. */
  get runs(): number {
    return this.#runs;
  }

  /** Resolves once none is. */
  idle(): Promise<void> {
    return this.#running === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  #tellIdle(): void {
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }
}

/** By this thread since its start. */
function computedSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}

async function isCheapByShape(path: string): Promise<boolean> {
  if ((await stat(path)).size > mostFileBytes) return false;
  const operators = operatorsOf(await readFile(path));
  return operators !== undefined && areCheapByShape(operators);
}

function isShort(call: InferenceCall): boolean {
  return call.body.length <= mostBodyBytes && textBytes(call) <= mostTextBytes;
}

function lengthOfBody(body: AnswerBody): number {
  return typeof body === 'string' ? body.length : body.reduce((sum, { length }) => sum + length, 0);
}

function bytesOf({ inputs }: InferenceRequest): number {
  return inputs.values().reduce((sum, { data }) => sum + (Array.isArray(data) ? 0 : data.byteLength), 0);
}

/** The shapes of a request's inputs, the length of strings, and the form of the answer, as one text. */
function shapesOf({ inputs, outputs }: InferenceRequest): string {
  let text = '';
  for (const { name, isBinary, classes } of outputs) text += `${name}${isBinary ? '!' : ''}${classes ?? ''};`;
  for (const [name, tensor] of inputs) text += `${name}:${tensor.shape.join()}${lengthOf(tensor)};`;
  return text;
}

function lengthOf({ data }: Tensor): string {
  return Array.isArray(data) ? `(${data.reduce((sum, text) => sum + text.length, 0)})` : '';
}
