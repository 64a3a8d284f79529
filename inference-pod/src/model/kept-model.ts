import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BundledFile, bytesOfFiles, digestOfFiles } from '../../../contract/src/model-bundle.ts';
import type { ArchiveFormat } from './archive-format.ts';

/** Where a model is kept in the work directory. */
export const keptIn = (directory: string) => join(directory, 'model');

/** A file of a model that was copied. */
export type KeptFile = BundledFile;

/** A model that was copied whole. */
export interface KeptModel {
  /** The model itself first. */
  readonly files: readonly [KeptFile, ...KeptFile[]];
  /** Of the bytes, in lower-case hexadecimal; of a model in several files, as `digestOfFiles` has it; of an archive, its own. */
  readonly sha256: string;
  /** What its URI has led to, where that may move. */
  readonly resolvedUri: string | undefined;
  /** Of the archive that it is in. */
  readonly format: ArchiveFormat | undefined;
}

/** What is written beside the copy. */
interface KeptRecord {
  /** SHA-256 of where it came from, which may have a secret in it. */
  readonly origin: string;
  readonly sha256: string;
  readonly resolvedUri?: string;
  readonly format?: ArchiveFormat;
  readonly files: readonly Pick<KeptFile, 'path' | 'name' | 'location'>[];
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

const recordOf = (folder: string) => `${folder}.json`;

/** Notes what a copy is of. Without it the next container fetches again, which is no reason not to serve. */
export async function keepRecord(folder: string, origin: string, model: KeptModel): Promise<void> {
  const { files, sha256, resolvedUri, format } = model;
  const record: KeptRecord = {
    origin: digestOf(origin),
    sha256,
    ...(resolvedUri === undefined ? {} : { resolvedUri }),
    ...(format === undefined ? {} : { format }),
    files: files.map(({ path, name, location }) => ({ path, name, location })),
  };
  await writeFile(recordOf(folder), JSON.stringify(record)).catch(() => undefined);
}

/** The copy of an earlier container, if it is the model that is asked for, and as it was. */
export async function keptModel(
  folder: string,
  uri: string,
  origin: string,
  {
    sha256: asked,
    maxBytes,
    companions = [],
  }: { readonly sha256: string | undefined; readonly maxBytes: number; readonly companions?: readonly string[] },
): Promise<KeptModel | undefined> {
  try {
    const record: KeptRecord | null = JSON.parse(await readFile(recordOf(folder), 'utf8'));
    // What its URI had led to then may be what is asked for by now.
    if (record === null || (record.origin !== digestOf(origin) && record.resolvedUri !== uri)) return undefined;
    const { resolvedUri, format } = record;
    const isMissing = (companion: string) => !record.files.some(({ path }) => path === companion);
    if (format === undefined && companions.some(isMissing)) return undefined;
    const [first, ...others] = record.files;
    if (first === undefined) return undefined;
    const model = await readKept(folder, first);
    const files: [KeptFile, ...KeptFile[]] = [model];
    for (const file of others) files.push(await readKept(folder, file));
    const sha256 = digestOfFiles(files);
    const isSame = sha256 === record.sha256 && (asked === undefined || asked === sha256);
    return isSame && bytesOfFiles(files) <= maxBytes ? { files, sha256, resolvedUri, format } : undefined;
  } catch {
    // It is not there, or not whole.
    return undefined;
  }
}

async function readKept(
  folder: string,
  { path, name, location }: Pick<KeptFile, 'path' | 'name' | 'location'>,
): Promise<KeptFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(join(folder, path)) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  return { path, name, location, bytes, sha256: hash.digest('hex') };
}
