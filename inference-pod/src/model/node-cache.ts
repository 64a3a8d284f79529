import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import {
  type BundleHeader,
  type BundlePart,
  BundleReader,
  bundleHeaderLine,
  bytesOfFiles,
  InvalidBundle,
} from '../../../contract/src/model-bundle.ts';
import { cachedModelPath } from '../../../contract/src/node-cache.ts';
import { type CacheAnswer, getFromCache } from './cache-connection.ts';

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
  { signal, ...limits }: TakeOptions,
): Promise<BundleHeader | undefined> {
  const patience = new Patience(signal);
  let answer: CacheAnswer | undefined;
  try {
    patience.atMost(answerMilliseconds);
    const to = new URL(cachedModelPath(sha256), url);
    answer = await getFromCache(to, await authorization(tokenFile), patience.signal);
    const { status, body } = answer;
    if (status === 404) return undefined;
    if (status !== 200) throw new Error(refusal(status, await textOf(body)));
    const onHeader = (bytes: number) => patience.atMost(answerMilliseconds + bytes / leastBytesPerMillisecond);
    const header = await unbundle(body, new BundleReader(sha256), folder, { ...limits, onHeader });
    if (header?.signature !== undefined) await writeFile(signaturePath, header.signature);
    return header;
  } catch (error) {
    if (error instanceof InvalidBundle) await forgetModel({ url, tokenFile }, sha256, signal).catch(() => undefined);
    throw error;
  } finally {
    patience.end();
    answer?.end();
  }
}

/** Puts the files of a bundle where they belong, while they are checked. */
async function unbundle(
  chunks: AsyncIterable<Buffer>,
  reader: BundleReader,
  folder: string,
  { maxBytes, onProgress, onHeader }: Omit<TakeOptions, 'signal'> & { readonly onHeader: (bytes: number) => void },
): Promise<BundleHeader | undefined> {
  const files = new Files(folder);
  let header: BundleHeader | undefined;
  let total = 0;
  const take = async (part: BundlePart) => {
    switch (part.kind) {
      case 'header':
        header = part.header;
        total = bytesOfFiles(header.files);
        if (total > maxBytes) throw new Error(`the model has ${total} bytes, and ${maxBytes} are accepted`);
        return onHeader(total);
      case 'file':
        return files.begin(part.file.path);
      case 'bytes':
        return files.write(part.bytes);
    }
  };
  try {
    for await (const chunk of chunks) {
      for (const part of reader.read(chunk)) await take(part);
      if (header !== undefined) onProgress(files.bytes, total);
    }
    reader.end();
  } finally {
    await files.end();
  }
  return header;
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
  const dispatcher = await cacheDispatcher();
  try {
    for (let tries = 1; ; tries++) {
      const answer = await offeredOnce(dispatcher, { url, tokenFile }, sha256, folder, header, signal);
      if (answer !== 'busy') return answer === 'taken';
      if (tries === mostOffers) throw new Error('it is busy with others');
      await sleep(offerMilliseconds, undefined, { signal });
    }
  } finally {
    await dispatcher.destroy();
  }
}

/** Another pod may be offering the same. */
const mostOffers = 30;
const offerMilliseconds = 2_000;

async function offeredOnce(
  dispatcher: Dispatcher,
  { url, tokenFile }: NodeCache,
  sha256: string,
  folder: string,
  header: BundleHeader,
  signal: AbortSignal,
): Promise<'taken' | 'known' | 'busy'> {
  const line = bundleHeaderLine(header);
  const length = line.length + bytesOfFiles(header.files);
  const patience = new Patience(signal);
  const to = { origin: url, path: cachedModelPath(sha256) };
  try {
    patience.atMost(answerMilliseconds);
    const headers = await authorization(tokenFile);
    const known = await dispatcher.request({ ...to, method: 'HEAD', headers, signal: patience.signal });
    await known.body.dump();
    if (known.statusCode === 200) return 'known';
    if (known.statusCode === 409) return 'busy';
    patience.atMost(2 * answerMilliseconds + length / leastBytesPerMillisecond);
    const answer = await dispatcher.request({
      ...to,
      method: 'PUT',
      headers: { ...headers, 'content-length': String(length), 'content-type': 'application/octet-stream' },
      body: Readable.from(bundle(line, folder, header)),
      signal: patience.signal,
    });
    if (answer.statusCode === 409) return 'busy';
    if (answer.statusCode !== 201) throw new Error(refusal(answer.statusCode, await answer.body.text()));
    await answer.body.dump();
    return 'taken';
  } catch (error) {
    // It has refused before all was sent: what it says then is lost.
    if (isBroken(error)) return 'busy';
    throw error;
  } finally {
    patience.end();
  }
}

const broken: readonly unknown[] = ['EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET'];

function isBroken(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && broken.includes(error.code);
}

async function* bundle(line: Buffer, folder: string, { files }: BundleHeader): AsyncGenerator<Buffer> {
  yield line;
  for (const { path } of files) yield* createReadStream(join(folder, path)) as AsyncIterable<Buffer>;
}

/** Has the cache throw a model away that is not as it has to be: it would be sent to the next one as well. */
export async function forgetModel({ url, tokenFile }: NodeCache, sha256: string, signal: AbortSignal): Promise<void> {
  const dispatcher = await cacheDispatcher();
  try {
    const { body } = await dispatcher.request({
      origin: url,
      path: cachedModelPath(sha256),
      method: 'DELETE',
      headers: await authorization(tokenFile),
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMilliseconds)]),
    });
    await body.dump();
  } finally {
    await dispatcher.destroy();
  }
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

function refusal(status: number, text: string): string {
  return `it answered ${status}: ${text.slice(0, 300)}`;
}

const mostRefusalBytes = 65_536;

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  let text = '';
  for await (const chunk of body) {
    text += chunk;
    if (text.length > mostRefusalBytes) break;
  }
  return text;
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

/** Files that are written one after another: what comes next is looked at while what came before is written. */
class Files {
  readonly #folder: string;
  #file: Awaited<ReturnType<typeof open>> | undefined;
  #writing: Promise<void> | undefined;
  /** Of all files until now. */
  bytes = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async begin(path: string): Promise<void> {
    await this.end();
    const whole = join(this.#folder, path);
    await mkdir(dirname(whole), { recursive: true });
    this.#file = await open(whole, 'wx');
  }

  async write(chunk: Buffer): Promise<void> {
    await this.#writing;
    this.#writing = this.#file?.appendFile(chunk);
    // That it has failed is told to who waits for it.
    this.#writing?.catch(() => undefined);
    this.bytes += chunk.length;
  }

  async end(): Promise<void> {
    const [file, writing] = [this.#file, this.#writing];
    this.#file = undefined;
    this.#writing = undefined;
    try {
      await writing;
    } finally {
      await file?.close();
    }
  }
}
