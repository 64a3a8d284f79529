import { knownModelUri } from './model-uri.ts';

/** As long as a URI may be. */
const mostResolved = 2048;

/** Whether a revision of a hub or of Git is a commit, which never moves. */
export function isCommit(revision: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(revision);
}

/** Whether a URI may lead to other bytes tomorrow because it has a name in it that moves: a tag, a branch or an alias. */
export function mayMove(uri: string): boolean {
  const parts = knownModelUri(uri);
  switch (parts?.scheme) {
    case 'oci':
      return !parts.reference.startsWith('sha256:');
    case 'hf':
    case 'git+https':
    case 'git+http':
      return !isCommit(parts.revision);
    case 'mlflow':
      return parts.reference.kind === 'alias';
    default:
      return false;
  }
}

/** Whether a URI is what another may have led to: the same file, with a digest, a commit or a number in the place of what moves. */
export function isResolved(uri: string, resolved: string): boolean {
  if (resolved.length > mostResolved || !mayMove(uri) || mayMove(resolved)) return false;
  const [from, to] = [knownModelUri(uri), knownModelUri(resolved)];
  if (from?.scheme === 'oci' && to?.scheme === 'oci')
    return from.registry === to.registry && from.repository === to.repository && from.path === to.path;
  if (from !== undefined && to !== undefined && 'revision' in from && 'revision' in to)
    return from.scheme === to.scheme && from.repository === to.repository && from.path === to.path;
  return from?.scheme === 'mlflow' && to?.scheme === 'mlflow' && from.model === to.model && from.path === to.path;
}
