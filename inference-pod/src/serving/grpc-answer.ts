import { constants, type ServerHttp2Stream } from 'node:http2';
import { RequestError } from '../protocol/request-error.ts';
import { revisionHeader } from '../traffic/canary-answer.ts';
import { prefixBytes } from './grpc-messages.ts';
import type { GrpcStatus } from './grpc-status.ts';
import type { Transfers } from './transfers.ts';

/** How long what nobody reads is taken from a client. */
const discardMilliseconds = 10_000;
/** Clients take heads of a few KiB. */
const mostMessageLength = 1000;

/** As the specification has it: everything but printable ASCII, and the percent sign. */
function percentEncoded(message: string): string {
  return message
    .slice(0, mostMessageLength)
    .toWellFormed()
    .replace(/[^\x20-\x24\x26-\x7e]/gu, encodeURIComponent);
}

/** A stream that is reset while it is paused is closed and not destroyed, and cannot be answered either. */
export function isGone(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed;
}

const responseHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': 'identity,deflate,gzip',
};

/** What is sent back: messages, and at the end a status in trailers. */
export class GrpcAnswer {
  readonly #stream: ServerHttp2Stream;
  readonly #transfers: Transfers;
  #trailers: Readonly<Record<string, string>> = {};
  hasBegun = false;
  /** Whether no canary was asked first. */
  isOwn = true;
  /** That answers; undefined outside a cluster. */
  revision: string | undefined;

  constructor(stream: ServerHttp2Stream, transfers: Transfers, revision: string | undefined) {
    this.revision = revision;
    this.#stream = stream;
    this.#transfers = transfers;
    stream.on('wantTrailers', () => {
      if (!isGone(stream)) stream.sendTrailers({ ...this.#trailers });
    });
  }

  /**
   * Sends a message, and ends the stream of a client that does not take it.
   *
   * @param waits until it has been taken, so that the next is not made before
   */
  async write(pieces: readonly Uint8Array[], waits: boolean): Promise<void> {
    if (isGone(this.#stream)) return;
    if (!this.hasBegun) this.#stream.respond(this.#headers, { waitForTrailers: true });
    this.hasBegun = true;
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const transfer = this.#transfers.begin(() => this.#stream.close(constants.NGHTTP2_CANCEL), length);
    if (!transfer.reserve(length)) {
      transfer.end();
      throw new RequestError(503, 'the server is full: too many bytes are in flight, try again');
    }
    const prefix = Buffer.alloc(prefixBytes);
    prefix.writeUInt32BE(length, 1);
    this.#stream.cork();
    for (const piece of [prefix, ...pieces.slice(0, -1)]) this.#stream.write(piece);
    const taken = new Promise<void>((resolve) => {
      // Called when the client has taken it, or with an error when the stream is gone.
      this.#stream.write(pieces.at(-1) ?? Buffer.alloc(0), () => {
        transfer.end();
        resolve();
      });
    });
    this.#stream.uncork();
    if (waits) await taken;
  }

  get #headers() {
    return this.revision === undefined ? responseHeaders : { ...responseHeaders, [revisionHeader]: this.revision };
  }

  /** A client may go on sending for a while before it looks at the answer. */
  #discardRest(): void {
    if (this.#stream.readableEnded) return;
    this.#stream.resume();
    const timer = setTimeout(() => this.#stream.close(constants.NGHTTP2_NO_ERROR), discardMilliseconds);
    this.#stream.once('close', () => clearTimeout(timer));
  }

  end(status: GrpcStatus, message: string): void {
    if (isGone(this.#stream)) return;
    const trailers = {
      'grpc-status': String(status),
      ...(message === '' ? {} : { 'grpc-message': percentEncoded(message) }),
    };
    if (this.hasBegun) {
      this.#trailers = trailers;
      this.#stream.end();
    } else this.#stream.respond({ ...this.#headers, ...trailers }, { endStream: true });
    this.#discardRest();
  }
}
