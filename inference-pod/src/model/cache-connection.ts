import { connect, type Socket } from 'node:net';

/** What the cache of a node answers. */
export interface CacheAnswer {
  readonly status: number;
  /** Ends with an error where the connection ends before all of it has come. */
  readonly body: AsyncIterable<Buffer>;
  /** Nothing more of it is wanted. */
  end(): void;
}

/** Read at once: of smaller pieces, a model of a gigabyte would be ten thousands. */
const chunkBytes = 2 ** 20;
/** While something is waited for. */
const stallMilliseconds = 5_000;
/** Read ahead of who takes them. */
const mostWaiting = 4;
const mostHeadBytes = 65_536;

/**
 * Asks the cache of a node for something by GET, over a connection of its own. HTTP/1.1 (RFC 9112) with a length, which is what a cache
 * answers with: the streams of Node's and of undici's clients take twice the time, and that is most of what a pod waits for here
 * (`npm run bench -- cache`).
 *
 * @param headers beside `host` and `connection`
 * @throws the signal's reason; what the connection throws; Error for an answer that is none
 */
export async function getFromCache(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<CacheAnswer> {
  signal.throwIfAborted();
  const chunks = new SocketChunks(url, signal);
  const fields = { host: url.host, connection: 'close', ...headers };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  if (lines.some((line) => /[\r\n]/.test(line.slice(0, -2)))) throw new Error('the token has more than one line');
  chunks.send(`GET ${url.pathname} HTTP/1.1\r\n${lines.join('')}\r\n`);
  const { head, rest } = await readHead(chunks);
  const [, status] = /^HTTP\/1\.[01] (\d{3})[ \r]/.exec(head) ?? [];
  const [, length] = /\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n/i.exec(head) ?? [];
  if (status === undefined || length === undefined) {
    chunks.end();
    throw new Error('it answers with something else than HTTP with a length');
  }
  return { status: Number(status), body: bodyOf(chunks, rest, Number(length)), end: () => chunks.end() };
}

async function readHead(chunks: SocketChunks): Promise<{ readonly head: string; readonly rest: Buffer }> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const chunk = await chunks.next();
    if (chunk === undefined) throw new Error('it ends the connection before it has answered');
    bytes = Buffer.concat([bytes, chunk]);
    const end = bytes.indexOf('\r\n\r\n');
    // With the end of the last line.
    if (end !== -1) return { head: bytes.toString('latin1', 0, end + 2), rest: bytes.subarray(end + 4) };
    if (bytes.length <= mostHeadBytes) continue;
    chunks.end();
    throw new Error(`its answer has more than ${mostHeadBytes} bytes of headers`);
  }
}

async function* bodyOf(chunks: SocketChunks, first: Buffer, length: number): AsyncGenerator<Buffer> {
  let left = length;
  for (let chunk: Buffer | undefined = first; left > 0; chunk = await chunks.next()) {
    if (chunk === undefined) throw new Error(`it ended ${left} bytes before the end of its answer`);
    const taken = chunk.subarray(0, left);
    left -= taken.length;
    if (taken.length > 0) yield taken;
  }
}

const stalledMessage = `it sends nothing for ${stallMilliseconds} ms`;

/** What comes over a connection, read into one buffer and copied from there. */
class SocketChunks {
  readonly #socket: Socket;
  readonly #waiting: Buffer[] = [];
  #wake: () => void = () => undefined;
  #isClosed = false;
  #error: unknown;

  constructor({ hostname, port }: URL, signal: AbortSignal) {
    const onChunk = (bytes: number, buffer: Uint8Array) => {
      this.#waiting.push(Buffer.from(buffer.subarray(0, bytes)));
      this.#wake();
      return this.#waiting.length < mostWaiting;
    };
    const host = hostname.replace(/^\[|\]$/g, '');
    const onread = { buffer: Buffer.allocUnsafeSlow(chunkBytes), callback: onChunk };
    this.#socket = connect({ host, port: Number(port === '' ? 80 : port), onread, signal });
    this.#socket.on('error', (error) => {
      this.#error = signal.aborted ? signal.reason : error;
    });
    // The other side has said all.
    this.#socket.on('end', () => this.#socket.end());
    this.#socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /** @returns undefined once all has come */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#waiting.shift();
      if (chunk !== undefined) {
        this.#socket.resume();
        return chunk;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#isClosed) return undefined;
      const stalled = setTimeout(() => this.#socket.destroy(new Error(stalledMessage)), stallMilliseconds);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      clearTimeout(stalled);
    }
  }

  end(): void {
    this.#socket.destroy();
  }
}
