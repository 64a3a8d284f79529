/** A model URI, taken apart. */
export type ModelUri =
  | { readonly scheme: 'https' | 'http' }
  /** An object of a store that speaks Amazon's S3, or of Google Cloud Storage. */
  | { readonly scheme: 's3' | 'gs'; readonly bucket: string; readonly key: string }
  /** A blob of Azure Storage. */
  | { readonly scheme: 'azblob'; readonly account: string; readonly container: string; readonly blob: string }
  /** A file of an artifact in an OCI registry, by its tag or its digest; without a path, the only one. */
  | {
      readonly scheme: 'oci';
      readonly registry: string;
      readonly repository: string;
      readonly reference: string;
      readonly path?: string;
    }
  /** A file of a repository on a hub, at a commit, a tag or a branch. */
  | { readonly scheme: 'hf'; readonly repository: string; readonly revision: string; readonly path: string }
  /** A file of a Git repository, which is a host and a path, at a commit, a tag or a branch. */
  | {
      readonly scheme: 'git+https' | 'git+http';
      readonly repository: string;
      readonly revision: string;
      readonly path: string;
    }
  /** A file of a model version in MLflow's registry, by its number or by an alias. */
  | {
      readonly scheme: 'mlflow';
      readonly model: string;
      readonly reference:
        | { readonly kind: 'version'; readonly version: string }
        | { readonly kind: 'alias'; readonly alias: string };
      readonly path: string;
    }
  /** A file in a volume that is mounted: of a claim, or of a ConfigMap. */
  | { readonly scheme: 'pvc' | 'configmap'; readonly volume: string; readonly path: string }
  /** The same, of an image that the node pulls, by its digest. */
  | { readonly scheme: 'image'; readonly image: string; readonly path: string }
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
 * Reads a model URI: `https://…`, `http://…`, `s3://BUCKET/KEY`, `gs://BUCKET/OBJECT`, `azblob://ACCOUNT/CONTAINER/BLOB`,
 * `oci://REGISTRY/REPOSITORY:TAG/FILE`, `oci://REGISTRY/REPOSITORY@sha256:DIGEST/FILE`, `hf://ORG/NAME@REVISION/PATH`,
 * `git+https://HOST/REPOSITORY@REVISION/PATH`, `mlflow://MODEL/VERSION/PATH`, `mlflow://MODEL@ALIAS/PATH`, `pvc://CLAIM/PATH`,
 * `configmap://NAME/KEY`, `image://REGISTRY/REPOSITORY@sha256:DIGEST/PATH`, `file:///PATH` or a plain path.
 *
 * @throws InvalidModelUri
 */
export function parseModelUri(uri: string): ModelUri {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(uri)?.[1];
  if (scheme === undefined) return { scheme: 'file', path: uri };
  const reader = readers.get(scheme);
  if (reader === undefined)
    throw new InvalidModelUri(uri, `has the scheme ${scheme}; known are ${Array.from(readers.keys()).join(', ')}`);
  return reader(uri);
}

/** The parts of a model URI that somebody else has let through; undefined for one that names no model. */
export function knownModelUri(uri: string): ModelUri | undefined {
  try {
    return parseModelUri(uri);
  } catch (error) {
    if (error instanceof InvalidModelUri) return undefined;
    throw error;
  }
}

const readers: ReadonlyMap<string, (uri: string) => ModelUri> = new Map<string, (uri: string) => ModelUri>([
  ['https', () => ({ scheme: 'https' })],
  ['http', () => ({ scheme: 'http' })],
  ['s3', readS3],
  ['gs', readGoogle],
  ['azblob', readAzure],
  ['oci', readArtifact],
  ['hf', readHub],
  ['git+https', (uri) => readGit(uri, 'git+https')],
  ['git+http', (uri) => readGit(uri, 'git+http')],
  ['mlflow', readRegisteredModel],
  ['pvc', (uri) => ({ scheme: 'pvc', ...readVolume(uri) })],
  ['configmap', (uri) => ({ scheme: 'configmap', ...readVolume(uri) })],
  ['image', readImage],
  ['file', (uri) => ({ scheme: 'file', path: decoded(uri.slice('file://'.length), uri) })],
]);

