import type { Credentials } from './credentials.ts';
import { type GitObjects, type HashName, objectsOf } from './git-pack.ts';
import {
  delimiterPacket,
  flushPacket,
  type Packet,
  packetLine,
  packetsOf,
  shownText,
  textOfLine,
  unlikeGit,
} from './git-packets.ts';
import { Passing, passingAnswer } from './passing-failure.ts';
import { beginningOf, getFollowing, post, type Received } from './redirects.ts';
import {
  type Explanation,
  type Posted,
  type RefusedAnswer,
  type RemoteRequest,
  type RequestContext,
  shown,
} from './remote.ts';
import { StartupError } from './startup-error.ts';

/** Of a server: what it can do, and the branches and tags of a name. */
const mostListedBytes = 4 * 2 ** 20;
/** Of the folders at a commit, compressed, and of its small files where a server sends them as well. */
const mostPackBytes = 64 * 2 ** 20;

/** What is known of the server that has a repository. */
interface Server {
  /** Where it has said to be asked. */
  readonly url: URL;
  readonly hash: HashName;
  /** What it says that it can do, by name. */
  readonly capabilities: ReadonlyMap<string, string>;
}

/** A repository that is asked over HTTP by version 2 of Git's protocol (gitprotocol-http, gitprotocol-v2). */
export class GitRepository {
  readonly url: URL;
  readonly #credentials: Credentials;
  #server: Server | undefined;

  constructor(url: URL, credentials: Credentials) {
    this.url = url;
    this.#credentials = credentials;
  }

  /** Who asks, as a Secret of the type kubernetes.io/basic-auth has it; with a token, most servers take any name. */
  get authorization(): Readonly<Record<string, string>> {
    const password = this.#credentials.ofSecret('password');
    if (password === undefined) return {};
    const username = this.#credentials.ofSecret('username') ?? 'git';
    const encoded = Buffer.from(`${username}:${password}`).toString('base64');
    this.#credentials.keepSecret(encoded);
    return { authorization: `Basic ${encoded}` };
  }

  /**
   * What a branch, a tag or a name in full leads to.
   *
   * @throws StartupError where it is refused, or there is none; anything else where that may pass
   */
  async commitOf(revision: string, context: RequestContext): Promise<string> {
    // A tag goes before a branch, as with Git itself (gitrevisions).
    const isWhole = revision === 'HEAD' || revision.startsWith('refs/');
    const names = isWhole ? [revision] : [`refs/tags/${revision}`, `refs/heads/${revision}`];
    const listed = await this.#listed(names, context);
    const commit = names.map((name) => listed.get(name)).find((found) => found !== undefined);
    if (commit !== undefined) return commit;
    throw new StartupError(
      'ModelNotFound',
      `${shown(this.url)} has no branch or tag '${revision}': name one of them, or a commit by all its digits`,
    );
  }

  /** The folders at a commit. */
  async objectsAt(commit: string, context: RequestContext): Promise<GitObjects> {
    const { hash, capabilities } = await this.#known(context);
    const filter = (capabilities.get('fetch') ?? '').split(' ').includes('filter') ? ['filter blob:none'] : [];
    const answer = await this.#asked('fetch', [`want ${commit}`, 'deepen 1', ...filter, 'done'], context);
    return await objectsOf(await wholeOf(packOf(bodyOf(answer)), mostPackBytes), hash, context.signal);
  }

  /** What asks for one file alone, by its id; its answer is for `packOf`. */
  async fileRequest(id: string, context: RequestContext): Promise<RemoteRequest & { readonly posted: Posted }> {
    return this.#requestOf(await this.#known(context), 'fetch', [`want ${id}`, 'done']);
  }

