import { createHash } from 'node:crypto';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';

export const digestOf = (content: Buffer) => `sha256:${createHash('sha256').update(content).digest('hex')}`;

/**
 * Pushes files to a registry as `oras push` does, each a layer with its name.
 *
 * @param type of the layers; oras gives files this one
 * @returns the digest of the manifest
 */
export async function pushArtifact(
  registry: string,
  repository: string,
  tag: string,
  files: Readonly<Record<string, Buffer>>,
  type = 'application/vnd.oci.image.layer.v1.tar',
): Promise<string> {
  const layers = [];
  for (const [name, content] of Object.entries(files)) {
    const annotations = { 'org.opencontainers.image.title': name };
    layers.push({ mediaType: type, ...(await pushBlob(registry, repository, content)), annotations });
  }
  const config = {
    mediaType: 'application/vnd.oci.empty.v1+json',
    ...(await pushBlob(registry, repository, Buffer.from('{}'))),
  };
  const artifactType = 'application/vnd.example.model';
  const text = JSON.stringify({ schemaVersion: 2, mediaType: manifestType, artifactType, config, layers });
  const manifest = Buffer.from(text);
  await put(`http://${registry}/v2/${repository}/manifests/${tag}`, manifest, manifestType);
  return digestOf(manifest);
}

/** Pushes an index of manifests that are there, one for each platform. */
export async function pushIndex(
  registry: string,
  repository: string,
  tag: string,
  manifests: readonly object[],
): Promise<void> {
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  await put(`http://${registry}/v2/${repository}/manifests/${tag}`, index, mediaType);
}

async function pushBlob(registry: string, repository: string, content: Buffer) {
  const begun = await fetch(`http://${registry}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const url = new URL(begun.headers.get('location') ?? '', `http://${registry}`);
  const digest = digestOf(content);
  url.searchParams.set('digest', digest);
  await put(url, content, 'application/octet-stream');
  return { digest, size: content.length };
}

async function put(url: URL | string, content: Buffer, type: string): Promise<void> {
  const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': type }, body: new Uint8Array(content) });
  if (answer.status !== 201) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`);
}
