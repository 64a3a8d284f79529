import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BundledFile, modelPath } from '../../../contract/src/model-bundle.ts';
import { fileNameOf, locationOf, uriBeside } from '../../../contract/src/model-uri.ts';
import { isResolved, mayMove } from '../../../contract/src/resolved-uri.ts';
import { archiveFormatOf } from './archive-format.ts';
import { companionPlaces } from './companion-places.ts';
import { describe } from './download.ts';
import type { FetchOptions } from './fetch.ts';
import { type KeptModel, keptIn } from './kept-model.ts';
import { mlflowFileName } from './mlflow-folder.ts';
import { externalDataOf } from './model-file.ts';
import { forgetModel, type NodeCache, offerModel, takeModel } from './node-cache.ts';
import { checkSignature, signatureOf } from './signature.ts';

/** Which model a folder of MLflow's has, its store says. */
export function mayBeCached(uri: string): boolean {
  return fileNameOf(uri) !== mlflowFileName;
}

/**
 * Takes a model from the cache of the node, as it would come from its store. What is not as it has to be is forgotten there, so that what
 * comes from the store can take its place.
 *
 * @param partial where it is put
 * @returns undefined where that is no help, which costs time and no more
 */
export async function takeCached(
  uri: string,
  partial: string,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<KeptModel | undefined> {
  const { nodeCache, sha256, maxBytes, onProgress = () => undefined, timeoutSeconds } = options;
  if (nodeCache === undefined || sha256 === undefined || !mayBeCached(uri)) return undefined;
  // Whatever becomes of it, as much time is left for the store.
  const half = AbortSignal.any([signal, AbortSignal.timeout(timeoutSeconds * 500)]);
  try {
    const limits = { maxBytes, onProgress, signal: half };
    const header = await takeModel(nodeCache, sha256, partial, signatureOf(partial), limits);
    if (header === undefined) return undefined;
    return await checked(uri, sha256, header, partial, options, half).catch(async (error: unknown) => {
      await forgetModel(nodeCache, sha256, half).catch(() => undefined);
      throw error;
    });
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    options.onCacheFailure?.(describe(error));
    return undefined;
  }
}

/** What the digest does not say, since others may have offered the model: which files it needs, and where they are in its store. */
async function checked(
  uri: string,
  sha256: string,
  { files, resolvedUri: told }: Pick<KeptModel, 'files'> & { readonly resolvedUri?: string },
  partial: string,
  { signer, companions = [] }: FetchOptions,
  signal: AbortSignal,
): Promise<KeptModel> {
  const resolvedUri = resolvedByOther(uri, told);
  const base = resolvedUri ?? uri;
  const [model, ...others] = files;
  const path = join(partial, modelPath);
  const format = await archiveFormatOf(path);
  if (model.name !== fileNameOf(uri)) throw new Error(`it has ${model.name} in the place of the model`);
  if (format === undefined && (await isDigestList(path)))
    throw new Error('it has the digests in the place of the model');
  const data = format === undefined ? await externalDataOf(path, signal) : [];
  const needed = new Set([...data, ...(format === undefined ? companions : [])]);
  if (needed.size !== others.length || others.some(({ name }) => !needed.has(name)))
    throw new Error(`it has other files than ${Array.from(needed).join(', ') || 'the model'} beside the model`);
  const placesOf = (name: string) => (data.includes(name) ? [base] : companionPlaces(base));
  const placed: KeptModel['files'] = [
    { ...model, location: locationOf(uri) },
    ...others.map((file) => at(file, placesOf(file.name))),
  ];
  if (signer !== undefined) await checkSignature(partial, placed, signer);
  return { files: placed, sha256, resolvedUri, format };
}

/** @param places where it may be */
function at(file: BundledFile, places: readonly string[]): BundledFile {
  const locations = places.map((place) => locationOf(uriBeside(place, file.name)));
  const location = locations.find((one) => one === file.location) ?? locations[0] ?? file.location;
  return { ...file, location };
}

/** The text whose digest is that of a model in several files has the same digest, and is no model. */
async function isDigestList(path: string): Promise<boolean> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(66), 0, 66, 0);
  return /^[0-9a-f]{64} {2}$/.test(buffer.toString('latin1', 0, bytesRead));
}

/** @throws Error where who has fetched it asked by a name that has led elsewhere */
function resolvedByOther(uri: string, resolvedUri: string | undefined): string | undefined {
  if (!mayMove(uri)) return resolvedUri === uri ? uri : undefined;
  if (resolvedUri !== undefined && isResolved(uri, resolvedUri)) return resolvedUri;
  throw new Error('it does not know what the URI of this pod leads to');
}

/**
 * Offers a model that was fetched from its store to the cache of the node.
 *
 * @returns whether the cache has taken it, and had not had it
 * @throws Error where the cache is away, or does not take it
 */
export async function offerFetched(
  nodeCache: NodeCache,
  { files, sha256, resolvedUri }: KeptModel,
  directory: string,
  signal: AbortSignal,
): Promise<boolean> {
  const folder = keptIn(directory);
  const signature = await readFile(signatureOf(folder), 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  const header = {
    files,
    ...(resolvedUri === undefined ? {} : { resolvedUri }),
    ...(signature === undefined ? {} : { signature }),
  };
  return offerModel(nodeCache, sha256, folder, header, signal);
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
}
