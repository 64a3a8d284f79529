import type { ModelUri } from '../../../contract/src/model-uri.ts';
import { isCommit } from '../../../contract/src/resolved-uri.ts';
import type { Credentials } from './credentials.ts';
import { parsedJson, textOf } from './json-members.ts';
import { askSmall } from './redirects.ts';
import {
  type Explanation,
  encoded,
  encodedPath,
  endpointOf,
  type RefusedAnswer,
  type Remote,
  type RequestContext,
} from './remote.ts';

const hub = 'https://huggingface.co';

/**
 * A file of a repository on a hub that has the layout of Hugging Face's: ENDPOINT/ORG/NAME/resolve/REVISION/PATH, with the token
 * HF_TOKEN where that is given, at HF_ENDPOINT where the hub is another. Large files are redirected to a store of their own.
 */
export function hubRemote(
  { repository, revision, path }: Extract<ModelUri, { readonly scheme: 'hf' }>,
  credentials: Credentials,
): Remote {
  let commit = isCommit(revision) ? revision : undefined;
  const endpoint = () => endpointOf(credentials, 'HF_ENDPOINT') ?? hub;
  const headers = (): Readonly<Record<string, string>> => {
    const token = credentials.get('HF_TOKEN');
    return token === undefined ? {} : { authorization: `Bearer ${token}` };
  };
  const ask = (context: RequestContext) =>
    commitOf(`${endpoint()}/api/models/${repository}/revision/${encoded(revision)}`, headers(), context);
  const uriAt = (at: string | undefined) => (at === undefined ? undefined : `hf://${repository}@${at}/${path}`);
  return {
    name: `hf://${repository}@${encoded(revision)}/${path}`,
    async request(context) {
      // Once it is known, it is the same for all tries.
      commit ??= await ask(context);
      const at = encoded(commit ?? revision);
      return { url: new URL(`${endpoint()}/${repository}/resolve/${at}/${encodedPath(path)}`), headers: headers() };
    },
    resolvedUri: () => uriAt(commit),
    resolve: async (context) => uriAt(await ask(context)),
    explain: (answer) => explained(answer, credentials),
  };
}

const mostBytes = 4 * 2 ** 20;

/** What a branch or a tag leads to; undefined where the hub does not tell. */
async function commitOf(
  url: string,
  headers: Readonly<Record<string, string>>,
  context: RequestContext,
): Promise<string | undefined> {
  const { status, body } = await askSmall({ url: new URL(url), headers }, { ...context, headers: {} }, mostBytes);
  const sha = status === 200 ? textOf(parsedJson(body), 'sha') : undefined;
  return sha !== undefined && isCommit(sha) ? sha : undefined;
}

/** What the hub means by its codes (of huggingface_hub: utils/_http.py, hf_raise_for_status). */
function explained({ status, headers }: RefusedAnswer, credentials: Credentials): Explanation | undefined {
  const who = credentials.get('HF_TOKEN') === undefined ? 'without HF_TOKEN' : 'for HF_TOKEN';
  switch (headers['x-error-code']) {
    case 'RevisionNotFound':
      return { isMissing: true, advice: 'the repository has no such revision: check spec.model.uri' };
    case 'EntryNotFound':
      return { isMissing: true, advice: 'the repository has no such file at that revision: check spec.model.uri' };
    case 'GatedRepo':
      return { isMissing: false, advice: `the repository is gated: ask for access on its page, ${who} it has none` };
    case 'RepoNotFound':
      return { isMissing: true, advice: `there is no such repository ${who}: check spec.model.uri and HF_TOKEN` };
    default:
      return status === 401 || status === 403
        ? {
            isMissing: false,
            advice: `it may not be read ${who}: check HF_TOKEN of the Secret of spec.model.secretName`,
          }
        : undefined;
  }
}
