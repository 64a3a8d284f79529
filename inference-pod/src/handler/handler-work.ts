import { isUtf8 } from 'node:buffer';
import { inspect } from 'node:util';
import type { Answer, HandlerModule, HandlerRequest, OutputTensor, Prepared } from '@slipway/handler';
import { writeBinaryTensor } from '../protocol/binary-tensors.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import { parseAnswer } from '../validation/golden-set.ts';
import {
  type AnswerHead,
  type HandlerProcessSettings,
  handlerName,
  type Refusal,
  type RequestHead,
  type tells,
} from './handler-settings.ts';
import { inputTensor, nestedJson, outputTensor, UnfitTensor } from './handler-tensors.ts';

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

/** What a handler makes of requests, and of what the model gives for them. */
export class HandlerWork {
  readonly #handler: HandlerModule;
  readonly #settings: HandlerProcessSettings;
  /** What is kept of a request while the model runs. */
  readonly #contexts = new Map<number, unknown>();

  /**
   * @param module of which nothing is known
   * @throws HandlerFailed when it is none
   */
  static of(module: unknown, settings: HandlerProcessSettings): HandlerWork {
    if (isHandler(module)) return new HandlerWork(module, settings);
    throw new HandlerFailed(
      `${handlerName} must export a function preprocess, and may export a function postprocess, and exports ${Object.keys(Object(module)).join(', ') || 'nothing'}`,
    );
  }

  private constructor(handler: HandlerModule, settings: HandlerProcessSettings) {
    this.#handler = handler;
    this.#settings = settings;
  }

  /**
   * @param bytes a RequestHead in JSON of so many bytes, and the body of the request. Never rejects.
   */
  preprocess(job: number, bytes: Buffer, headLength: number): Promise<Said> {
    return said('preprocess', async () => {
      const head: RequestHead = JSON.parse(bytes.subarray(0, headLength).toString());
      const prepared = await this.#handler.preprocess(requestOf(head, Buffer.from(bytes.subarray(headLength))));
      const said = this.#run(prepared);
      this.#contexts.set(job, prepared.context);
      return said;
    });
  }

  /** @param answer of the model, of the Open Inference Protocol. Never rejects. */
  postprocess(job: number, answer: Buffer, headLength: number | undefined): Promise<Said> {
    return said('postprocess', async () => {
      const { signature, mostTensorBytes } = this.#settings;
      const context = this.#contexts.get(job);
      this.forget(job);
      // A handler may keep what it is given, and the memory of messages is used again.
      const tensors = parseAnswer(Buffer.from(answer), signature, { mostTensorBytes }, headLength);
      const outputs: Record<string, OutputTensor> = Object.fromEntries(
        Array.from(tensors, ([name, tensor]) => [name, outputTensor(tensor)]),
      );
      const { postprocess } = this.#handler;
      const given: unknown = postprocess === undefined ? asJson(outputs) : await postprocess(outputs, context);
      return this.#answer(given);
    });
  }

  forget(job: number): void {
    this.#contexts.delete(job);
  }

  #run(prepared: Prepared): Said {
    if (typeof prepared !== 'object' || prepared === null || typeof prepared.inputs !== 'object')
      throw new HandlerFailed(`it must give {inputs}, and gave ${inspect(prepared, { depth: 0 }).slice(0, 200)}`);
    const { signature, mostTensorBytes } = this.#settings;
    const given = new Map(Object.entries(prepared.inputs));
    const unknown = Array.from(given.keys()).find((name) => !signature.inputs.some((input) => input.name === name));
    const named = signature.inputs.map(({ name }) => `'${name}'`).join(', ');
    if (unknown !== undefined) throw new HandlerFailed(`the model has no input '${unknown}': it has ${named}`);
    const tensors = signature.inputs.map((input): readonly [string, Tensor] => {
      const tensor = given.get(input.name);
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
      ...(prepared.outputs === undefined ? {} : { outputs: prepared.outputs.map((name) => ({ name: String(name) })) }),
    });
    const bytes = binary.reduce((sum, { length }) => sum + length, 0);
    if (bytes > mostTensorBytes)
      throw new HandlerFailed(`its inputs have ${bytes} bytes, and at most ${mostTensorBytes} are taken`);
    return { code: 'run', head, body: binary };
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

/** @param what the function that is called */
async function said(what: string, call: () => Promise<Said>): Promise<Said> {
  try {
    return await call();
  } catch (error) {
    const refusal = refusalIn(error);
    if (refusal !== undefined)
      return { code: 'refused', head: undefined, body: [Buffer.from(JSON.stringify(refusal))] };
    const isOwn = error instanceof HandlerFailed || error instanceof UnfitTensor;
    const words = isOwn ? error.message : inspect(error);
    return { code: 'failed', head: undefined, body: [Buffer.from(`${what}: ${words.slice(0, longestMessage)}`)] };
  }
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
  if (typeof module !== 'object' || module === null || !('preprocess' in module)) return false;
  const postprocess = 'postprocess' in module ? module.postprocess : undefined;
  return typeof module.preprocess === 'function' && (postprocess === undefined || typeof postprocess === 'function');
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
