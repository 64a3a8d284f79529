import { connect, type Socket } from 'node:net';
import type { Caller } from './load.ts';

const headEnd = Buffer.from('\r\n\r\n');

/** A connection over HTTP/1.1 that reads no more of an answer than whether it is one, and where it ends. */
export class HttpCaller implements Caller {
  readonly latencies: number[] = [];
  failed = 0;
  readonly #socket: Socket;
  readonly #requests: readonly Buffer[];
  readonly #isOver: () => boolean;
  #sent = 0;
  #next = 0;
  /** Of the answer's body, how many bytes have not come yet. */
  #left = 0;
  #head: Buffer = Buffer.alloc(0);

  /** @param requests that are sent one after the other, and again from the first */
  constructor(port: number, requests: readonly Buffer[], isOver: () => boolean) {
    this.#requests = requests;
    this.#isOver = isOver;
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.setNoDelay(true);
    this.#socket.on('connect', () => this.#send());
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#socket.on('end', () => this.failed++);
    this.#socket.on('error', () => this.failed++);
  }

  async closed(): Promise<void> {
    await new Promise((resolve) => this.#socket.once('close', resolve));
  }

  #send(): void {
    this.#sent = performance.now();
    this.#socket.write(this.#requests[this.#next] ?? '');
    this.#next = (this.#next + 1) % this.#requests.length;
  }

  #take(chunk: Buffer): void {
    if (this.#left > 0) this.#left -= chunk.length;
    else if (!this.#takeHead(chunk)) return;
    if (this.#left > 0) return;
    this.latencies.push(performance.now() - this.#sent);
    if (this.#isOver()) this.#socket.destroy();
    else this.#send();
  }

  /** @returns whether the head is there */
  #takeHead(chunk: Buffer): boolean {
    const head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    const end = head.indexOf(headEnd);
    this.#head = end === -1 ? head : head.subarray(head.length);
    if (end === -1) return false;
    const text = head.toString('latin1', 0, end);
    const length = /^content-length: *(\d+)/im.exec(text)?.[1];
    if (!text.startsWith('HTTP/1.1 200') || length === undefined) this.failed++;
    this.#left = end + headEnd.length + Number(length ?? 0) - head.length;
    return true;
  }
}
