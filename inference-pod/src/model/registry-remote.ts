import { createHash } from 'node:crypto';
import type { ModelUri } from '../../../contract/src/model-uri.ts';
import { shorten } from '../protocol/json-reader.ts';
import type { Credentials } from './credentials.ts';
import { membersOf, parsedJson, textOf } from './json-members.ts';
import { RegistrySession } from './registry-session.ts';
import type { Explanation, RefusedAnswer, Remote, RequestContext } from './remote.ts';
import { StartupError } from './startup-error.ts';

type Artifact = Extract<ModelUri, { readonly scheme: 'oci' }>;

/** A layer of a manifest, as far as it matters (OCI Image Specification 1.1, descriptors). */
interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  /** The name of the file that it is. */
  readonly title: string | undefined;
}

const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const titleAnnotation = 'org.opencontainers.image.title';
/** Of archives, what is none of the formats that are unpacked here. */
const foreignArchive = /\b(zstd|bzip2|xz)$/;

/**
 * A file of an OCI artifact (OCI Distribution Specification 1.1): the layer that has its name, by the annotation
 * org.opencontainers.image.title, or the only one. The bytes are checked against the digest that the manifest has of them, and the
 * manifest against the one that the URI has of it. What a tag led to first is what is fetched, however often it is tried.
 */
export function registryRemote(artifact: Artifact, credentials: Credentials): Remote {
  const { registry, repository, reference, path } = artifact;
  const session = new RegistrySession(registry, repository, credentials);
  const separator = reference.startsWith('sha256:') ? '@' : ':';
  const file = path === undefined ? '' : `/${path}`;
  const name = `oci://${registry}/${repository}${separator}${reference}${file}`;
  let layer: Layer | undefined;
  let resolved: string | undefined;
  return {
    name,
    async request(context) {
      await session.renew(context);
      if (layer === undefined) {
        const manifest = await manifestOf(session, reference, context, name);
        layer = layerOf(manifest.layers, path, name);
        resolved = `oci://${registry}/${repository}@${manifest.digest}${file}`;
      }
      return {
        url: session.urlOf(`blobs/${layer.digest}`),
        headers: session.headers,
        sha256: layer.digest.slice('sha256:'.length),
      };
    },
    resolvedUri: () => resolved,
    explain: (answer) => explained(answer, registry),
    isAnotherTryBetter: (answer) => session.learns(answer),
  };
}

/** @throws StartupError for what is no manifest of a model; Error for what may pass */
async function manifestOf(
  session: RegistrySession,
  reference: string,
  context: RequestContext,
  name: string,
): Promise<{ readonly digest: string; readonly layers: readonly Layer[] }> {
  const { contentType, body } = await session.manifest(reference, manifestTypes.join(', '), context);
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  if (reference.startsWith('sha256:') && digest !== reference)
    throw new StartupError(
      'ModelDigestMismatch',
      `the manifest of ${name} has the digest ${digest}: the registry sends another`,
    );
  const manifest = parsed(body);
  if (!manifestTypes.includes(manifest.mediaType ?? contentType) || manifest.layers === undefined)
    throw new StartupError(
      'ModelFetchFailed',
      `${name} is no artifact with layers but ${shorten(manifest.mediaType ?? contentType)}: name one manifest, by its digest where a tag is for several platforms`,
    );
  return { digest, layers: manifest.layers };
}

function layerOf(layers: readonly Layer[], path: string | undefined, name: string): Layer {
  const [only, ...others] = layers;
  const found =
    path === undefined ? (others.length === 0 ? only : undefined) : layers.find(({ title }) => title === path);
  const known = layers
    .slice(0, 10)
    .map(({ title, mediaType }) => shorten(title ?? `one without a name (${mediaType})`));
  if (found === undefined)
    throw new StartupError(
      'ModelNotFound',
      `${name} has ${path === undefined ? `${layers.length} files: add /FILE to spec.model.uri` : 'no such file'}; it has ${known.join(', ')}`,
    );
  if (!/^sha256:[0-9a-f]{64}$/.test(found.digest))
    throw new StartupError('ModelFetchFailed', `the file of ${name} has a digest that is not of sha256`);
  if (foreignArchive.test(found.mediaType))
    throw new StartupError(
      'ModelFetchFailed',
      `${name} is an archive that is not unpacked here (${shorten(found.mediaType)}): push a tar, with gzip or without, or the model as a file`,
    );
  return found;
}

/** @throws StartupError for what is no JSON of a manifest */
function parsed(body: string): {
  readonly mediaType: string | undefined;
  readonly layers: readonly Layer[] | undefined;
} {
  const manifest = parsedJson(body);
  const layers = membersOf(manifest).get('layers');
  return {
    mediaType: textOf(manifest, 'mediaType'),
    layers: Array.isArray(layers)
      ? layers.map((layer: unknown) => ({
          mediaType: textOf(layer, 'mediaType') ?? '',
          digest: textOf(layer, 'digest') ?? '',
          title: textOf(membersOf(layer).get('annotations'), titleAnnotation),
        }))
      : undefined,
  };
}

function explained({ status, body }: RefusedAnswer, registry: string): Explanation | undefined {
  const code = /"code"\s*:\s*"([A-Z_]{1,64})"/.exec(body)?.[1];
  const told = code === undefined ? '' : `${code}: `;
  if (status === 404) return { isMissing: true, advice: `${told}check spec.model.uri` };
  if (status !== 401 && status !== 403) return undefined;
  return {
    isMissing: false,
    advice: `${told}check the account of ${registry} in .dockerconfigjson of the Secret of spec.model.secretName, and what it may pull`,
  };
}
