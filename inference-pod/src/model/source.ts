import { isAbsolute, join, normalize, sep } from 'node:path';
import { InvalidModelUri, parseModelUri } from '../../../contract/src/model-uri.ts';
import { StartupError } from './startup-error.ts';

/** Where the bytes of a model come from. */
export type ModelSource =
  | { readonly kind: 'http'; readonly url: URL }
  | {
      readonly kind: 'file';
      readonly path: string;
      /** The volume that the file must be in, wherever links lead; undefined on a laptop. */
      readonly volume: string | undefined;
    };

/**
 * Finds where the bytes of a model URI are.
 *
 * @param mountDirectory where the claim or the ConfigMap is mounted; the path in the URI never leaves it
 * @throws StartupError InvalidConfiguration
 */
export function parseModelSource(uri: string, mountDirectory: string): ModelSource {
  try {
    const parts = parseModelUri(uri);
    switch (parts.scheme) {
      case 'http':
      case 'https':
        if (!URL.canParse(uri)) throw new InvalidModelUri(uri, 'is not a URL');
        return { kind: 'http', url: new URL(uri) };
      case 'file':
        return { kind: 'file', path: parts.path, volume: undefined };
      case 'pvc':
      case 'configmap':
        return { kind: 'file', path: pathInVolume(uri, parts.path, mountDirectory), volume: mountDirectory };
    }
  } catch (error) {
    if (!(error instanceof InvalidModelUri)) throw error;
    throw new StartupError('InvalidConfiguration', error.message, { cause: error });
  }
}

function pathInVolume(uri: string, path: string, mountDirectory: string): string {
  const normal = normalize(path);
  if (isAbsolute(normal) || normal === '..' || normal.startsWith(`..${sep}`))
    throw new InvalidModelUri(uri, 'leaves its volume');
  return join(mountDirectory, normal);
}
