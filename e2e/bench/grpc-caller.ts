import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import type { Caller } from './load.ts';

const headers = {
  ':method': 'POST',
  ':path': '/inference.GRPCInferenceService/ModelInfer',
  'content-type': 'application/grpc',
  te: 'trailers',
};

/** What came back of a call. */
export interface GrpcAnswer {
  /** '0' for one that was answered. */
  readonly status: string | undefined;
  readonly message: string | undefined;
  readonly body: Buffer;
}

/** Calls ModelInfer with a message in its frame. */
export function callGrpc(session: ClientHttp2Session, request: Buffer, done: (answer: GrpcAnswer) => void): void {
  const stream = session.request(headers);
  const chunks: Buffer[] = [];
  let last: IncomingHttpHeaders = {};
  stream.on('response', (received) => {
    last = received;
  });
  stream.on('trailers', (received: IncomingHttpHeaders) => {
    last = received;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  // What went wrong shows in that there is no status.
  stream.on('error', () => undefined);
  stream.on('close', () => {
    const status = last['grpc-status'];
    const message = last['grpc-message'];
    done({ status: status?.toString(), message: message?.toString(), body: Buffer.concat(chunks) });
  });
  stream.end(request);
}

/** A connection over HTTP/2 with one call at a time. */
export class GrpcCaller implements Caller {
  readonly latencies: number[] = [];
  failed = 0;
  readonly #session: ClientHttp2Session;
  readonly #request: Buffer;
  readonly #isOver: () => boolean;

  constructor(port: number, request: Buffer, isOver: () => boolean) {
    this.#request = request;
    this.#isOver = isOver;
    this.#session = connect(`http://127.0.0.1:${port}`);
    this.#session.on('error', () => this.failed++);
    this.#session.on('connect', () => this.#call());
  }

  async closed(): Promise<void> {
    await new Promise((resolve) => this.#session.once('close', resolve));
  }

  #call(): void {
    const sent = performance.now();
    callGrpc(this.#session, this.#request, ({ status }) => {
      this.latencies.push(performance.now() - sent);
      if (status !== '0') this.failed++;
      if (this.#isOver() || this.#session.closed || this.#session.destroyed) this.#session.destroy();
      else this.#call();
    });
  }
}