function readS3(uri: string): ModelUri {
  const pattern = /^s3:\/\/(?<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(?<key>.+)$/s;
  const { bucket = '', key = '' } = partsOf(uri, pattern, 's3://BUCKET/KEY');
  return { scheme: 's3', bucket, key: withoutSteps(key, uri) };
}

function readGoogle(uri: string): ModelUri {
  const pattern = /^gs:\/\/(?<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])\/(?<key>.+)$/s;
  const { bucket = '', key = '' } = partsOf(uri, pattern, 'gs://BUCKET/OBJECT');
  return { scheme: 'gs', bucket, key: withoutSteps(key, uri) };
}

function readAzure(uri: string): ModelUri {
  const pattern =
    /^azblob:\/\/(?<account>[a-z0-9]{3,24})\/(?<container>[a-z0-9][a-z0-9-]{2,62}|\$root|\$web)\/(?<blob>.+)$/s;
  const { account = '', container = '', blob = '' } = partsOf(uri, pattern, 'azblob://ACCOUNT/CONTAINER/BLOB');
  return { scheme: 'azblob', account, container, blob: withoutSteps(blob, uri) };
}

const registryHost = String.raw`(?<registry>(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?)`;
const repositoryOfImages = '(?<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)';

function readArtifact(uri: string): ModelUri {
  const reference = String.raw`(?::(?<tag>\w[\w.-]{0,127})|@(?<digest>sha256:[0-9a-f]{64}))`;
  const pattern = new RegExp(`^oci://${registryHost}/${repositoryOfImages}${reference}(?:/(?<path>.+))?$`, 's');
  const form = 'oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST';
  const found = partsOf(uri, pattern, form);
  const { registry = '', tag = '', digest, path } = found;
  if (!URL.canParse(`https://${registry}`)) throw new InvalidModelUri(uri, 'names no host that there can be');
  const file = path === undefined ? {} : { path: withoutEmptySteps(path, uri) };
  return { scheme: 'oci', registry, repository: found['repository'] ?? '', reference: digest ?? tag, ...file };
}

/** A node may have an image under a tag that the registry has moved since: only a digest says which one is meant. */
function readImage(uri: string): ModelUri {
  const pattern = new RegExp(
    `^image://${registryHost}/${repositoryOfImages}@(?<digest>sha256:[0-9a-f]{64})/(?<path>.+)$`,
    's',
  );
  const parts = partsOf(uri, pattern, 'image://REGISTRY/REPOSITORY@sha256:DIGEST/PATH');
  const { registry = '', repository = '', digest = '', path = '' } = parts;
  return { scheme: 'image', image: `${registry}/${repository}@${digest}`, path: withoutEmptySteps(path, uri) };
}

function readHub(uri: string): ModelUri {
  const name = String.raw`[A-Za-z0-9][\w.-]{0,95}`;
  const pattern = new RegExp(
    String.raw`^hf://(?<repository>${name}/${name})@(?<revision>[^/@?#\s]+)/(?<path>.+)$`,
    's',
  );
  const { repository = '', revision = '', path = '' } = partsOf(uri, pattern, 'hf://ORG/NAME@REVISION/PATH');
  return { scheme: 'hf', repository, revision: revisionOf(revision, uri), path: withoutSteps(path, uri) };
}

function readGit(uri: string, scheme: 'git+https' | 'git+http'): ModelUri {
  const host = String.raw`(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?`;
  const pattern = new RegExp(
    String.raw`^git\+https?://(?<repository>${host}(?:/(?:[\w.~-]|%20)+)+)@(?<revision>[^/@?#\s]+)/(?<path>.+)$`,
    's',
  );
  const form = `${scheme}://HOST/REPOSITORY@REVISION/PATH`;
  const { repository = '', revision = '', path = '' } = partsOf(uri, pattern, form);
  if (!URL.canParse(`https://${repository}`)) throw new InvalidModelUri(uri, 'names no host that there can be');
  const parts = { repository: withoutSteps(repository, uri), path: withoutEmptySteps(path, uri) };
  return { scheme, revision: revisionOf(revision, uri), ...parts };
}

/** A branch may have slashes in its name: they are percent-encoded. */
function revisionOf(revision: string, uri: string): string {
  return withoutSteps(decoded(revision, uri), uri);
}

