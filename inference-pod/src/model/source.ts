import { isAbsolute, join, normalize, sep } from 'node:path';
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
 * Reads a model URI: `https://…`, `http://…`, `pvc://CLAIM/PATH`, `configmap://NAME/KEY`, `file:///PATH` or a plain path.
 *
 * @param mountDirectory where the claim or the ConfigMap is mounted; the path in the URI never leaves it
 * @throws StartupError InvalidConfiguration
 */
export function parseModelSource(uri: string, mountDirectory: string): ModelSource {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(uri)?.[1];
  switch (scheme) {
    case undefined:
      return { kind: 'file', path: uri, volume: undefined };
    case 'file':
      return { kind: 'file', path: decodeURIComponent(uri.slice('file://'.length)), volume: undefined };
    case 'http':
    case 'https':
      if (!URL.canParse(uri)) throw invalid(uri, 'is not a URL');
      return { kind: 'http', url: new URL(uri) };
    case 'pvc':
    case 'configmap':
      return { kind: 'file', path: pathInVolume(uri, mountDirectory), volume: mountDirectory };
    default:
      throw invalid(uri, `has the scheme ${scheme}; known are https, http, pvc, configmap and file`);
  }
}

function pathInVolume(uri: string, mountDirectory: string): string {
  const path = /^[a-z]+:\/\/[^/]+\/(.+)$/.exec(uri)?.[1];
  if (path === undefined) throw invalid(uri, 'names no file in the volume');
  const normal = normalize(path);
  if (isAbsolute(normal) || normal === '..' || normal.startsWith(`..${sep}`)) throw invalid(uri, 'leaves its volume');
  return join(mountDirectory, normal);
}

function invalid(uri: string, problem: string): StartupError {
  return new StartupError('InvalidConfiguration', `the model URI ${uri} ${problem}`);
}
