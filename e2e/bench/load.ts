/**
 * A closed-loop HTTP/1.1 client that costs little: each of its connections sends the same request again as soon as it has the
 * whole answer. Run as a process of its own, pinned to a core that the server does not use.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';

export interface LoadSettings {
  readonly port: number;
  /** A file with the request, head and body. */
  readonly request: string;
  readonly connections: number;
  readonly seconds: number;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly failed: number;
  readonly p99Milliseconds: number;
}

const headEnd = Buffer.from('\r\n\r\n');

/** One connection, which asks again and again. */
class Connection {
  readonly latencies: number[] = [];
  failed = 0;
  readonly #socket: Socket;
  readonly #request: Buffer;
  readonly #isOver: () => boolean;
  #sent = 0;
  /** Of the answer's body, how many bytes have not come yet. */
  #left = 0;
  #head: Buffer = Buffer.alloc(0);

  constructor(port: number, request: Buffer, isOver: () => boolean) {
    this.#request = request;
    this.#isOver = isOver;
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.setNoDelay(true);
    this.#socket.on('connect', () => this.#send());
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** Waits until it is closed. */
  async closed(): Promise<void> {
    await once(this.#socket, 'close');
  }

  #send(): void {
    this.#sent = performance.now();
    this.#socket.write(this.#request);
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
    if (!text.startsWith('HTTP/1.1 200')) this.failed++;
    this.#left = end + headEnd.length + Number(/content-length: (\d+)/i.exec(text)?.[1]) - head.length;
    return true;
  }
}

async function run({ port, request, connections, seconds }: LoadSettings): Promise<LoadResult> {
  const bytes = readFileSync(request);
  const start = performance.now();
  const isOver = () => performance.now() - start > seconds * 1000;
  const clients = Array.from({ length: connections }, () => new Connection(port, bytes, isOver));
  await Promise.all(clients.map((client) => client.closed()));
  const took = (performance.now() - start) / 1000;
  const latencies = clients.flatMap((client) => client.latencies).sort((a, b) => a - b);
  return {
    perSecond: latencies.length / took,
    failed: clients.reduce((sum, client) => sum + client.failed, 0),
    p99Milliseconds: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
  };
}

const settings: LoadSettings = JSON.parse(process.argv[2] ?? '{}');
process.stdout.write(JSON.stringify(await run(settings)));
