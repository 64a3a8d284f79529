import { createHash } from 'node:crypto';
import { shorten } from '../protocol/json-reader.ts';
import { membersOf, parsedJson, textOf } from './json-members.ts';
import type { RegistrySession } from './registry-session.ts';
import type { RequestContext } from './remote.ts';
import { StartupError } from './startup-error.ts';

/** A layer of a manifest, as far as it matters (OCI Image Specification 1.1, descriptors). */
export interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  /** The name of the file that it is. */
  readonly title: string | undefined;
}

export interface Manifest {
  /** Of what the reference leads to: of an index, that of the index, which is for all platforms. */
  readonly digest: string;
  readonly layers: readonly Layer[];
}

const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const indexTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const titleAnnotation = 'org.opencontainers.image.title';

/** Architectures by the names that images have of them (Go's GOARCH). */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * Gets the manifest that a tag or a digest leads to; of several for platforms, that of this one, or the only one.
 *
 * @throws StartupError for what is no manifest of a model; Error for what may pass
 */
export async function manifestOf(
  session: RegistrySession,
  reference: string,
  context: RequestContext,
  name: string,
): Promise<Manifest> {
  const { digest, type, told } = await documentOf(session, reference, context, name);
  if (manifestTypes.includes(type)) return { digest, layers: layersOf(told, name) };
  if (!indexTypes.includes(type)) throw unlikeArtifact(name, type);
  const platform = platformOf(told);
  if (platform === undefined)
    throw new StartupError(
      'ModelFetchFailed',
      `${name} is for several platforms, none of which is linux/${architectures[process.arch] ?? process.arch}: name one manifest, by its digest`,
    );
  const manifest = await documentOf(session, platform, context, name);
  if (!manifestTypes.includes(manifest.type)) throw unlikeArtifact(name, manifest.type);
  return { digest, layers: layersOf(manifest.told, name) };
}

async function documentOf(session: RegistrySession, reference: string, context: RequestContext, name: string) {
  const accept = [...manifestTypes, ...indexTypes].join(', ');
  const { contentType, body } = await session.manifest(reference, accept, context);
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  if (reference.startsWith('sha256:') && digest !== reference)
    throw new StartupError(
      'ModelDigestMismatch',
      `the manifest of ${name} has the digest ${digest}: the registry sends another`,
    );
  const told = parsedJson(body);
  return { digest, type: textOf(told, 'mediaType') ?? contentType, told };
}

function layersOf(manifest: unknown, name: string): readonly Layer[] {
  const layers = membersOf(manifest).get('layers');
  if (!Array.isArray(layers)) throw unlikeArtifact(name, 'without layers');
  return layers.map((layer: unknown) => ({
    mediaType: textOf(layer, 'mediaType') ?? '',
    digest: textOf(layer, 'digest') ?? '',
    title: textOf(membersOf(layer).get('annotations'), titleAnnotation),
  }));
}

/** Of an index, what is for this machine; what is for none are statements about the others. */
function platformOf(index: unknown): string | undefined {
  const manifests = membersOf(index).get('manifests');
  const known = (Array.isArray(manifests) ? manifests : []).map((manifest: unknown) => {
    const platform = membersOf(manifest).get('platform');
    const [system, architecture] = [textOf(platform, 'os'), textOf(platform, 'architecture')];
    return { digest: textOf(manifest, 'digest') ?? '', system, architecture };
  });
  const real = known.filter(({ digest, system }) => isDigest(digest) && system !== 'unknown');
  const own = real.find(
    ({ system, architecture }) => system === 'linux' && architecture === architectures[process.arch],
  );
  return (own ?? (real.length === 1 ? real[0] : undefined))?.digest;
}

export function isDigest(digest: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(digest);
}

function unlikeArtifact(name: string, type: string): StartupError {
  return new StartupError('ModelFetchFailed', `${name} is no artifact with layers but ${shorten(type)}`);
}