function readRegisteredModel(uri: string): ModelUri {
  const pattern = /^mlflow:\/\/(?<model>[^/@?#\s]+)(?:\/(?<version>\d{1,10})|@(?<alias>[^/@?#\s]+))\/(?<path>.+)$/s;
  const form = 'mlflow://MODEL/VERSION/PATH or mlflow://MODEL@ALIAS/PATH';
  const { model = '', version, alias = '', path = '' } = partsOf(uri, pattern, form);
  const reference =
    version === undefined
      ? ({ kind: 'alias', alias: decoded(alias, uri) } as const)
      : ({ kind: 'version', version } as const);
  return { scheme: 'mlflow', model: decoded(model, uri), reference, path: withoutSteps(path, uri) };
}

function readVolume(uri: string) {
  const [, volume, path] = /^[a-z]+:\/\/([^/]+)\/(.+)$/s.exec(uri) ?? [];
  if (volume === undefined || path === undefined) throw new InvalidModelUri(uri, 'names no file in the volume');
  return { volume, path };
}

/** The parts of a URI by the groups of a pattern; the optional ones may be missing. */
function partsOf(uri: string, pattern: RegExp, form: string): Readonly<Record<string, string | undefined>> {
  const { groups } = pattern.exec(uri) ?? {};
  if (groups === undefined) throw new InvalidModelUri(uri, `is not ${form}`);
  return groups;
}

/** The name of the file that a URI names, without the folder that it is in. */
export function fileNameOf(uri: string): string {
  return lastOf(locationOf(uri));
}

/** Where the file that a URI names is in its store, volume or repository; '' for the only one of an artifact. */
export function locationOf(uri: string): string {
  const parts = parseModelUri(uri);
  switch (parts.scheme) {
    case 'http':
    case 'https':
      return new URL(uri).pathname.split('/').map(decodedName).join('/');
    case 's3':
    case 'gs':
      return parts.key;
    case 'azblob':
      return parts.blob;
    case 'oci':
      return parts.path ?? '';
    case 'hf':
    case 'git+https':
    case 'git+http':
    case 'mlflow':
    case 'pvc':
    case 'configmap':
    case 'image':
    case 'file':
      return parts.path;
  }
}

const lastOf = (path: string) => path.slice(path.lastIndexOf('/') + 1);

function decodedName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/**
 * The URI of a file in the folder that another is in.
 *
 * @param location its path from there, within that folder
 * @throws InvalidModelUri where the other is in no folder
 */
export function uriBeside(uri: string, location: string): string {
  const parts = parseModelUri(uri);
  switch (parts.scheme) {
    case 'http':
    case 'https': {
      const url = new URL(uri);
      const path = location.split('/').map(encodeURIComponent).join('/');
      url.pathname = `${url.pathname.slice(0, url.pathname.lastIndexOf('/') + 1)}${path}`;
      return url.href;
    }
    case 'file':
      return `${parts.path.slice(0, parts.path.lastIndexOf('/') + 1)}${location}`;
    case 'oci':
      if (parts.path === undefined)
        throw new InvalidModelUri(uri, `has its data in ${location}: add /FILE to it, so that this is found beside it`);
      return `${uri.slice(0, uri.lastIndexOf('/') + 1)}${location}`;
    case 's3':
    case 'gs':
    case 'azblob':
    case 'hf':
    case 'git+https':
    case 'git+http':
    case 'mlflow':
    case 'pvc':
    case 'configmap':
    case 'image':
      return `${uri.slice(0, uri.lastIndexOf('/') + 1)}${location}`;
  }
}

/** URLs resolve them, and something else would be asked for, of another owner maybe. */
function withoutSteps(path: string, uri: string): string {
  if (path.split('/').some((segment) => segment === '.' || segment === '..'))
    throw new InvalidModelUri(uri, 'has a step . or .. in it: name the model as it is stored');
  return path;
}

/** Of folders that are told by their names, none is called ''. */
function withoutEmptySteps(path: string, uri: string): string {
  if (path.split('/').includes(''))
    throw new InvalidModelUri(
      uri,
      'has an empty step in its path: name the file from the root on, without a slash before it',
    );
  return withoutSteps(path, uri);
}

function decoded(name: string, uri: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    throw new InvalidModelUri(uri, 'has a name in it that is not percent-encoded rightly');
  }
}
