import { setTimeout as sleep } from 'node:timers/promises';
import { type Dispatcher, request } from 'undici';
import type { Connection } from './connection.ts';
import { ApiError } from './errors.ts';

export type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** A text is sent as it is. */
  readonly body?: object | string;
  readonly contentType?: string;
  readonly timeoutMilliseconds?: number;
  readonly signal?: AbortSignal;
  /** More than this of an answer is an error. */
  readonly maxBytes?: number;
  /** How often a throttled request is sent; 5 times when absent. */
  readonly attempts?: number;
}

/** Speaks to the API server in plain JSON. */
export interface KubeClient {
  /**
   * @throws ApiError for an answer other than success; the error of the network for none
   */
  call<T>(method: Method, path: string, options?: CallOptions): Promise<T>;
  /** The lines of a watch, parsed. Ends when the API server ends it; throws when it stays silent for too long. */
  watch(path: string, query: CallOptions['query'], signal: AbortSignal): AsyncGenerator<unknown>;
}

/** A client whose every call ends, and none begins, once a signal is aborted. */
export function callsUntil(signal: AbortSignal, client: KubeClient): KubeClient {
  return {
    async call(method, path, options = {}) {
      signal.throwIfAborted();
      const both = options.signal === undefined ? signal : AbortSignal.any([signal, options.signal]);
      return client.call(method, path, { ...options, signal: both });
    },
    watch: (path, query, own) => client.watch(path, query, AbortSignal.any([signal, own])),
  };
}

export interface ClientOptions {
  readonly connection: () => Promise<Connection>;
  readonly userAgent: string;
  /** How long a watch may be silent. The API server sends a bookmark about once a minute, so more is a dead connection. */
  readonly watchSilenceMilliseconds?: number;
  /** Called for each answer: for metrics. */
  readonly onAnswer?: (method: Method, path: string, status: number) => void;
}

const defaultTimeoutMilliseconds = 30_000;
/** How often a throttled request is sent again before the caller is told. */
const throttledAttempts = 5;

export function createClient({
  connection,
  userAgent,
  onAnswer,
  watchSilenceMilliseconds = 150_000,
}: ClientOptions): KubeClient {
  const send = async (method: Method, path: string, options: CallOptions, bodyTimeout: number) => {
    const { server, dispatcher, headers } = await connection();
    const response = await request(server + path, {
      method,
      dispatcher,
      headersTimeout: options.timeoutMilliseconds ?? defaultTimeoutMilliseconds,
      bodyTimeout,
      headers: {
        ...headers,
        accept: 'application/json',
        'user-agent': userAgent,
        ...(options.body === undefined ? {} : { 'content-type': options.contentType ?? 'application/json' }),
      },
      ...(options.query === undefined ? {} : { query: defined(options.query) }),
      ...(options.body === undefined
        ? {}
        : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    onAnswer?.(method, path, response.statusCode);
    if (response.statusCode >= 400) throw await readError(response, `${method} ${path}`);
    return response;
  };

  return {
    async call<T>(method: Method, path: string, options: CallOptions = {}) {
      const timeout = options.timeoutMilliseconds ?? defaultTimeoutMilliseconds;
      const { signal, maxBytes = Number.POSITIVE_INFINITY, attempts = throttledAttempts } = options;
      const response = await whileThrottled(() => send(method, path, options, timeout), attempts, signal);
      return JSON.parse(await readText(response, maxBytes)) as T;
    },
    async *watch(path, query, signal) {
      const response = await send('GET', path, { query: { ...query, watch: true }, signal }, watchSilenceMilliseconds);
      const decoder = new TextDecoder();
      let rest = '';
      for await (const chunk of response.body) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') yield JSON.parse(line);
      }
    },
  };
}

/** Sends again what the API server throttles, as late as it asks for. */
async function whileThrottled<T>(
  sendOnce: () => Promise<T>,
  attempts: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await sendOnce();
    } catch (error) {
      const throttled = error instanceof ApiError && error.status === 429 && attempt < attempts;
      if (!throttled) throw error;
      await sleep(error.retryAfterMilliseconds ?? 1000, undefined, signal === undefined ? {} : { signal });
    }
  }
}

function defined(query: NonNullable<CallOptions['query']>): Record<string, string | number | boolean> {
  const entries: [string, string | number | boolean][] = [];
  for (const [name, value] of Object.entries(query)) if (value !== undefined) entries.push([name, value]);
  return Object.fromEntries(entries);
}

async function readError(response: Dispatcher.ResponseData, what: string): Promise<ApiError> {
  const text = await readText(response, maxErrorBytes);
  const seconds = Number(response.headers['retry-after']);
  const retryAfter = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  const { reason, message } = parseStatus(text);
  const code = response.statusCode;
  return new ApiError(
    code,
    reason ?? `Status${code}`,
    message ?? `${what} was answered ${code}: ${text.slice(0, 200)}`,
    retryAfter,
  );
}

/** What the API server says of an error is far shorter; what a pod says through its proxy may be anything. */
const maxErrorBytes = 1_048_576;

/** @throws Error when there is more */
async function readText({ body }: Dispatcher.ResponseData, maxBytes: number): Promise<string> {
  if (maxBytes === Number.POSITIVE_INFINITY) return body.text();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`the answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parseStatus(text: string): { readonly reason?: string; readonly message?: string } {
  try {
    const { reason, message }: { reason?: unknown; message?: unknown } = JSON.parse(text);
    return {
      ...(typeof reason === 'string' && reason !== '' ? { reason } : {}),
      ...(typeof message === 'string' ? { message } : {}),
    };
  } catch {
    return {};
  }
}
