import type { ModelUri } from '../../../contract/src/model-uri.ts';
import { shorten } from '../protocol/json-reader.ts';
import type { Credentials } from './credentials.ts';
import { Passing, passingAnswer } from './passing-failure.ts';
import { beginningOf, getFollowing } from './redirects.ts';
import { isDigest, type Layer, manifestOf } from './registry-manifest.ts';
import { RegistrySession } from './registry-session.ts';
import { type Explanation, type RefusedAnswer, type Remote, type RequestContext, shown } from './remote.ts';
import { StartupError } from './startup-error.ts';

type Artifact = Extract<ModelUri, { readonly scheme: 'oci' }>;

/** Where the file is. */
type Place =
  | { readonly kind: 'layer'; readonly digest: string }
  /** In one of these, the uppermost first. */
  | { readonly kind: 'image'; readonly digests: readonly [string, ...string[]]; readonly path: string };

/** Of archives, what is none of the formats that are unpacked here. */
const foreignArchive = /\b(zstd|bzip2|xz)$/;

/**
 * A file of an OCI artifact (OCI Distribution Specification 1.1): the layer that has its name, by the annotation
 * org.opencontainers.image.title, or the only one; or a file in an image, in the uppermost layer that has it. The bytes are checked against
 * the digest that the manifest has of them, and the manifest against the one that the URI has of it. What a tag led to first is what is
 * fetched, however often it is tried.
 */
export function registryRemote(artifact: Artifact, credentials: Credentials): Remote {
  const { registry, repository, reference, path } = artifact;
  const session = new RegistrySession(registry, repository, credentials);
  const separator = reference.startsWith('sha256:') ? '@' : ':';
  const file = path === undefined ? '' : `/${path}`;
  const name = `oci://${registry}/${repository}${separator}${reference}${file}`;
  const uriAt = (digest: string) => `oci://${registry}/${repository}@${digest}${file}`;
  let place: Place | undefined;
  let resolved: string | undefined;
  return {
    name,
    async request(context) {
      await session.renew(context);
      if (place === undefined) {
        const manifest = await manifestOf(session, reference, context, name);
        place = placeOf(manifest.layers, path, name);
        resolved = uriAt(manifest.digest);
      }
      if (place.kind === 'layer') return { ...blobOf(session, place.digest), sha256: hexOf(place.digest) };
      const { digests, path: inImage } = place;
      return {
        ...blobOf(session, digests[0]),
        content: (uppermost, whole) => fileInImage(uppermost, digests, inImage, session, whole),
      };
    },
    resolvedUri: () => resolved,
    resolve: async (context) => uriAt((await manifestOf(session, reference, context, name)).digest),
    explain: (answer) => explained(answer, registry),
    isAnotherTryBetter: (answer) => session.learns(answer),
  };
}

const blobOf = (session: RegistrySession, digest: string) => ({
  url: session.urlOf(`blobs/${digest}`),
  headers: session.headers,
});
const hexOf = (digest: string) => digest.slice('sha256:'.length);

/** @throws StartupError */
function placeOf(layers: readonly Layer[], path: string | undefined, name: string): Place {
  const [only, ...others] = layers;
  const isImage = only !== undefined && layers.every(({ title }) => title === undefined);
  const found =
    path === undefined ? (others.length === 0 ? only : undefined) : layers.find(({ title }) => title === path);
  if (found !== undefined) return { kind: 'layer', digest: usable(found, name) };
  if (isImage && path !== undefined) {
    const [uppermost, ...below] = layers.map((layer) => usable(layer, name)).toReversed();
    if (uppermost !== undefined) return { kind: 'image', digests: [uppermost, ...below], path };
  }
  const known = layers
    .slice(0, 10)
    .map(({ title, mediaType }) => shorten(title ?? `one without a name (${mediaType})`));
  const problem =
    path !== undefined
      ? 'no such file'
      : isImage
        ? `${layers.length} layers, as images have: add the path of the file in the image to spec.model.uri`
        : `${layers.length} files: add /FILE to spec.model.uri`;
  throw new StartupError('ModelNotFound', `${name} has ${problem}; it has ${known.join(', ')}`);
}

/**
 * @returns the digest of a layer
 * @throws StartupError
 */
function usable({ digest, mediaType }: Layer, name: string): string {
  if (!isDigest(digest))
    throw new StartupError('ModelFetchFailed', `the file of ${name} has a digest that is not of sha256`);
  if (foreignArchive.test(mediaType))
    throw new StartupError(
      'ModelFetchFailed',
      `${name} is an archive that is not unpacked here (${shorten(mediaType)}): push a tar, with gzip or without, or the model as a file`,
    );
  return digest;
}

/** The bytes of a file in the uppermost layer that has it, unless one above has taken it away. */
async function* fileInImage(
  uppermost: AsyncIterable<Buffer>,
  digests: readonly string[],
  path: string,
  session: RegistrySession,
  context: RequestContext,
): AsyncGenerator<Buffer, void> {
  const { fileInLayer } = await import('./image-layer.ts');
  for (const [index, digest] of digests.entries()) {
    const layer = index === 0 ? uppermost : await layerBytes(session, digest, context);
    const inLayer = yield* fileInLayer(layer, path, hexOf(digest));
    if (inLayer === 'Present') return;
    if (inLayer === 'Removed') break;
  }
  throw new StartupError(
    'ModelNotFound',
    `the image has no '${shorten(path)}' in its ${digests.length} layers: name the file from the image's root on, in spec.model.uri`,
  );
}

async function layerBytes(
  session: RegistrySession,
  digest: string,
  context: RequestContext,
): Promise<AsyncIterable<Buffer>> {
  // Those above may have taken longer than a token lives.
  await session.renew(context);
  const blob = blobOf(session, digest);
  const { response, url } = await getFollowing(blob, context);
  const { statusCode: status, headers } = response;
  if (status === 200) return response.body;
  const answer = { status, headers, body: await beginningOf(response), isElsewhere: url.origin !== blob.url.origin };
  const what = `the server of ${shown(url)} answered ${status}`;
  const passing = session.learns(answer) ? new Passing(what) : passingAnswer(status, headers, what);
  if (passing !== undefined) throw passing;
  const { isMissing, advice } = explained(answer, blob.url.host) ?? {
    isMissing: false,
    advice: 'check spec.model.uri',
  };
  throw new StartupError(isMissing ? 'ModelNotFound' : 'ModelFetchFailed', `${what}: ${advice}`);
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
