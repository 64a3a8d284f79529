import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesOfFiles, digestOfFiles, modelPath, signaturePath } from '../../../contract/src/model-bundle.ts';
import { fileNameOf, InvalidModelUri, locationOf, uriBeside } from '../../../contract/src/model-uri.ts';
import { digestOfSigner } from '../../../contract/src/signed-model.ts';
import { archiveFormatOf } from './archive-format.ts';
import { takeCached } from './cached-model.ts';
import { companionPlaces } from './companion-places.ts';
import { type CopyOptions, copyFile, nameOfSource } from './copied-file.ts';
import type { Credentials } from './credentials.ts';
import { describe } from './download.ts';
import { type KeptFile, type KeptModel, keepRecord, keptIn, keptModel } from './kept-model.ts';
import { mlflowFileName, modelInFolder, mostBytesOfMlflowFile } from './mlflow-folder.ts';
import { externalDataOf } from './model-file.ts';
import type { NodeCache } from './node-cache.ts';
import { Passing } from './passing-failure.ts';
import { checkSignature, copySignature, isStillTrusted, type Signer, signatureOf } from './signature.ts';
import { type ModelSource, parseModelSource } from './source.ts';
import { StartupError } from './startup-error.ts';

export interface FetchOptions extends Pick<CopyOptions, 'maxBytes' | 'credentials'> {
  /** Where the verified copy is put. */
  readonly directory: string;
  /** Where the claim or the ConfigMap is mounted. */
  readonly mountDirectory: string;
  /** Lower-case hexadecimal; undefined accepts any bytes. */
  readonly sha256: string | undefined;
  /** Where the model is in the archive, if it is in one, and not alone. */
  readonly archivePath?: string | undefined;
  /** Files that are needed beside it, by their names. */
  readonly companions?: readonly string[];
  /** Who has to have signed it; undefined for nobody. */
  readonly signer?: Signer | undefined;
  /** The cache of the node, asked first for a model whose digest is known. */
  readonly nodeCache?: NodeCache | undefined;
  /** Told why the cache was no help. */
  readonly onCacheFailure?: (reason: string) => void;
  /** After which it is given up. */
  readonly timeoutSeconds: number;
  /** Told as bytes come; the total is undefined where the store does not tell it. */
  readonly onProgress?: CopyOptions['onProgress'];
}

export interface ModelFile {
  readonly path: string;
  /** Where that and the files beside it are. */
  readonly folder: string;
  /** What was copied: all of its files, or the archive that it is in. */
  readonly kept: KeptModel;
  /** The digest of the one who has signed it, as `digestOfSigner` has it; undefined where no signature was asked for. */
  readonly signedBy: string | undefined;
  readonly from: ModelOrigin;
}

/** Where its bytes were: in its store, in the cache of the node, or in the volume of this pod, by an earlier container. */
export type ModelOrigin = 'Store' | 'NodeCache' | 'EarlierContainer';

/**
 * Copies a model, and the files beside it that have its data, into the work directory while sizes and digests are checked, whatever its
 * source, so that the bytes that are verified are the bytes that are loaded. What an earlier container of this pod has copied
 * there is used again if it still verifies: the volume has room for one copy, and the model of a pod does not change.
 *
 * @throws StartupError InvalidConfiguration, ModelNotFound, ModelFetchFailed, ModelTooLarge, ModelDigestMismatch, ModelUntrusted,
 * ModelInvalid
 */
export async function fetchModel(uri: string, options: FetchOptions): Promise<ModelFile> {
  const source = parseModelSource(uri, options.mountDirectory, options.credentials);
  const folder = keptIn(options.directory);
  const partial = `${folder}.partial`;
  const unpacked = unpackedIn(options.directory);
  // There is room for one of each.
  for (const rest of [partial, unpacked]) await rm(rest, { recursive: true, force: true });
  const kept = await keptModel(folder, uri, source.origin, options);
  const earlier = kept !== undefined && (await isStillTrusted(folder, kept, options.signer)) ? kept : undefined;
  const signal = AbortSignal.timeout(options.timeoutSeconds * 1000);
  try {
    const { model, from } =
      earlier === undefined
        ? await fetchAnew(uri, source, { folder, partial }, options, signal)
        : { model: earlier, from: 'EarlierContainer' as const };
    return { ...(await openedFolder(folder, model, options, signal)), from };
  } catch (error) {
    for (const rest of [partial, unpacked]) await rm(rest, { recursive: true, force: true });
    if (error instanceof StartupError) throw redactedError(error, options.credentials);
    if (error instanceof InvalidModelUri)
      throw new StartupError('InvalidConfiguration', error.message, { cause: error });
    throw redactedError(fetchFailure(error, nameOfSource(source), options, signal), options.credentials);
  }
}

