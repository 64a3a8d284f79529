import { mkdir } from 'node:fs/promises';
import type { Logger } from 'pino';
import { bytesOfFiles } from '../../contract/src/model-bundle.ts';
import { handlerName } from './handler/handler-settings.ts';
import { mayBeCached, offerFetched } from './model/cached-model.ts';
import { Credentials } from './model/credentials.ts';
import { messageOf } from './model/error-message.ts';
import { type FetchOptions, fetchModel, type ModelFile } from './model/fetch.ts';
import { knownUri } from './model/known-uri.ts';
import { localeVariables } from './model/locale.ts';
import { signerOf } from './model/signature.ts';
import { StartupError } from './model/startup-error.ts';
import type { HandlerUse, ServerSettings } from './server.ts';
import { companionsOf } from './tasks/task.ts';

/**
 * Fetches the model of a pod, as its settings say.
 *
 * @param onProgress told as bytes come; the total is undefined where the store does not tell it
 * @throws StartupError
 */
export async function fetchForPod(
  settings: ServerSettings,
  credentials: Credentials,
  log: Logger,
  onProgress: NonNullable<FetchOptions['onProgress']> = () => undefined,
): Promise<ModelFile> {
  await mkdir(settings.workDirectory, { recursive: true });
  Object.assign(process.env, await localeVariables(settings.workDirectory, log));
  const uri = await knownUri(settings);
  const options: FetchOptions = {
    directory: settings.workDirectory,
    mountDirectory: settings.mountDirectory,
    maxBytes: settings.modelMaxBytes,
    archivePath: settings.modelArchivePath,
    sha256: settings.modelSha256,
    companions: Array.from(new Set([...companionsOf(settings.task), ...filesOf(settings.handler)])),
    signer: signerOf(settings),
    credentials,
    timeoutSeconds: settings.fetchTimeoutSeconds,
    nodeCache: settings.nodeCache,
    onCacheFailure: (reason) => log.warn({ reason }, 'the cache of the node is no help'),
    onProgress,
  };
  const file = await fetchModel(uri, options).catch((error: unknown) => {
    // Of bytes that are known, it does not matter where they are.
    const mayBeElsewhere = uri !== settings.modelUri && settings.modelSha256 !== undefined;
    if (!mayBeElsewhere || !(error instanceof StartupError) || error.reason !== 'ModelNotFound') throw error;
    log.warn({ uri, reason: error.message }, 'what the URI led to before is gone');
    return fetchModel(settings.modelUri, options);
  });
  const { kept, from, signedBy } = file;
  const { files, sha256, resolvedUri } = kept;
  log.info({ bytes: bytesOfFiles(files), sha256, from, resolvedUri, signedBy }, 'the model file is here');
  return file;
}

/**
 * Gives the cache of the node what was fetched from a store. It may go on beside what uses the model: its files stay as they are for as
 * long as the pod lives.
 *
 * @returns whether the cache has it
 */
export async function offerToCache(
  { nodeCache, modelUri, modelSha256, workDirectory }: ServerSettings,
  { kept, from }: ModelFile,
  log: Logger,
  signal: AbortSignal,
): Promise<boolean> {
  const isAsked = nodeCache !== undefined && modelSha256 !== undefined && mayBeCached(modelUri);
  if (!isAsked || from !== 'Store') return from === 'NodeCache';
  try {
    const isTaken = await offerFetched(nodeCache, kept, workDirectory, signal);
    log.info(isTaken ? 'the cache of the node has the model now' : 'the cache of the node has the model already');
    return true;
  } catch (error) {
    log.warn({ reason: messageOf(error) }, 'the cache of the node does not take the model');
    return false;
  }
}

/**
 * Fetches the model of a pod to the cache of its node, and does no more.
 *
 * @throws StartupError
 */
export async function prefetch(settings: ServerSettings, log: Logger, signal: AbortSignal): Promise<void> {
  if (!mayBeCached(settings.modelUri))
    throw new StartupError(
      'InvalidConfiguration',
      'a folder of MLflow is in no cache: name the model itself in spec.model.uri, or leave spec.rollout.prefetch out',
    );
  const credentials = new Credentials(settings.credentialsDirectory, process.env);
  const file = await fetchForPod(settings, credentials, log);
  if (await offerToCache(settings, file, log, signal)) return;
  throw new StartupError('ModelFetchFailed', 'the cache of the node has not taken the model: see the log above');
}

function filesOf(handler: HandlerUse | undefined): readonly string[] {
  return handler === undefined ? [] : [handlerName, ...handler.files, ...handler.models];
}
