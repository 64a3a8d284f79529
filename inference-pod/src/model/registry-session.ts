import type { Credentials } from './credentials.ts';
import { bodyOf, getFollowing } from './redirects.ts';
import { type RequestContext, shown } from './remote.ts';
import { StartupError } from './startup-error.ts';

const key = '.dockerconfigjson';
const mostBytes = 4 * 2 ** 20;

/** Asks a registry for what it has of a repository, and shows it who asks, as it wants to be shown. */
export class RegistrySession {
  readonly #registry: string;
  readonly #repository: string;
  readonly #credentials: Credentials;
  /** What the registry has asked for. */
  #challenge: string | undefined;
  #authorization: string | undefined;

  constructor(registry: string, repository: string, credentials: Credentials) {
    this.#registry = registry;
    this.#repository = repository;
    this.#credentials = credentials;
  }

  urlOf(path: string): URL {
    return new URL(`${this.#origin}/v2/${this.#repository}/${path}`);
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#authorization === undefined ? {} : { authorization: this.#authorization };
  }

  /** As everybody does, a registry on this machine is asked without TLS; another only where that is wanted. */
  get #origin(): string {
    const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(this.#registry);
    const isPlain = isLocal || this.#credentials.get('OCI_PLAIN_HTTP') === 'true';
    // The name by which everybody knows Docker Hub is not that of its registry.
    const host = this.#registry === 'docker.io' ? 'registry-1.docker.io' : this.#registry;
    return `${isPlain ? 'http' : 'https'}://${host}`;
  }

  /** A token may have run out since the last try. */
  async renew(context: RequestContext): Promise<void> {
    if (this.#challenge !== undefined) this.#authorization = await this.#answer(this.#challenge, context);
  }

  /**
   * Gets something small.
   *
   * @throws StartupError where the registry refuses it; Error where that may pass
   */
  async get(path: string, accept: string, context: RequestContext) {
    const url = this.urlOf(path);
    let answer = await ask(url, { accept, ...this.headers }, context);
    if (answer.status === 401 && answer.challenge !== undefined) {
      this.#challenge = answer.challenge;
      await this.renew(context);
      answer = await ask(url, { accept, ...this.headers }, context);
    }
    const { status, contentType, body } = answer;
    if (status === 200) return { contentType, body };
    if (status >= 500 || status === 429) throw new Error(`the registry ${this.#registry} answered ${status}`);
    const what = `the registry of ${shown(url)} answered ${status}`;
    if (status === 401 || status === 403)
      throw new StartupError(
        'ModelFetchFailed',
        `${what}: check the account of ${this.#registry} in ${key} of the Secret of spec.model.secretName, and what it may pull`,
      );
    throw new StartupError(status === 404 ? 'ModelNotFound' : 'ModelFetchFailed', `${what}: check spec.model.uri`);
  }

  /** What the Authorization header is that a registry asks for (distribution: Token Authentication Specification; RFC 7617). */
  async #answer(challenge: string, context: RequestContext): Promise<string | undefined> {
    const account = this.#account();
    const basic = account === undefined ? undefined : `Basic ${account}`;
    if (/^basic\b/i.test(challenge)) return basic;
    const parameter = (name: string) => new RegExp(`[ ,]${name}="([^"]*)"`, 'i').exec(challenge)?.[1];
    const realm = parameter('realm') ?? '';
    if (!/^bearer /i.test(challenge) || !URL.canParse(realm))
      throw new StartupError(
        'ModelFetchFailed',
        `the registry ${this.#registry} asks for what is not known: ${challenge.slice(0, 100)}`,
      );
    const url = new URL(realm);
    if (url.protocol !== 'https:' && !this.#origin.startsWith('http://'))
      throw new StartupError(
        'ModelFetchFailed',
        `the registry ${this.#registry} sends to ${shown(url)} for a token, without TLS: that is refused`,
      );
    const service = parameter('service');
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', `repository:${this.#repository}:pull`);
    const { status, body } = await ask(url, basic === undefined ? {} : { authorization: basic }, context);
    if (status >= 500 || status === 429) throw new Error(`${shown(url)} answered ${status}`);
    const token = status === 200 ? /"(?:access_)?token"\s*:\s*"([^"]+)"/.exec(body.toString())?.[1] : undefined;
    if (token === undefined)
      throw new StartupError(
        'ModelFetchFailed',
        `${shown(url)} gives no token (${status}): check the account of ${this.#registry} in ${key} of the Secret of spec.model.secretName`,
      );
    return `Bearer ${token}`;
  }

  /** User and password as the file of Docker's own tools has them: in Base64. */
  #account(): string | undefined {
    const text = this.#credentials.ofSecret(key);
    if (text === undefined) return undefined;
    let file: unknown;
    try {
      file = JSON.parse(text);
    } catch {
      file = undefined;
    }
    const auths = entriesOf(file).find(([name]) => name === 'auths')?.[1];
    if (auths === undefined)
      throw new StartupError(
        'InvalidConfiguration',
        `${key} of the Secret of spec.model.secretName must be JSON with auths, as kubectl create secret docker-registry makes it`,
      );
    const [, account] = entriesOf(auths).find(([name]) => hostOf(name) === this.#registry) ?? [];
    const field = (name: string) => {
      const value = entriesOf(account).find(([own]) => own === name)?.[1];
      return typeof value === 'string' && value !== '' ? value : undefined;
    };
    const [user, password] = [field('username'), field('password')];
    return (
      field('auth') ?? (user === undefined ? undefined : Buffer.from(`${user}:${password ?? ''}`).toString('base64'))
    );
  }
}

/** A registry is named by its host, by its URL, or, Docker Hub, by an old address of its index. */
function hostOf(name: string): string {
  const host = name.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
}

function entriesOf(value: unknown): readonly (readonly [string, unknown])[] {
  return typeof value === 'object' && value !== null ? Object.entries(value) : [];
}

async function ask(url: URL, headers: Readonly<Record<string, string>>, context: RequestContext) {
  const { accept, ...own } = headers;
  const more = accept === undefined ? {} : { accept };
  const { response } = await getFollowing({ url, headers: own }, { ...context, headers: more });
  const { 'www-authenticate': asked, 'content-type': type } = response.headers;
  return {
    status: response.statusCode,
    challenge: typeof asked === 'string' ? asked : undefined,
    contentType: String(type ?? '').replace(/;.*$/, ''),
    body: await bodyOf(response, mostBytes),
  };
}
