import { shownText } from './git-packets.ts';
import { membersOf, parsedJson, textOf } from './json-members.ts';
import { passingAnswer } from './passing-failure.ts';
import { askSmall } from './redirects.ts';
import { type RemoteRequest, type RequestContext, shown } from './remote.ts';
import { StartupError } from './startup-error.ts';

/** What stands in a repository in the place of a large file (Git LFS Specification, "The Pointer"). */
export interface LfsPointer {
  /** Of the file, in lower-case hexadecimal. */
  readonly sha256: string;
  /** Of the file, in bytes. */
  readonly size: number;
}

/** A pointer is shorter. */
export const leastFileBytes = 1024;

/** @throws StartupError ModelFetchFailed for one of a kind that is not known */
export function pointerOf(text: string): LfsPointer | undefined {
  if (!text.startsWith('version https://git-lfs.github.com/spec/')) return undefined;
  const [, sha256, size] =
    /^version https:\/\/git-lfs\.github\.com\/spec\/v1\r?\noid sha256:([0-9a-f]{64})\r?\nsize (\d{1,15})\s*$/.exec(
      text,
    ) ?? [];
  if (sha256 !== undefined) return { sha256, size: Number(size) };
  throw new StartupError(
    'ModelFetchFailed',
    'what stands in the repository for the model is a pointer of Git LFS that is not understood: only files without extensions are, by SHA-256',
  );
}

const mediaType = 'application/vnd.git-lfs+json';
const mostAnswerBytes = 65_536;

/**
 * Asks where a large file is to be had (Git LFS Batch API). That is told for a while only, so it is asked anew for each try.
 *
 * @param repository that has the pointer
 * @param authorization for whatever is on the repository's own server
 * @throws StartupError where it is refused; anything else where that may pass
 */
export async function lfsRequest(
  { sha256, size }: LfsPointer,
  repository: URL,
  authorization: Readonly<Record<string, string>>,
  context: RequestContext,
): Promise<RemoteRequest> {
  const url = new URL(repository);
  url.pathname = `${url.pathname.replace(/\.git$/, '')}.git/info/lfs/objects/batch`;
  const question = {
    operation: 'download',
    transfers: ['basic'],
    objects: [{ oid: sha256, size }],
    hash_algo: 'sha256',
  };
  const { status, body } = await askSmall(
    { url, headers: authorization },
    { ...context, headers: { accept: mediaType } },
    mostAnswerBytes,
    { type: mediaType, content: JSON.stringify(question) },
  );
  if (status !== 200) throw refusal(url, status, body);
  const objects = membersOf(parsedJson(body)).get('objects');
  const object = membersOf(Array.isArray(objects) ? objects[0] : undefined);
  const problem = membersOf(object.get('error'));
  if (problem.size > 0) throw refusal(url, Number(problem.get('code')), textOf(object.get('error'), 'message') ?? '');
  const action = membersOf(object.get('actions')).get('download');
  const href = textOf(action, 'href') ?? '';
  if (!URL.canParse(href) || !allowedFrom(url.protocol).includes(new URL(href).protocol))
    throw new StartupError('ModelFetchFailed', `Git LFS at ${shown(url)} does not tell where the model is to be had`);
  const target = new URL(href);
  const isReady = membersOf(action).get('authenticated') === true || object.get('authenticated') === true;
  const own = target.origin === repository.origin && !isReady ? authorization : {};
  return { url: target, headers: { ...own, ...headersOf(membersOf(action).get('header')) }, sha256 };
}

/** As with redirects, it never goes on without TLS where there was some. */
const allowedFrom = (protocol: string): readonly string[] => (protocol === 'https:' ? ['https:'] : ['https:', 'http:']);

/** Nothing of how the request itself is sent is the server's to say. */
function isSendable(name: string, value: string): boolean {
  const isOwn = /^(host|range|if-range|connection|content-.*|transfer-encoding|expect|te|upgrade)$/i.test(name);
  return !isOwn && /^[\w!#$%&'*+.^`|~-]+$/.test(name) && /^[\t\x20-\x7e]*$/.test(value);
}

function headersOf(told: unknown): Readonly<Record<string, string>> {
  const texts = Array.from(membersOf(told)).flatMap(([name, value]): [string, string][] =>
    typeof value === 'string' && isSendable(name, value) ? [[name.toLowerCase(), value]] : [],
  );
  return Object.fromEntries(texts);
}

function refusal(url: URL, status: number, body: string): Error {
  const what = `Git LFS at ${shown(url)} answered ${status || 'with an error'}`;
  const passing = passingAnswer(status, {}, what);
  if (passing !== undefined) return passing;
  if (status === 401 || status === 403)
    return new StartupError(
      'ModelFetchFailed',
      `${what}: check username and password of the Secret of spec.model.secretName, and what they may read`,
    );
  if (status === 404 || status === 410)
    return new StartupError(
      'ModelNotFound',
      `${what}: it does not have the model, for which the repository has a pointer, or may not be asked by this account: push it (git lfs push --all origin), or check password of the Secret of spec.model.secretName`,
    );
  const told = shownText(textOf(parsedJson(body), 'message') ?? body);
  return new StartupError('ModelFetchFailed', `${what}${told === '' ? '' : `: ${told}`}`);
}
