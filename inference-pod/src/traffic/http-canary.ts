import { Agent } from 'undici';
import { messageOf } from '../model/error-message.ts';
import {
  AnswerBytes,
  addressedTo,
  type CanaryAnswer,
  type CanaryRequest,
  NoRoom,
  revisionHeader,
} from './canary-answer.ts';

const keepAliveMilliseconds = 30_000;
const connectMilliseconds = 1000;

/** Asks canaries over HTTP, on connections that are kept. */
export class HttpCanaries {
  readonly #agent: Agent;
  readonly #mostAnswerBytes: number;

  /** @param connections to one pod at once; more requests wait for one that is free */
  constructor(mostAnswerBytes: number, connections: number) {
    this.#mostAnswerBytes = mostAnswerBytes;
    this.#agent = new Agent({
      connections,
      pipelining: 1,
      keepAliveTimeout: keepAliveMilliseconds,
      // Requests have deadlines of their own.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: connectMilliseconds },
    });
  }

  /** Never rejects. */
  async ask(host: string, request: CanaryRequest): Promise<CanaryAnswer> {
    const { path, headers, body, revision, why, hold, signal } = request;
    try {
      const response = await this.#agent.request({
        origin: `http://${host}`,
        path,
        method: 'POST',
        headers: { ...headers, ...addressedTo(revision, why) },
        body,
        signal,
      });
      const problem = problemOf(response.headers, host, revision);
      if (problem !== undefined) {
        await response.body.dump();
        return { kind: 'none', reason: problem };
      }
      const { 'content-type': contentType, 'inference-header-content-length': headerLength } = response.headers;
      const bytes = new AnswerBytes(this.#mostAnswerBytes, hold);
      for await (const piece of response.body as AsyncIterable<Buffer>) bytes.add(piece);
      return {
        kind: 'answer',
        status: response.statusCode,
        contentType: String(contentType),
        headerLength: headerLength === undefined ? undefined : String(headerLength),
        body: bytes.whole,
      };
    } catch (error) {
      return error instanceof NoRoom ? { kind: 'full' } : { kind: 'none', reason: messageOf(error) };
    }
  }
}

/** Why an answer is none that a pod of ours gives; undefined when it may be. */
function problemOf(headers: NodeJS.Dict<string | string[]>, host: string, revision: string): string | undefined {
  if (headers[revisionHeader] !== revision) return `${host} is not of revision ${revision}`;
  if (typeof headers['content-type'] !== 'string') return 'the answer has no type';
  const { 'content-encoding': encoding = 'identity' } = headers;
  return encoding === 'identity' ? undefined : 'the answer is compressed, which it was not asked to be';
}
