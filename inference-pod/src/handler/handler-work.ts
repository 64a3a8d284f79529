import { isUtf8 } from 'node:buffer';
import { inspect } from 'node:util';
import type {
  Answer,
  HandlerModule,
  HandlerRequest,
  Outputs,
  OutputTensor,
  Predict,
  Prepared,
  Run,
  RunOptions,
} from '@slipway/handler';
import { writeBinaryTensor } from '../protocol/binary-tensors.ts';
import type { Signature, Tensor } from '../protocol/datatypes.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import { parseAnswer } from '../validation/golden-set.ts';
import {
  type AnswerHead,
  type HandledModel,
  type HandlerProcessSettings,
  handlerName,
  type Refusal,
  type RequestHead,
  type tells,
} from './handler-settings.ts';
import { inputTensor, nestedJson, outputTensor, UnfitTensor } from './handler-tensors.ts';
import { type AskedRun, Prediction } from './prediction.ts';

/** What is said of a call: in JSON, and behind it in bytes. */
export interface Said {
  readonly code: keyof typeof tells;
  /** Undefined where all is in the body. */
  readonly head: string | undefined;
  readonly body: readonly Uint8Array[];
}

/** The handler has done what cannot be gone on with. */
export class HandlerFailed extends Error {
  override readonly name = 'HandlerFailed';
}

/** Of an error that is told. */
const longestMessage = 4096;

/** What a handler makes of requests, and of what models give for them. */
export class HandlerWork {
  readonly #predict: Predict;
  readonly #settings: HandlerProcessSettings;
  /** Those that wait for a model. */
  readonly #predictions = new Map<number, Prediction>();

  /**
   * @param module of which nothing is known
   * @throws HandlerFailed when it is none
   */
  static of(module: unknown, settings: HandlerProcessSettings): HandlerWork {
    if (isHandler(module)) return new HandlerWork(predictOf(module), settings);
    throw new HandlerFailed(
      `${handlerName} must export a function predict, or a function preprocess and perhaps a function postprocess, and exports ${Object.keys(Object(module)).join(', ') || 'nothing'}`,
    );
  }

  private constructor(predict: Predict, settings: HandlerProcessSettings) {
    this.#predict = predict;
    this.#settings = settings;
  }

  /**
   * @param bytes a RequestHead in JSON of so many bytes, and the body of the request. Never rejects.
   */
  begin(job: number, bytes: Buffer, headLength: number): Promise<Said> {
    const head: RequestHead = JSON.parse(bytes.subarray(0, headLength).toString());
    // A handler may keep what it is given, and the memory of messages is used again.
    const request = requestOf(head, Buffer.from(bytes.subarray(headLength)));
    const prediction = new Prediction((ask) => {
      const run: Run = (inputs, options) => {
        const outputs = this.#run(inputs, options, ask);
        // Whoever does not wait for them is told nothing of what went wrong.
        outputs.catch(() => undefined);
        return outputs;
      };
      return said(async () => this.#answer(await this.#predict(request, run)));
    });
    return this.#next(job, prediction);
  }

  /** @param answer of the model, of the Open Inference Protocol. Never rejects. */
  async resume(job: number, answer: Buffer, headLength: number | undefined): Promise<Said> {
    const prediction = this.#predictions.get(job);
    const run = prediction?.current;
    if (prediction === undefined || run === undefined)
      return { code: 'failed', head: undefined, body: [Buffer.from('it has not asked for what it is given')] };
    try {
      run.resolve(this.#outputs(run.model, Buffer.from(answer), headLength));
    } catch (error) {
      run.reject(error);
    }
    return this.#next(job, prediction);
  }

  forget(job: number): void {
    this.#predictions.get(job)?.end();
    this.#predictions.delete(job);
  }

  async #next(job: number, prediction: Prediction): Promise<Said> {
    const next = await prediction.next();
    if (next.code === 'run') this.#predictions.set(job, prediction);
    else this.forget(job);
    return next;
  }

  #outputs(model: number, answer: Buffer, headLength: number | undefined): Outputs {
    const { models, mostTensorBytes } = this.#settings;
    const signature = models[model]?.signature ?? { inputs: [], outputs: [] };
    const tensors = parseAnswer(answer, signature, { mostTensorBytes }, headLength);
    return Object.fromEntries(Array.from(tensors, ([name, tensor]) => [name, outputTensor(tensor)]));
  }

