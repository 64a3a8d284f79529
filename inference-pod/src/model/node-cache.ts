import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import {
  type BundleHeader,
  bundleHeaderLine,
  bytesOfFiles,
  InvalidBundle,
  readBundle,
} from '../../../contract/src/model-bundle.ts';
import { cachedModelPath } from '../../../contract/src/node-cache.ts';

/** The cache of the node that this pod runs on. */
export interface NodeCache {
  readonly url: string;
  /** With a token of the pod's service account for the cache; the kubelet renews it. */
  readonly tokenFile: string;
}

export interface TakeOptions {
  readonly maxBytes: number;
  readonly onProgress: (bytes: number, totalBytes: number) => void;
  readonly signal: AbortSignal;
}

/** A cache is as near as can be: one that is slower is no help. */
const connectMilliseconds = 1_000;
const answerMilliseconds = 5_000;
const stallMilliseconds = 10_000;
const leastBytesPerMillisecond = 10_000;

/**
 * Takes a model from the cache, and checks that its files are those of the digest.
 *
 * @param folder where its files are put; what is there after a failure is none of them
 * @param signaturePath where its signature is put, if it has one there
 * @returns undefined where the cache does not have it
 * @throws Error where the cache is away, too slow, or has something else
 */
export async function takeModel(
  { url, tokenFile }: NodeCache,
  sha256: string,
  folder: string,
  signaturePath: string,
  { maxBytes, onProgress, signal }: TakeOptions,
): Promise<BundleHeader | undefined> {
  const patience = new Patience(signal);
  const dispatcher = await cacheDispatcher();
  try {
    patience.atMost(answerMilliseconds);
    const answer = await dispatcher.request({
      origin: url,
      path: cachedModelPath(sha256),
      method: 'GET',
      headers: await authorization(tokenFile),
      signal: patience.signal,
    });
    if (answer.statusCode === 404) return undefined;
    if (answer.statusCode !== 200) throw new Error(await refusal(answer));
    return await unbundle(answer.body);
  } catch (error) {
    if (!(error instanceof InvalidBundle)) throw error;
    // It would be sent to the next one as well.
    await forget({ url, tokenFile }, sha256, dispatcher, signal).catch(() => undefined);
    throw error;
  } finally {
    patience.end();
    await dispatcher.destroy();
  }

  async function unbundle(chunks: AsyncIterable<Buffer>): Promise<BundleHeader | undefined> {
    const files = new Files(folder);
    let header: BundleHeader | undefined;
    let total = 0;
    try {
      for await (const part of readBundle(chunks, sha256)) {
        switch (part.kind) {
          case 'header':
            header = part.header;
            total = bytesOfFiles(header.files);
            if (total > maxBytes) throw new Error(`the model has ${total} bytes, and ${maxBytes} are accepted`);
            patience.atMost(answerMilliseconds + total / leastBytesPerMillisecond);
            break;
          case 'file':
            await files.begin(part.file.path);
            break;
          case 'bytes':
            onProgress(await files.write(part.bytes), total);
            break;
        }
      }
    } finally {
      await files.end();
    }
    if (header?.signature !== undefined) await writeFile(signaturePath, header.signature);
    return header;
  }
}

/**
 * Gives a model that was fetched and verified to the cache, for other pods of its namespace on this node.
 *
 * @param folder where its files are
 * @returns whether the cache has taken it, and had not had it
 * @throws Error where the cache is away, or does not take it
 */
export async function offerModel(
  { url, tokenFile }: NodeCache,
  sha256: string,
  folder: string,
  header: BundleHeader,
  signal: AbortSignal,
): Promise<boolean> {
  const line = bundleHeaderLine(header);
  const length = line.length + bytesOfFiles(header.files);
  const patience = new Patience(signal);
  const dispatcher = await cacheDispatcher();
  const to = { origin: url, path: cachedModelPath(sha256) };
  try {
    patience.atMost(answerMilliseconds);
    const headers = await authorization(tokenFile);
    const known = await dispatcher.request({ ...to, method: 'HEAD', headers, signal: patience.signal });
    await known.body.dump();
    if (known.statusCode === 200) return false;
    patience.atMost(2 * answerMilliseconds + length / leastBytesPerMillisecond);
    const answer = await dispatcher.request({
      ...to,
      method: 'PUT',
      headers: { ...headers, 'content-length': String(length), 'content-type': 'application/octet-stream' },
      body: Readable.from(bundle(line, folder, header)),
      signal: patience.signal,
    });
    if (answer.statusCode !== 201 && answer.statusCode !== 409) throw new Error(await refusal(answer));
    await answer.body.dump();
    return answer.statusCode === 201;
  } finally {
    patience.end();
    await dispatcher.destroy();
  }
}

async function* bundle(line: Buffer, folder: string, { files }: BundleHeader): AsyncGenerator<Buffer> {
  yield line;
  for (const { path } of files) yield* createReadStream(join(folder, path)) as AsyncIterable<Buffer>;
}

async function forget(
  { url, tokenFile }: NodeCache,
  sha256: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
): Promise<void> {
  const { body } = await dispatcher.request({
    origin: url,
    path: cachedModelPath(sha256),
    method: 'DELETE',
    headers: await authorization(tokenFile),
    signal: AbortSignal.any([signal, AbortSignal.timeout(answerMilliseconds)]),
  });
  await body.dump();
}

/** Never through a proxy. */
async function cacheDispatcher(): Promise<Dispatcher> {
  // A pod without a cache does without it, and without its memory.
  const { Agent } = await import('undici');
  return new Agent({
    connect: { timeout: connectMilliseconds },
    headersTimeout: 0,
    bodyTimeout: stallMilliseconds,
  });
}

async function authorization(tokenFile: string): Promise<{ readonly authorization: string }> {
  return { authorization: `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}` };
}

async function refusal({ statusCode, body }: Dispatcher.ResponseData): Promise<string> {
  const text = await body.text();
  return `it answered ${statusCode}: ${text.slice(0, 300)}`;
}

/** A signal that comes when something takes too long, of which there is more than one in a row. */
class Patience {
  readonly signal: AbortSignal;
  readonly #late = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.#late.signal]);
  }

  /** Of what comes now; what was before is over. */
  atMost(milliseconds: number): void {
    this.end();
    const reason = new Error(`it takes more than ${Math.round(milliseconds)} ms`);
    this.#timer = setTimeout(() => this.#late.abort(reason), milliseconds);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Files that are written one after another. */
class Files {
  readonly #folder: string;
  #file: Awaited<ReturnType<typeof open>> | undefined;
  #bytes = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async begin(path: string): Promise<void> {
    await this.end();
    const whole = join(this.#folder, path);
    await mkdir(dirname(whole), { recursive: true });
    this.#file = await open(whole, 'wx');
  }

  /** @returns the bytes of all files until now */
  async write(chunk: Buffer): Promise<number> {
    await this.#file?.appendFile(chunk);
    this.#bytes += chunk.length;
    return this.#bytes;
  }

  async end(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}
