/** A model URI, taken apart. */
export type ModelUri =
  | { readonly scheme: 'https' | 'http' }
  /** An object of a store that speaks Amazon's S3. */
  | { readonly scheme: 's3'; readonly bucket: string; readonly key: string }
  /** A file in a volume that is mounted: of a claim, or of a ConfigMap. */
  | { readonly scheme: 'pvc' | 'configmap'; readonly volume: string; readonly path: string }
  | { readonly scheme: 'file'; readonly path: string };

/** A URI without what may be secret: its user, its query and its fragment. A plain path stays as it is. */
export function shownUri(uri: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//.test(uri)) return uri;
  return uri.replace(/[?#].*$/s, '').replace(/^([a-z0-9+.-]+:\/\/)[^/]*@/, '$1');
}

/** A URI that names no model. Its message says what is wrong with it. */
export class InvalidModelUri extends Error {
  override readonly name = 'InvalidModelUri';

  constructor(uri: string, problem: string) {
    super(`the model URI ${shownUri(uri)} ${problem}`);
  }
}

/**
 * Reads a model URI: `https://…`, `http://…`, `s3://BUCKET/KEY`, `pvc://CLAIM/PATH`, `configmap://NAME/KEY`, `file:///PATH` or
 * a plain path.
 *
 * @throws InvalidModelUri
 */
export function parseModelUri(uri: string): ModelUri {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(uri)?.[1];
  switch (scheme) {
    case undefined:
      return { scheme: 'file', path: uri };
    case 'file':
      return { scheme, path: decodeURIComponent(uri.slice('file://'.length)) };
    case 'http':
    case 'https':
      return { scheme };
    case 's3': {
      const [, bucket, key] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(.+)$/s.exec(uri) ?? [];
      if (bucket === undefined || key === undefined) throw new InvalidModelUri(uri, 'is not s3://BUCKET/KEY');
      // URLs resolve them, and another bucket would be asked.
      if (key.split('/').some((segment) => segment === '.' || segment === '..'))
        throw new InvalidModelUri(uri, 'has a segment . or .. in its key: name the object as it is stored');
      return { scheme, bucket, key };
    }
    case 'pvc':
    case 'configmap': {
      const [, volume, path] = /^[a-z]+:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
      if (volume === undefined || path === undefined) throw new InvalidModelUri(uri, 'names no file in the volume');
      return { scheme, volume, path };
    }
    default:
      throw new InvalidModelUri(uri, `has the scheme ${scheme}; known are https, http, s3, pvc, configmap and file`);
  }
}