  async #run(
    inputs: Prepared['inputs'],
    { model: name, outputs }: RunOptions = {},
    ask: (run: AskedRun) => void,
  ): Promise<Outputs> {
    const model = this.#settings.models.findIndex((one) => one.name === name);
    const { signature } = this.#settings.models[model] ?? unknownModel(name, this.#settings.models);
    const said = this.#request(signature, inputs, outputs, model);
    return new Promise((resolve, reject) => ask({ model, said, resolve, reject }));
  }

  #request(
    signature: Signature,
    given: Prepared['inputs'],
    outputs: readonly string[] | undefined,
    model: number,
  ): Said {
    if (typeof given !== 'object' || given === null)
      throw new HandlerFailed(`the inputs of a model must be an object, and are ${inspect(given).slice(0, 200)}`);
    const { mostTensorBytes } = this.#settings;
    const byName = new Map(Object.entries(given));
    const unknown = Array.from(byName.keys()).find((name) => !signature.inputs.some((input) => input.name === name));
    const named = signature.inputs.map(({ name }) => `'${name}'`).join(', ');
    if (unknown !== undefined) throw new HandlerFailed(`the model has no input '${unknown}': it has ${named}`);
    const tensors = signature.inputs.map((input): readonly [string, Tensor] => {
      const tensor = byName.get(input.name);
      if (tensor === undefined) throw new HandlerFailed(`it gave no input '${input.name}': the model has ${named}`);
      return [input.name, inputTensor(input, tensor, mostTensorBytes)];
    });
    const binary = tensors.map(([, tensor]) => writeBinaryTensor(tensor));
    const inputs = tensors.map(([name, { datatype, shape }], index) => ({
      name,
      datatype,
      shape,
      parameters: { binary_data_size: binary[index]?.length ?? 0 },
    }));
    const head = JSON.stringify({
      inputs,
      parameters: { binary_data_output: true },
      ...(outputs === undefined ? {} : { outputs: Array.from(outputs, (name) => ({ name: String(name) })) }),
    });
    const bytes = binary.reduce((sum, { length }) => sum + length, 0);
    if (bytes > mostTensorBytes)
      throw new HandlerFailed(`its inputs have ${bytes} bytes, and at most ${mostTensorBytes} are taken`);
    return { code: 'run', head, body: [...binary, Uint8Array.of(model)] };
  }

  #answer(given: unknown): Said {
    const { status = 200, contentType, body }: Answer = isAnswer(given) ? given : { body: given };
    if (!Number.isInteger(status) || status < 200 || status > 599)
      throw new HandlerFailed(
        `the status of its answer must be a whole number from 200 to 599, not ${inspect(status)}`,
      );
    if (contentType !== undefined && !/^[\w.+-]+\/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*$/.test(contentType))
      throw new HandlerFailed(`the contentType of its answer is none: ${inspect(contentType).slice(0, 200)}`);
    const [bytes, usual] = bytesOf(body);
    const { mostAnswerBytes } = this.#settings;
    if (bytes.length > mostAnswerBytes)
      throw new HandlerFailed(`its answer has ${bytes.length} bytes, and at most ${mostAnswerBytes} are sent`);
    const head: AnswerHead = { status, contentType: contentType ?? usual };
    return { code: 'answer', head: JSON.stringify(head), body: [bytes] };
  }
}

/** A handler of two functions is one that runs the model between them. */
function predictOf(module: HandlerModule): Predict {
  if ('predict' in module) return (request, run) => told('predict', () => module.predict(request, run));
  const { preprocess, postprocess } = module;
  return async (request, run) => {
    const { inputs, options, context } = await told('preprocess', async () => {
      const prepared = await preprocess(request);
      if (typeof prepared !== 'object' || prepared === null || typeof prepared.inputs !== 'object')
        throw new HandlerFailed(`it must give {inputs}, and gave ${inspect(prepared, { depth: 0 }).slice(0, 200)}`);
      const { outputs } = prepared;
      return { inputs: prepared.inputs, options: outputs === undefined ? {} : { outputs }, context: prepared.context };
    });
    const outputs = await told('preprocess', () => run(inputs, options));
    return postprocess === undefined ? asJson(outputs) : told('postprocess', () => postprocess(outputs, context));
  };
}

