import { Agent } from 'undici';
import { messageOf } from '../model/error-message.ts';
import { addressedTo, type CanaryAnswer, type CanaryRequest, revisionHeader } from './canary-answer.ts';

/** To one pod at once; more wait for one that is free. */
const mostConnections = 128;
const keepAliveMilliseconds = 30_000;
const connectMilliseconds = 1000;

/** Asks canaries over HTTP, on connections that are kept. */
export class HttpCanaries {
  readonly #agent = new Agent({
    connections: mostConnections,
    pipelining: 1,
    keepAliveTimeout: keepAliveMilliseconds,
    connect: { timeout: connectMilliseconds },
  });
  readonly #mostAnswerBytes: number;

  constructor(mostAnswerBytes: number) {
    this.#mostAnswerBytes = mostAnswerBytes;
  }

  /** Never rejects. */
  async ask(host: string, request: CanaryRequest): Promise<CanaryAnswer> {
    const { path, headers, body, revision, signal } = request;
    try {
      const response = await this.#agent.request({
        origin: `http://${host}`,
        path,
        method: 'POST',
        headers: { ...headers, ...addressedTo(revision) },
        body,
        signal,
      });
      if (response.headers[revisionHeader] !== revision) {
        await response.body.dump();
        return { kind: 'none', reason: `${host} is not of revision ${revision}` };
      }
      const { 'content-type': contentType, 'inference-header-content-length': headerLength } = response.headers;
      return {
        kind: 'answer',
        status: response.statusCode,
        contentType: String(contentType),
        headerLength: headerLength === undefined ? undefined : String(headerLength),
        body: await this.#read(response.body),
      };
    } catch (error) {
      return { kind: 'none', reason: messageOf(error) };
    }
  }

  async #read(body: AsyncIterable<Buffer>): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > this.#mostAnswerBytes) throw new Error(`the answer is larger than ${this.#mostAnswerBytes} bytes`);
      chunks.push(chunk);
    }
    return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
  }
}
