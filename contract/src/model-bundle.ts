import { createHash } from 'node:crypto';

/**
 * A model as a node's cache keeps and sends it: one line of JSON, which is a BundleHeader, and then the bytes of its files, in the
 * order and with the lengths that the header says.
 */
export interface BundleHeader {
  /** The model itself first. */
  readonly files: readonly [BundledFile, ...BundledFile[]];
  /** What its URI had led to, where that may move. */
  readonly resolvedUri?: string;
  /** The signature of the model as it stands in its store. */
  readonly signature?: string;
}

export interface BundledFile {
  /** Where it is in the folder of the model. */
  readonly path: string;
  /** Its name beside the model, or that of the model. */
  readonly name: string;
  /** Where it was in its store. */
  readonly location: string;
  readonly bytes: number;
  /** Of its bytes, in lower-case hexadecimal. */
  readonly sha256: string;
}

/** What is none; the message says why. */
export class InvalidBundle extends Error {
  override readonly name = 'InvalidBundle';
}

/** Of the line, with the end of it. */
export const mostHeaderBytes = 4 * 2 ** 20;
const mostFiles = 2048;
const mostPathLength = 1024;
const mostLocationLength = 4096;
const mostResolvedLength = 2048;
const mostSignatureLength = 2 ** 20;

/**
 * The digest of a model that has several files: the SHA-256 of what `sha256sum` prints of them, in the order of their names. One
 * file alone has its own.
 *
 * @returns lower-case hexadecimal
 */
export function digestOfFiles(files: readonly Pick<BundledFile, 'name' | 'sha256'>[]): string {
  const [only, ...others] = files;
  if (only !== undefined && others.length === 0) return only.sha256;
  const sorted = files.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  const text = sorted.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join('');
  return createHash('sha256').update(text).digest('hex');
}

/** Of the files, without the header. */
export function bytesOfFiles(files: readonly Pick<BundledFile, 'bytes'>[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

export function isSha256(text: unknown): text is string {
  return typeof text === 'string' && /^[0-9a-f]{64}$/.test(text);
}

/** The line, with the end of it. */
export function bundleHeaderLine({ files, resolvedUri, signature }: BundleHeader): Buffer {
  const header = {
    files: files.map(({ path, name, location, bytes, sha256 }) => ({ path, name, location, bytes, sha256 })),
    resolvedUri,
    signature,
  };
  return Buffer.from(`${JSON.stringify(header)}\n`);
}

/**
 * Reads a header, which may come from anybody.
 *
 * @param line without the end of it
 * @param sha256 what the model is to have
 * @throws InvalidBundle for what is none, or of another model, or would leave the folder of the model
 */
export function parseBundleHeader(line: Buffer, sha256: string): BundleHeader {
  const header = recordOf(parsed(line), 'the header');
  const { files: list, resolvedUri, signature } = header;
  if (!Array.isArray(list) || list.length > mostFiles)
    throw new InvalidBundle(`files of the header is no list of at most ${mostFiles} files`);
  const [first, ...others] = list.map(fileOf);
  if (first === undefined) throw new InvalidBundle('files of the header is empty');
  const files: BundleHeader['files'] = [first, ...others];
  if (new Set(files.map(({ path }) => path)).size < files.length)
    throw new InvalidBundle('two files of the header have the same path');
  if (digestOfFiles(files) !== sha256)
    throw new InvalidBundle(`the digests of the header are those of a model with sha256 ${digestOfFiles(files)}`);
  return {
    files,
    ...(resolvedUri === undefined ? {} : { resolvedUri: textOf(resolvedUri, 'resolvedUri', mostResolvedLength) }),
    ...(signature === undefined ? {} : { signature: textOf(signature, 'signature', mostSignatureLength) }),
  };
}

/** What is read of a bundle: its header, and then of each file that it begins, and its bytes. */
export type BundlePart =
  | { readonly kind: 'header'; readonly header: BundleHeader }
  | { readonly kind: 'file'; readonly file: BundledFile }
  | { readonly kind: 'bytes'; readonly bytes: Buffer };

/**
 * Reads a bundle as it comes, and checks that it is the model that it is to be. What was read before the end is none of it until the
 * end is reached.
 *
 * @param sha256 what the model is to have
 * @throws InvalidBundle for other bytes, or more or fewer of them; what the chunks throw
 */
export async function* readBundle(chunks: AsyncIterable<Buffer>, sha256: string): AsyncGenerator<BundlePart> {
  const bytes = new Bytes(chunks);
  const header = parseBundleHeader(await bytes.line(mostHeaderBytes), sha256);
  yield { kind: 'header', header };
  for (const file of header.files) {
    yield { kind: 'file', file };
    const hash = createHash('sha256');
    for await (const chunk of bytes.next(file.bytes)) {
      hash.update(chunk);
      yield { kind: 'bytes', bytes: chunk };
    }
    const found = hash.digest('hex');
    if (found !== file.sha256) throw new InvalidBundle(`${file.name} has sha256 ${found}, not ${file.sha256}`);
  }
  if (!(await bytes.isAtEnd())) throw new InvalidBundle('there are more bytes than the header says');
}

/** What comes in chunks of any length, by lengths that are asked for. */
class Bytes {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** @returns false where there are no more bytes */
  async #fill(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done === true) return false;
      this.#rest = value;
    }
    return true;
  }

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }

  /** @returns what is before the next line feed */
  async line(mostLength: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let length = 0; length < mostLength; ) {
      if (!(await this.#fill())) throw new InvalidBundle('it ends within its header');
      const end = this.#rest.indexOf(0x0a);
      const part = this.#take(end === -1 ? this.#rest.length : end);
      parts.push(part);
      length += part.length;
      if (end === -1) continue;
      this.#take(1);
      if (length < mostLength) return Buffer.concat(parts);
    }
    throw new InvalidBundle(`its header has more than ${mostLength} bytes`);
  }

  async *next(length: number): AsyncGenerator<Buffer> {
    for (let left = length; left > 0; ) {
      if (!(await this.#fill())) throw new InvalidBundle(`it ends ${left} bytes before the end of a file`);
      const chunk = this.#take(left);
      left -= chunk.length;
      yield chunk;
    }
  }

  async isAtEnd(): Promise<boolean> {
    return !(await this.#fill());
  }
}

function fileOf(value: unknown): BundledFile {
  const { path, name, location, bytes, sha256 } = recordOf(value, 'a file of the header');
  if (!isSha256(sha256))
    throw new InvalidBundle('sha256 of a file of the header is not 64 lower-case hexadecimal digits');
  if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0)
    throw new InvalidBundle('bytes of a file of the header is no number of bytes');
  return {
    path: pathOf(path),
    name: textOf(name, 'name of a file', mostPathLength),
    location: textOf(location, 'location of a file', mostLocationLength),
    bytes,
    sha256,
  };
}

/** A path that stays in its folder wherever that is. */
function pathOf(value: unknown): string {
  const path = textOf(value, 'path of a file', mostPathLength);
  const isInside = path.split('/').every((step) => step !== '' && step !== '.' && step !== '..');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (isInside && !/[\x00-\x1f\x7f]/.test(path)) return path;
  throw new InvalidBundle('path of a file of the header leaves the folder of the model');
}

function textOf(value: unknown, what: string, mostLength: number): string {
  if (typeof value === 'string' && value.length <= mostLength) return value;
  throw new InvalidBundle(`${what} of the header is no text of at most ${mostLength} characters`);
}

function parsed(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString());
  } catch {
    throw new InvalidBundle('the header is no JSON');
  }
}

function recordOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw new InvalidBundle(`${what} is no JSON object`);
}
