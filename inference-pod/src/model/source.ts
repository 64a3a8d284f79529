import { isAbsolute, join, normalize, sep } from 'node:path';
import { InvalidModelUri, parseModelUri } from '../../../contract/src/model-uri.ts';
import { azureRemote } from './azure-remote.ts';
import type { Credentials } from './credentials.ts';
import { gitRemote } from './git-remote.ts';
import { googleRemote } from './google-remote.ts';
import { httpRemote } from './http-remote.ts';
import { hubRemote } from './hub-remote.ts';
import { mlflowRemote } from './mlflow-remote.ts';
import { registryRemote } from './registry-remote.ts';
import type { Remote } from './remote.ts';
import { s3Remote } from './s3-remote.ts';
import { StartupError } from './startup-error.ts';

/** Where the bytes of a model come from. */
export type ModelSource = {
  /** Of which of the bytes that were copied earlier it is; it may have a secret in it. */
  readonly origin: string;
} & (
  | { readonly kind: 'remote'; readonly remote: Remote }
  | {
      readonly kind: 'file';
      readonly path: string;
      /** The volume that the file must be in, wherever links lead; undefined on a laptop. */
      readonly volume: string | undefined;
    }
);

/**
 * Finds where the bytes of a model URI are.
 *
 * @param mountDirectory where the claim, the ConfigMap or the image is mounted; the path in the URI never leaves it
 * @param credentials for the store
 * @throws StartupError InvalidConfiguration
 */
export function parseModelSource(uri: string, mountDirectory: string, credentials: Credentials): ModelSource {
  try {
    const parts = parseModelUri(uri);
    switch (parts.scheme) {
      case 'http':
      case 'https':
        if (!URL.canParse(uri)) throw new InvalidModelUri(uri, 'is not a URL');
        return { kind: 'remote', origin: new URL(uri).href, remote: httpRemote(new URL(uri), credentials) };
      case 's3':
        return { kind: 'remote', origin: uri, remote: s3Remote(parts.bucket, parts.key, credentials) };
      case 'gs':
        return { kind: 'remote', origin: uri, remote: googleRemote(parts.bucket, parts.key, credentials) };
      case 'azblob':
        return { kind: 'remote', origin: uri, remote: azureRemote(parts, credentials) };
      case 'oci':
        return { kind: 'remote', origin: uri, remote: registryRemote(parts, credentials) };
      case 'hf':
        return { kind: 'remote', origin: uri, remote: hubRemote(parts, credentials) };
      case 'git+https':
      case 'git+http':
        return { kind: 'remote', origin: uri, remote: gitRemote(parts, credentials) };
      case 'mlflow': {
        const remoteOf = (store: string) => remoteIn(parseModelSource(store, mountDirectory, credentials));
        return { kind: 'remote', origin: uri, remote: mlflowRemote(parts, credentials, remoteOf) };
      }
      case 'file':
        return { kind: 'file', origin: parts.path, path: parts.path, volume: undefined };
      case 'pvc':
      case 'configmap':
      case 'image':
        return fileIn(mountDirectory, pathInVolume(uri, parts.path, mountDirectory));
    }
  } catch (error) {
    if (!(error instanceof InvalidModelUri)) throw error;
    throw new StartupError('InvalidConfiguration', error.message, { cause: error });
  }
}

function remoteIn(source: ModelSource): Remote {
  if (source.kind === 'remote') return source.remote;
  throw new StartupError('InvalidConfiguration', `the model at ${source.path} is in no store`);
}

function fileIn(volume: string, path: string): ModelSource {
  return { kind: 'file', origin: path, path, volume };
}

function pathInVolume(uri: string, path: string, mountDirectory: string): string {
  const normal = normalize(path);
  if (isAbsolute(normal) || normal === '..' || normal.startsWith(`..${sep}`))
    throw new InvalidModelUri(uri, 'leaves its volume');
  return join(mountDirectory, normal);
}