/** What went wrong in a function of a handler. */
class HandlerError extends Error {
  override readonly name = 'HandlerError';

  /** @param what the function */
  constructor(what: string, cause: unknown) {
    const isOwn = cause instanceof HandlerFailed || cause instanceof UnfitTensor;
    super(`${what}: ${(isOwn ? cause.message : inspect(cause)).slice(0, longestMessage)}`, { cause });
  }
}

/** @param what the function that is called */
async function told<T>(what: string, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new HandlerError(what, error);
  }
}

async function said(call: () => Promise<Said>): Promise<Said> {
  try {
    return await call();
  } catch (error) {
    const refusal = error instanceof HandlerError ? refusalIn(error.cause) : undefined;
    if (refusal !== undefined)
      return { code: 'refused', head: undefined, body: [Buffer.from(JSON.stringify(refusal))] };
    const words = error instanceof Error ? error.message : String(error);
    return { code: 'failed', head: undefined, body: [Buffer.from(words)] };
  }
}

function unknownModel(name: string | undefined, models: readonly HandledModel[]): never {
  const known = models.flatMap((one) => (one.name === undefined ? [] : [`'${one.name}'`]));
  throw new HandlerFailed(`there is no model '${name}': spec.runtime.handler.models has ${known.join(', ') || 'none'}`);
}

/** Undefined for an error that is a fault of the handler. */
function refusalIn(error: unknown): Refusal | undefined {
  if (typeof error !== 'object' || error === null || !('status' in error)) return undefined;
  const { status } = error;
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 400 || status > 499) return undefined;
  const message = 'message' in error ? String(error.message) : '';
  return { status, message: message.slice(0, longestMessage) || 'it was refused' };
}

function isHandler(module: unknown): module is HandlerModule {
  if (typeof module !== 'object' || module === null) return false;
  const typeOf = (name: string) => (name in module ? typeof Reflect.get(module, name) : undefined);
  const [predict, preprocess, postprocess] = ['predict', 'preprocess', 'postprocess'].map(typeOf);
  if (predict !== undefined) return predict === 'function' && (preprocess ?? postprocess) === undefined;
  return preprocess === 'function' && (postprocess === undefined || postprocess === 'function');
}

function requestOf({ contentType, query }: RequestHead, body: Buffer): HandlerRequest {
  const text = () => {
    if (!isUtf8(body)) throw badRequest('the body is not UTF-8 text');
    return body.toString();
  };
  return {
    body,
    contentType,
    query: new URLSearchParams(query),
    text,
    json() {
      try {
        return JSON.parse(text());
      } catch (error) {
        if (error instanceof RequestError) throw error;
        throw badRequest(`the body is not JSON: ${error instanceof Error ? error.message : error}`);
      }
    },
  };
}

function isAnswer(given: unknown): given is Answer {
  if (typeof given !== 'object' || given === null || !('body' in given)) return false;
  return Object.keys(given).every((key) => ['status', 'contentType', 'body'].includes(key));
}

function bytesOf(body: unknown): readonly [Uint8Array, string] {
  if (body instanceof Uint8Array) return [body, 'application/octet-stream'];
  if (typeof body === 'string') return [Buffer.from(body), 'text/plain; charset=utf-8'];
  const text: unknown = JSON.stringify(body);
  if (typeof text !== 'string') throw new HandlerFailed(`it gave ${inspect(body).slice(0, 200)}, which is no answer`);
  return [Buffer.from(text), 'application/json'];
}

function asJson(outputs: Readonly<Record<string, OutputTensor>>): Answer {
  const members = Object.entries(outputs).map(([name, tensor]) => `${JSON.stringify(name)}:${nestedJson(tensor)}`);
  return { contentType: 'application/json', body: `{${members.join()}}` };
}
