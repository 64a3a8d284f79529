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

/** Where the model itself is in its folder, whatever it is called where it comes from. */
export const modelPath = 'model.onnx';
/** Where its signature is, which is none of its files. */
export const signaturePath = '.signature';

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
  // The digest is of names: where a file lies must follow from its name.
  if (first.path !== modelPath || others.some(({ path, name }) => path !== name || path === signaturePath))
    throw new InvalidBundle('a file of the header lies elsewhere than its name says');
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
 */
export class BundleReader {
  readonly #sha256: string;
  /** Of the header, until all of it has come. */
  #line: Buffer[] | undefined = [];
  #lineBytes = 0;
  #files: readonly BundledFile[] = [];
  #at = -1;
  /** Of the file that is read now. */
  #left = 0;
  #hash = createHash('sha256');

  /** @param sha256 what the model is to have */
  constructor(sha256: string) {
    this.#sha256 = sha256;
  }

  /**
   * @param chunk what comes next; the parts share its memory
   * @throws InvalidBundle for other bytes than there are to be, or more
   */
  *read(chunk: Buffer): Generator<BundlePart> {
    const rest = this.#line === undefined ? chunk : yield* this.#readLine(chunk, this.#line);
    yield* this.#readFiles(rest);
  }

  /** @throws InvalidBundle where the end is not reached */
  end(): void {
    if (this.#line !== undefined) throw new InvalidBundle('it ends within its header');
    if (this.#at < this.#files.length) throw new InvalidBundle(`it ends ${this.#left} bytes before the end of a file`);
  }

  /** @returns what follows the line */
  *#readLine(chunk: Buffer, before: Buffer[]): Generator<BundlePart, Buffer> {
    const end = chunk.indexOf(0x0a);
    const part = end === -1 ? chunk : chunk.subarray(0, end);
    this.#lineBytes += part.length;
    if (this.#lineBytes >= mostHeaderBytes)
      throw new InvalidBundle(`its header has more than ${mostHeaderBytes} bytes`);
    before.push(part);
    if (end === -1) return chunk.subarray(chunk.length);
    this.#line = undefined;
    const header = parseBundleHeader(Buffer.concat(before), this.#sha256);
    this.#files = header.files;
    yield { kind: 'header', header };
    yield* this.#next();
    return chunk.subarray(end + 1);
  }

  *#readFiles(bytes: Buffer): Generator<BundlePart> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#at === this.#files.length) throw new InvalidBundle('there are more bytes than the header says');
      const part = rest.subarray(0, this.#left);
      rest = rest.subarray(part.length);
      this.#left -= part.length;
      this.#hash.update(part);
      yield { kind: 'bytes', bytes: part };
      if (this.#left === 0) yield* this.#finished();
    }
  }

  *#finished(): Generator<BundlePart> {
    const file = this.#files[this.#at];
    const found = this.#hash.digest('hex');
    if (file !== undefined && found !== file.sha256)
      throw new InvalidBundle(`${file.name} has sha256 ${found}, not ${file.sha256}`);
    yield* this.#next();
  }

  /** Begins with the next file; of one without bytes, it is the end as well. */
  *#next(): Generator<BundlePart> {
    this.#at += 1;
    const file = this.#files[this.#at];
    if (file === undefined) return;
    this.#hash = createHash('sha256');
    this.#left = file.bytes;
    yield { kind: 'file', file };
    if (file.bytes === 0) yield* this.#finished();
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
    // In a list of digests, an end of a line would be that of another file.
    name: pathOf(name),
    location: textOf(location, 'location of a file', mostLocationLength),
    bytes,
    sha256,
  };
}

/** A path that stays in its folder wherever that is. */
function pathOf(value: unknown): string {
  const path = textOf(value, 'path or name of a file', mostPathLength);
  const isInside = path.split('/').every((step) => step !== '' && step !== '.' && step !== '..');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (isInside && !/[\x00-\x1f\x7f]/.test(path)) return path;
  throw new InvalidBundle('path or name of a file of the header leaves the folder of the model');
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
