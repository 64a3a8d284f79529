import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isResolved, mayMove } from '../../../contract/src/resolved-uri.ts';
import { archiveFormatOf } from './archive-format.ts';
import { describe } from './download.ts';
import type { FetchOptions } from './fetch.ts';
import { type KeptModel, keptIn, modelPath } from './kept-model.ts';
import { type NodeCache, offerModel, takeModel } from './node-cache.ts';
import { checkSignature, signatureOf } from './signature.ts';

/**
 * Takes a model from the cache of the node, as it would come from its store.
 *
 * @param partial where it is put
 * @returns undefined where that is no help, which costs time and no more
 */
export async function takeCached(
  uri: string,
  partial: string,
  { nodeCache, sha256, signer, companions = [], maxBytes, onProgress = () => undefined, ...options }: FetchOptions,
  signal: AbortSignal,
): Promise<KeptModel | undefined> {
  if (nodeCache === undefined || sha256 === undefined) return undefined;
  try {
    const header = await takeModel(nodeCache, sha256, partial, signatureOf(partial), { maxBytes, onProgress, signal });
    if (header === undefined) return undefined;
    const { files } = header;
    const resolvedUri = resolvedByOther(uri, header.resolvedUri);
    const format = await archiveFormatOf(join(partial, modelPath));
    const missing =
      format === undefined ? companions.find((name) => !files.some(({ path }) => path === name)) : undefined;
    if (missing !== undefined) throw new Error(`it has no ${missing} beside the model`);
    if (signer !== undefined) await checkSignature(partial, files, signer);
    return { files, sha256, resolvedUri, format };
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    options.onCacheFailure?.(describe(error));
    return undefined;
  }
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