/** A store may repeat what it was shown, and its words are told. */
function redactedError(error: StartupError, credentials: Credentials): StartupError {
  const message = credentials.redacted(error.message);
  return message === error.message ? error : new StartupError(error.reason, message, { cause: error.cause });
}

const unpackedIn = (directory: string) => join(directory, 'unpacked');

async function fetchAnew(
  uri: string,
  source: ModelSource,
  { folder, partial }: { readonly folder: string; readonly partial: string },
  options: FetchOptions,
  signal: AbortSignal,
): Promise<{ readonly model: KeptModel; readonly from: ModelOrigin }> {
  // The file that is copied may be the very one that was kept.
  if (source.kind !== 'file') await rm(folder, { recursive: true, force: true });
  const cached = await takeCached(uri, partial, options, signal);
  const model = cached ?? (await fetchFromStore(uri, source, partial, options, signal));
  await rm(folder, { recursive: true, force: true });
  await rename(partial, folder);
  await keepRecord(folder, source.origin, model);
  return { model, from: cached === undefined ? 'Store' : 'NodeCache' };
}

async function fetchFromStore(
  uri: string,
  source: ModelSource,
  partial: string,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<KeptModel> {
  const located = await locate(uri, source, partial, options, signal);
  return fetchFiles(located, partial, options, signal);
}

/** What is to be loaded of a folder whose bytes are verified: of an archive, what is in it. */
async function openedFolder(
  folder: string,
  kept: KeptModel,
  { signer, archivePath, companions = [], directory, maxBytes }: FetchOptions,
  signal: AbortSignal,
): Promise<Omit<ModelFile, 'from'>> {
  const { files, format } = kept;
  const signedBy = signer === undefined ? undefined : digestOfSigner(signer.by);
  const path = join(folder, files[0].path);
  if (format === undefined) {
    if (archivePath !== undefined)
      throw new StartupError(
        'InvalidConfiguration',
        'spec.model.archivePath is of an archive, and the model is in none',
      );
    return { path, folder, kept, signedBy };
  }
  const { unpackModel } = await import('./archived-model.ts');
  const model = await unpackModel(path, format, unpackedIn(directory), {
    archivePath,
    companions,
    maxBytes: maxBytes - bytesOfFiles(files),
    signal,
  });
  return { ...model, kept, signedBy };
}

interface Located {
  readonly uri: string;
  readonly source: ModelSource;
  /** What the URI that was given has led to, where that may move. */
  readonly resolvedUri: string | undefined;
}

/** Of a folder of MLflow's, finds the model that is in it. */
async function locate(
  uri: string,
  source: ModelSource,
  folder: string,
  { credentials, mountDirectory }: FetchOptions,
  signal: AbortSignal,
): Promise<Located> {
  if (fileNameOf(uri) !== mlflowFileName) return { uri, source, resolvedUri: undefined };
  const path = join(folder, mlflowFileName);
  const quietly = { credentials, signal, onProgress: () => undefined };
  await copyFile(source, path, { ...quietly, maxBytes: mostBytesOfMlflowFile }).catch((error) => {
    if (!(error instanceof StartupError) || error.reason !== 'ModelTooLarge') throw error;
    const message = `the file ${nameOfSource(source)} has more than the ${mostBytesOfMlflowFile} bytes that are read of it: name the model itself in spec.model.uri`;
    throw new StartupError('ModelTooLarge', message, { cause: error });
  });
  const location = await modelInFolder(await readFile(path, 'utf8'));
  await rm(path);
  const resolvedUri = resolvedOf(source);
  const model = uriBeside(resolvedUri ?? uri, location);
  return { uri: model, source: parseModelSource(model, mountDirectory, credentials), resolvedUri };
}

function resolvedOf(source: ModelSource): string | undefined {
  return source.kind === 'remote' ? source.remote.resolvedUri?.() : undefined;
}

async function fetchFiles(
  { uri, source, ...located }: Located,
  folder: string,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<KeptModel> {
  const { onProgress = () => undefined, maxBytes, credentials, mountDirectory } = options;
  const copy = async (
    from: ModelSource,
    location: string,
    path: string,
    name: string,
    done: number,
  ): Promise<KeptFile> => {
    const copied = await copyFile(from, join(folder, path), {
      credentials,
      maxBytes: maxBytes - done,
      signal,
      onProgress: (bytes, total) => onProgress(done + bytes, total === undefined ? undefined : done + total),
    });
    return { path, name, location, ...copied };
  };
  const name = fileNameOf(uri);
  const files: [KeptFile, ...KeptFile[]] = [await copy(source, locationOf(uri), modelPath, name, 0)];
  const resolvedUri = located.resolvedUri ?? resolvedOf(source);
  // All of one commit, or of one manifest, however a name in the URI moves meanwhile.
  const base = located.resolvedUri === undefined ? (resolvedUri ?? uri) : uri;
  const sourceOf = (besideUri: string) => parseModelSource(besideUri, mountDirectory, credentials);
  const copyBeside = async (besideUri: string, path: string): Promise<void> => {
    files.push(await copy(sourceOf(besideUri), locationOf(besideUri), path, path, bytesOfFiles(files)));
  };
  const format = await archiveFormatOf(join(folder, modelPath));
  // What is in an archive needs nothing beside it.
  if (format === undefined) {
    const data = await externalDataOf(join(folder, modelPath), signal);
    for (const location of data) await copyBeside(uriBeside(base, unlikeModel(location, name)), location);
    for (const companion of options.companions ?? [])
      await copyCompanion(base, unlikeOthers(companion, files), (besideUri) => copyBeside(besideUri, companion));
  }
  const sha256 = digestOfFiles(files);
  if (options.sha256 !== undefined && options.sha256 !== sha256)
    throw new StartupError('ModelDigestMismatch', mismatch(nameOfSource(source), files, sha256, options.sha256));
  const { signer } = options;
  if (signer !== undefined) {
    const from = sourceOf(uriBeside(base, signer.file ?? `${name}.sig`));
    await copySignature(from, signatureOf(folder), { credentials, signal });
    await checkSignature(folder, files, signer);
  }
  return { files, sha256, resolvedUri, format };
}

/** @throws StartupError ModelInvalid when a model has its data in what is something else */
function unlikeModel(location: string, name: string): string {
  if (location !== name && location !== modelPath && location !== signaturePath) return location;
  const message = `the model has data in '${location}', as if that were another file than its own`;
  throw new StartupError('ModelInvalid', message);
}

function unlikeOthers(companion: string, files: readonly KeptFile[]): string {
  if (companion === modelPath)
    throw new StartupError(
      'InvalidConfiguration',
      `'${modelPath}' is what the model itself is called in the pod: give the other file of that name another one`,
    );
  if (!files.some(({ path }) => path === companion)) return companion;
  throw new StartupError('ModelInvalid', `the model has data in '${companion}', which is to be another file`);
}

async function copyCompanion(base: string, companion: string, copy: (uri: string) => Promise<void>): Promise<void> {
  let cause: StartupError | undefined;
  for (const place of companionPlaces(base)) {
    try {
      return await copy(uriBeside(place, companion));
    } catch (error) {
      if (!(error instanceof StartupError) || !isElsewhere.has(error.reason)) throw error;
      cause ??= error;
    }
  }
  const message = `the model's task or handler needs ${companion} beside it, or above its folder if that is called onnx: ${cause?.message}`;
  throw new StartupError('ModelNotFound', message, { cause });
}

/** Of a container of Azure with that name, there is nothing above. */
const isElsewhere: ReadonlySet<StartupError['reason']> = new Set(['ModelNotFound', 'InvalidConfiguration']);

function mismatch(from: string, files: readonly KeptFile[], sha256: string, expected: string): string {
  const what =
    files.length === 1
      ? `has sha256 ${sha256}`
      : `and the files beside it, ${files.map(({ name }) => name).join(', ')}, have together sha256 ${sha256}`;
  return `the model at ${from} ${what}, not the expected ${expected}: the file was changed or cut short; correct spec.model.sha256 or restore the file`;
}

function fetchFailure(error: unknown, from: string, options: FetchOptions, signal: AbortSignal): StartupError {
  if (signal.aborted) {
    return new StartupError(
      'ModelFetchFailed',
      `the model at ${from} was not there after ${options.timeoutSeconds} s: ${error instanceof Passing ? error.message : 'the store is too slow'}`,
    );
  }
  if (isNoSpace(error)) {
    return new StartupError(
      'ModelTooLarge',
      `there is no space left for the model at ${from} in ${options.directory}: raise spec.model.maxBytes, or free the node's disk`,
      { cause: error },
    );
  }
  return new StartupError('ModelFetchFailed', `the model at ${from} could not be read: ${describe(error)}`, {
    cause: error,
  });
}

function isNoSpace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