  /** @returns the answer to a request, which is a pack */
  async fileAnswer(id: string, context: RequestContext): Promise<AsyncIterable<Buffer>> {
    return packOf(bodyOf(await this.#asked('fetch', [`want ${id}`, 'done'], context)));
  }

  /** Where it is asked, which is elsewhere once it has moved, and as whom. */
  async place(context: RequestContext) {
    const { url } = await this.#known(context);
    return { url, authorization: url.origin === this.url.origin ? this.authorization : {} };
  }

  async hash(context: RequestContext): Promise<HashName> {
    return (await this.#known(context)).hash;
  }

  explain({ status, isElsewhere }: Pick<RefusedAnswer, 'status' | 'isElsewhere'>): Explanation | undefined {
    // Whoever it is redirected to, or whoever keeps large files, knows of no account.
    if (isElsewhere) return undefined;
    const isOfAccount = status === 401 || status === 403;
    if (!isOfAccount && status !== 404) return undefined;
    const who = this.#credentials.ofSecret('password') === undefined ? 'without a password' : 'for this account';
    return {
      isMissing: status !== 403,
      advice: `there is no such repository ${who}: check spec.model.uri, and username and password of the Secret of spec.model.secretName`,
    };
  }

  /** @returns commits by the names that lead to them */
  async #listed(names: readonly string[], context: RequestContext): Promise<ReadonlyMap<string, string>> {
    const prefixes = names.map((name) => `ref-prefix ${name}`);
    const { response } = await this.#asked('ls-refs', ['peel', ...prefixes], context);
    const listed = new Map<string, string>();
    for await (const packet of packetsOf(bounded(response.body, mostListedBytes))) {
      if (packet.kind !== 'line') return listed;
      const line = textOfLine(packet.bytes);
      refuseError(line);
      const [, id, name, peeled] = /^([0-9a-f]{40,64}) (\S+)(?:.* peeled:([0-9a-f]{40,64}))?/.exec(line) ?? [];
      if (id !== undefined && name !== undefined) listed.set(name, peeled ?? id);
    }
    throw endedEarly();
  }

  async #asked(command: string, lines: readonly string[], context: RequestContext): Promise<Received> {
    const request = this.#requestOf(await this.#known(context), command, lines);
    const answer = await post(request, request.posted, { ...context, headers: {} });
    if (answer.response.statusCode !== 200) throw await this.#refusal(answer);
    return answer;
  }

  #requestOf({ url, hash, capabilities: known }: Server, command: string, lines: readonly string[]) {
    const isOwn = url.origin === this.url.origin;
    // A server ends at what it does not know.
    const told = [['agent', 'slipway'] as const, ['object-format', hash] as const].filter(([name]) => known.has(name));
    const capabilities = [`command=${command}`, ...told.map(([name, value]) => `${name}=${value}`)];
    const content = [capabilities.map(packetLine), delimiterPacket, lines.map(packetLine), flushPacket].flat().join('');
    return {
      url: new URL(`${url.href}/git-upload-pack`),
      headers: { 'git-protocol': 'version=2', ...(isOwn ? this.authorization : {}) },
      posted: { type: 'application/x-git-upload-pack-request', content },
    };
  }

  async #known(context: RequestContext): Promise<Server> {
    this.#server ??= await this.#discovered(context);
    return this.#server;
  }

  async #discovered(context: RequestContext): Promise<Server> {
    const url = new URL(`${this.url.href}/info/refs?service=git-upload-pack`);
    const answer = await getFollowing(
      { url, headers: this.authorization },
      { ...context, headers: { 'git-protocol': 'version=2' } },
    );
    if (answer.response.statusCode !== 200) throw await this.#refusal(answer);
    const { version, capabilities } = await advertised(answer.response.body);
    if (version !== 'version 2') throw version === '' ? unlikeGit() : tooOld(this.url);
    const format = capabilities.get('object-format') ?? 'sha1';
    if (format !== 'sha1' && format !== 'sha256') throw unlikeGit();
    // Where it was redirected, the rest is asked as well.
    const base = new URL(answer.url.pathname.replace(/\/info\/refs$/, ''), answer.url);
    return { url: base, hash: format, capabilities };
  }

  async #refusal({ response, url }: Received): Promise<Error> {
    await beginningOf(response);
    const { statusCode: status, headers } = response;
    const what = `the server of ${shown(url)} answered ${status}`;
    const passing = passingAnswer(status, headers, what);
    if (passing !== undefined) return passing;
    const { isMissing, advice } = this.explain({ status, isElsewhere: false }) ?? {
      isMissing: false,
      advice: 'check spec.model.uri',
    };
    return new StartupError(isMissing ? 'ModelNotFound' : 'ModelFetchFailed', `${what}: ${advice}`);
  }
}

