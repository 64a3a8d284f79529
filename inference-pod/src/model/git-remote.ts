import type { ModelUri } from '../../../contract/src/model-uri.ts';
import { isCommit } from '../../../contract/src/resolved-uri.ts';
import type { Credentials } from './credentials.ts';
import { type LfsPointer, leastFileBytes, lfsRequest, pointerOf } from './git-lfs.ts';
import { openBlob } from './git-pack.ts';
import { GitRepository, packOf } from './git-repository.ts';
import { fileAt } from './git-tree.ts';
import { encoded, type Remote, type RequestContext, shown } from './remote.ts';

type GitFile = Extract<ModelUri, { readonly scheme: 'git+https' | 'git+http' }>;

/** A server that cannot leave files out may send as much as is taken of them, slowly. */
const patienceMilliseconds = 600_000;

/**
 * A file of a Git repository at a commit, a tag or a branch, or what it stands for in Git LFS. Nothing is cloned: the folders at the commit
 * are asked for, and then the one file, whose bytes are checked against the id that the folders have of it, and those against the commit.
 */
export function gitRemote({ scheme, repository: place, revision, path }: GitFile, credentials: Credentials): Remote {
  const repository = new GitRepository(new URL(`${scheme.slice('git+'.length)}://${place}`), credentials);
  const uriAt = (at: string) => `${scheme}://${place}@${encoded(at)}/${path}`;
  let commit = isCommit(revision.toLowerCase()) ? revision.toLowerCase() : undefined;
  let file: { readonly id: string; readonly pointer: LfsPointer | undefined } | undefined;
  return {
    name: uriAt(revision),
    patienceMilliseconds,
    async request(context) {
      commit ??= await repository.commitOf(revision, context);
      file ??= await fileOf(repository, commit, path, context);
      if (file.pointer !== undefined) {
        const { url, authorization } = await repository.place(context);
        return await lfsRequest(file.pointer, url, authorization, context);
      }
      const { id } = file;
      const hash = await repository.hash(context);
      return {
        ...(await repository.fileRequest(id, context)),
        content: async function* (answer) {
          yield* (await openBlob(packOf(answer), id, hash)).content;
        },
      };
    },
    resolvedUri: () => (commit === undefined ? undefined : uriAt(commit)),
    resolve: async (context) => uriAt(await repository.commitOf(revision, context)),
    explain: (answer) => (file?.pointer === undefined ? repository.explain(answer) : undefined),
  };
}

/** Which file it is, and what it stands for: that is told by its bytes alone, of which the first are asked for. */
async function fileOf(repository: GitRepository, commit: string, path: string, context: RequestContext) {
  const id = fileAt(await repository.objectsAt(commit, context), commit, path, shown(repository.url));
  const answer = await repository.fileAnswer(id, context);
  const { size, content } = await openBlob(answer, id, await repository.hash(context));
  if (size >= leastFileBytes) {
    await answer[Symbol.asyncIterator]().return?.();
    return { id, pointer: undefined };
  }
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return { id, pointer: pointerOf(Buffer.concat(chunks).toString()) };
}
