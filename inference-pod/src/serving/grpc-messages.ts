import type { ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { createGunzip, createInflate } from 'node:zlib';
import { RequestError } from '../protocol/request-error.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import type { Transfer, Transfers } from './transfers.ts';

/** What stands before each message: whether it is compressed, and its length. */
export const prefixBytes = 5;

/** The messages of a call, each behind a prefix of five bytes: whether it is compressed, and its length. */
export class Messages {
  readonly #stream: ServerHttp2Stream;
  readonly #encoding: string | undefined;
  readonly #mostBytes: number;
  readonly #transfers: Transfers;
  readonly #collected = new GrowingBuffer();
  readonly #onData = (chunk: Buffer) => this.#take(chunk);
  readonly #onOver = () => this.#over();
  /** Of the message that comes or is answered; undefined between messages. */
  #transfer: Transfer | undefined;
  #isOver = false;
  #failure: RequestError | undefined;
  #wake: (() => void) | undefined;

  constructor(
    stream: ServerHttp2Stream,
    encoding: string | string[] | undefined,
    mostBytes: number,
    transfers: Transfers,
  ) {
    this.#stream = stream;
    this.#encoding = encoding === undefined ? undefined : String(encoding);
    this.#mostBytes = mostBytes;
    this.#transfers = transfers;
    stream.on('data', this.#onData);
    stream.on('end', this.#onOver);
    stream.on('close', this.#onOver);
  }

  #begin(): Transfer {
    return this.#transfers.begin((reason) =>
      this.fail(
        reason === 'slow'
          ? new RequestError(408, 'the message comes too slowly')
          : new RequestError(503, 'the server is full: too many bytes are in flight, try again'),
      ),
    );
  }

  #take(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    this.#transfer ??= this.#begin();
    if (!this.#transfer.reserve(chunk.length)) {
      this.fail(new RequestError(503, 'the server is full: too many bytes are in flight, try again'));
      return;
    }
    this.#collected.add(chunk);
    // What comes beyond the message that is read now waits at the client.
    if (this.#collected.length > this.#mostBytes + prefixBytes) this.#stream.pause();
    this.#wake?.();
  }

  #over(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  /** Whether a message comes, or is being answered. */
  get hasBegun(): boolean {
    return this.#transfer !== undefined;
  }

  /** Ends the waiting for messages. */
  fail(failure: RequestError): void {
    this.#failure ??= failure;
    this.#wake?.();
  }

  /** Waits for the next message. @returns undefined when there is none any more */
  async next(): Promise<Buffer | undefined> {
    if (!(await this.#has(prefixBytes))) {
      if (this.#collected.length > 0) throw new RequestError(400, 'the message ended early');
      return undefined;
    }
    const prefix = this.#collected.peek(prefixBytes);
    const isCompressed = prefix[0] !== 0;
    const length = prefix.readUInt32BE(1);
    if (length > this.#mostBytes) throw this.#tooLarge();
    this.#collected.expect(prefixBytes + length);
    if (!(await this.#has(prefixBytes + length))) throw new RequestError(400, 'the message ended early');
    const message = this.#collected.take(prefixBytes + length).subarray(prefixBytes);
    this.#transfer?.settle();
    return isCompressed ? this.#decompress(message) : message;
  }

  #tooLarge(): RequestError {
    return new RequestError(413, `the message is larger than the ${this.#mostBytes} bytes that this server accepts`);
  }

  /** The last message has been answered: the next has all the time again. */
  answered(): void {
    this.#transfer?.end();
    this.#transfer = undefined;
    if (this.#collected.length > 0) {
      this.#transfer = this.#begin();
      if (!this.#transfer.reserve(this.#collected.length)) {
        this.fail(new RequestError(503, 'the server is full: too many bytes are in flight, try again'));
      }
    }
    this.#stream.resume();
  }

  end(): void {
    this.#stream.off('data', this.#onData);
    this.#stream.off('end', this.#onOver);
    this.#stream.off('close', this.#onOver);
    this.#transfer?.end();
    this.#transfer = undefined;
    this.#collected.take(this.#collected.length);
    this.#stream.resume();
  }

  /** Counted as it grows, as everything that a client makes the pod hold. */
  async #decompress(message: Buffer): Promise<Buffer> {
    const inflater = this.#inflater();
    const whole = new GrowingBuffer();
    inflater.end(message);
    try {
      for await (const chunk of inflater as AsyncIterable<Buffer>) {
        if (whole.length + chunk.length > this.#mostBytes) throw this.#tooLarge();
        if (this.#transfer?.reserve(chunk.length) === false) {
          throw new RequestError(503, 'the server is full: too many bytes are in flight, try again');
        }
        whole.add(chunk);
      }
    } catch (error) {
      throw error instanceof RequestError ? error : new RequestError(400, `the message is not ${this.#encoding}`);
    }
    return whole.take(whole.length);
  }

  #inflater(): Duplex {
    if (this.#encoding === 'gzip') return createGunzip();
    if (this.#encoding === 'deflate') return createInflate();
    throw new RequestError(415, `the encoding ${this.#encoding} is not supported: send gzip, deflate or none`);
  }

  async #has(bytes: number): Promise<boolean> {
    while (this.#collected.length < bytes && !this.#isOver && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#collected.length >= bytes;
  }
}