/** What a server says of itself (gitprotocol-v2, "Capability Advertisement"). */
async function advertised(body: AsyncIterable<Buffer>) {
  const capabilities = new Map<string, string>();
  let version = '';
  for await (const packet of packetsOf(bounded(body, mostListedBytes))) {
    const line = packet.kind === 'line' ? textOfLine(packet.bytes) : '';
    refuseError(line);
    if (packet.kind !== 'line' && version !== '') return { version, capabilities };
    // Some say what they are asked for before they answer.
    if (line === '' || line.startsWith('# service=')) continue;
    if (version === '') version = line;
    else capabilities.set(line.replace(/=.*$/, ''), line.replace(/^[^=]*=?/, ''));
  }
  throw endedEarly();
}

function endedEarly(): Passing {
  return new Passing('the server of the repository has ended its answer before its end');
}

function tooOld(url: URL): StartupError {
  return new StartupError(
    'ModelFetchFailed',
    `the server of ${shown(url)} does not speak version 2 of Git's protocol, or has no such repository: check spec.model.uri`,
  );
}

const bodyOf = ({ response }: Received): AsyncIterable<Buffer> => response.body;

/** What a server answers in the place of anything else. */
function refuseError(line: string): void {
  if (!line.startsWith('ERR ')) return;
  const told = shownText(line.slice('ERR '.length));
  throw new StartupError(
    /not our ref|not found|no such/i.test(told) ? 'ModelNotFound' : 'ModelFetchFailed',
    `the server of the repository refuses what it is asked: ${told}`,
  );
}

/** Of what a pack comes in, by the first byte of each line (gitprotocol-v2, "packfile section"). */
const dataBand = 1;
const errorBand = 3;

/**
 * The pack that is in the answer of a server.
 *
 * @throws StartupError where the answer is another; what reading throws
 */
export async function* packOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  let isPack = false;
  for await (const packet of packetsOf(chunks)) {
    if (!isPack) isPack = beginsPack(packet);
    else if (packet.kind === 'flush') return;
    else if (packet.kind === 'line' && packet.bytes[0] === dataBand) yield packet.bytes.subarray(1);
    else if (packet.kind === 'line' && packet.bytes[0] === errorBand)
      throw new Passing(`the server of the repository has failed: ${shownText(textOfLine(packet.bytes.subarray(1)))}`);
  }
  throw endedEarly();
}

function beginsPack(packet: Packet): boolean {
  if (packet.kind !== 'line') return false;
  const line = textOfLine(packet.bytes);
  refuseError(line);
  return line === 'packfile';
}

async function* bounded(chunks: AsyncIterable<Buffer>, mostBytes: number): AsyncGenerator<Buffer, void> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > mostBytes)
      throw new StartupError(
        'ModelFetchFailed',
        `the server of the repository sends more than ${mostBytes} bytes beside the model: keep large files in Git LFS, or let it leave them out (git config uploadpack.allowFilter true)`,
      );
    yield chunk;
  }
}

async function wholeOf(chunks: AsyncIterable<Buffer>, mostBytes: number): Promise<Buffer> {
  const whole: Buffer[] = [];
  for await (const chunk of bounded(chunks, mostBytes)) whole.push(chunk);
  return Buffer.concat(whole);
}
