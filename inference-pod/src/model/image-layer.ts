import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { Parser, type ReadEntry } from 'tar';
import { shorten } from '../protocol/json-reader.ts';
import { isGzip } from './archive-format.ts';
import { describe } from './download.ts';
import { StartupError } from './startup-error.ts';
import { parserOptions, tarChunks } from './tar-chunks.ts';

/** What a layer says of a file: that it has it, that it has taken it away from those below, or nothing. */
export type InLayer = 'Present' | 'Removed' | 'Absent';

const whiteout = '.wh.';
/** In a folder that is not to show what those below have in it. */
const opaqueWhiteout = '.wh..wh..opq';

/**
 * The bytes of a file in a layer of an image (OCI Image Layer Filesystem Changeset). The layer is read to its end, so that its digest is checked.
 *
 * @param sha256 of the layer as it comes, in lower-case hexadecimal
 * @returns what the layer says of the file, once its bytes have come
 * @throws StartupError ModelDigestMismatch for another layer; ModelNotFound for what is no file; ModelFetchFailed for what is no layer;
 * what reading throws
 */
export async function* fileInLayer(
  layer: AsyncIterable<Buffer>,
  path: string,
  sha256: string,
): AsyncGenerator<Buffer, InLayer> {
  const hash = createHash('sha256');
  const hashed = (async function* () {
    for await (const chunk of layer) {
      hash.update(chunk);
      yield chunk;
    }
  })();
  const removals = new Set(removalsOf(path));
  const folders = new Set(foldersOf(path));
  let inLayer: InLayer = 'Absent';
  for await (const told of layerEntries(hashed, { path, others: new Set([...removals, ...folders]) })) {
    if (Buffer.isBuffer(told)) yield told;
    else if (told.name === path) {
      if (inLayer === 'Present') throw unlikeLayer(`it has '${shorten(path)}' twice`);
      inLayer = 'Present';
    } else if (inLayer === 'Absent' && (removals.has(told.name) || told.type !== 'Directory')) inLayer = 'Removed';
  }
  const found = hash.digest('hex');
  if (found === sha256) return inLayer;
  throw new StartupError(
    'ModelDigestMismatch',
    `a layer of the image has sha256 ${found}, and the manifest says ${sha256}: the registry, or somebody on the way, has changed it`,
  );
}

/** The folders that a file is in, the innermost first. */
function foldersOf(path: string): readonly string[] {
  const steps = path.split('/');
  return steps.slice(1).map((_, above) => steps.slice(0, steps.length - 1 - above).join('/'));
}

/** The names by which a layer takes away a file, or a folder that it is in. */
function removalsOf(path: string): readonly string[] {
  const names: string[] = [];
  for (const at of [path, ...foldersOf(path)]) {
    names.push(posix.join(posix.dirname(at), whiteout + posix.basename(at)));
    names.push(posix.join(posix.dirname(at), opaqueWhiteout));
  }
  return names;
}

interface ToldEntry {
  readonly name: string;
  readonly type: string;
}

/** The entries of a layer that are asked for, that of the file before its bytes. */
async function* layerEntries(
  layer: AsyncIterable<Buffer>,
  { path, others }: { readonly path: string; readonly others: ReadonlySet<string> },
): AsyncGenerator<Buffer | ToldEntry, void> {
  const parser = new Parser(parserOptions);
  const told: (Buffer | ToldEntry)[] = [];
  let failure: StartupError | undefined;
  let hasEnd = false;
  parser.on('entry', (entry: ReadEntry) => {
    const name = nameOf(entry);
    const isFile = name === path;
    if (isFile) failure ??= refusalOf(entry);
    // A container would go on where the link leads.
    if (others.has(name) && entry.type === 'SymbolicLink') failure ??= refusalOf(entry);
    if (isFile || others.has(name)) told.push({ name, type: entry.type });
    return isFile ? entry.on('data', (chunk: Buffer) => told.push(chunk)) : entry.resume();
  });
  parser.on('ignoredEntry', (entry: ReadEntry) => {
    if (nameOf(entry) === path) failure ??= refusalOf(entry);
  });
  // A sparse file of this form is an entry of another name.
  parser.on('meta', (header: string) => {
    if (header.includes('GNU.sparse.') && header.includes(path))
      failure ??= unlikeLayer(`'${shorten(path)}' in it is sparse: build the image with the file as it is`);
  });
  parser.on('error', (error) => {
    failure ??= unlikeLayer(describe(error), error);
  });
  parser.on('eof', () => {
    hasEnd = true;
  });
  for await (const chunk of unpacked(layer)) {
    // The library keeps whatever is behind the end.
    if (!hasEnd) parser.write(chunk);
    if (failure !== undefined) throw failure;
    yield* told.splice(0);
  }
  // Not everybody writes what marks the end; that all has come, its digest shows.
  if (!hasEnd) parser.end();
  if (failure !== undefined) throw failure;
  yield* told.splice(0);
}

async function* unpacked(layer: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const chunks = layer[Symbol.asyncIterator]();
  let first = Buffer.alloc(0);
  while (first.length < 2) {
    const { done, value } = await chunks.next();
    if (done === true) throw unlikeLayer('it is empty');
    first = Buffer.concat([first, value]);
  }
  const all = (async function* () {
    yield first;
    yield* { [Symbol.asyncIterator]: () => chunks };
  })();
  yield* tarChunks(all, isGzip(first) ? 'tar.gz' : 'tar');
}

const nameOf = ({ path }: Pick<ReadEntry, 'path'>) => posix.normalize(path).replace(/^\/+|\/+$/g, '');

function refusalOf(entry: ReadEntry): StartupError | undefined {
  if (['File', 'OldFile', 'ContiguousFile'].includes(entry.type)) return undefined;
  return new StartupError(
    'ModelNotFound',
    `'${shorten(nameOf(entry))}' in the image is a ${entry.type}: name the file itself in spec.model.uri`,
  );
}

function unlikeLayer(problem: string, cause?: unknown): StartupError {
  return new StartupError('ModelFetchFailed', `a layer of the image is no tar: ${problem}`, { cause });
}
