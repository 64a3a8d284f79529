import type { Credentials } from './credentials.ts';
import { membersOf, parsedJson, textOf } from './json-members.ts';
import { askSmall, type SmallAnswer } from './redirects.ts';
import { type RefusedAnswer, type RequestContext, shown } from './remote.ts';
import { StartupError } from './startup-error.ts';

const key = '.dockerconfigjson';
const mostManifestBytes = 4 * 2 ** 20;
const mostTokenBytes = 65_536;

/** How a registry asks who it is. */
type Challenge =
  | { readonly kind: 'Basic' }
  | { readonly kind: 'Bearer'; readonly realm: URL; readonly service: string };

/** Asks a registry for what it has of a repository, and shows it who asks, as it wants to be shown. */
export class RegistrySession {
  readonly #registry: string;
  readonly #repository: string;
  readonly #credentials: Credentials;
  /** What the registry has asked for. */
  #challenge: Challenge | undefined;
  #authorization: string | undefined;
  #isLearnt = false;

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
   * Takes what a registry asks for when it refuses a blob.
   *
   * @returns whether the next try is worth it: once
   */
  learns({ status, headers, isElsewhere }: RefusedAnswer): boolean {
    if (status !== 401 || isElsewhere || this.#isLearnt) return false;
    this.#isLearnt = true;
    this.#challenge = this.#challengeOf(headers['www-authenticate']) ?? this.#challenge;
    return this.#challenge !== undefined;
  }

  /**
   * Gets a manifest.
   *
   * @throws StartupError where the registry refuses it; anything else where that may pass
   */
  async manifest(reference: string, accept: string, context: RequestContext) {
    const url = this.urlOf(`manifests/${reference}`);
    const get = () => askSmall({ url, headers: this.headers }, { ...context, headers: { accept } }, mostManifestBytes);
    let answer = await get();
    // Whoever it was redirected to is not to be told who asks.
    if (answer.status === 401 && answer.url.origin === url.origin) {
      this.#challenge = this.#challengeOf(answer.headers['www-authenticate']);
      await this.renew(context);
      if (this.#authorization !== undefined) answer = await get();
    }
    if (answer.status !== 200) throw this.#refusal(answer);
    return { contentType: String(answer.headers['content-type'] ?? '').replace(/;.*$/, ''), body: answer.body };
  }

  #refusal({ status, url }: SmallAnswer): StartupError {
    const what = `the registry of ${shown(url)} answered ${status}`;
    if (status === 401 || status === 403)
      return new StartupError(
        'ModelFetchFailed',
        `${what}: check the account of ${this.#registry} in ${key} of the Secret of spec.model.secretName, and what it may pull`,
      );
    return new StartupError(status === 404 ? 'ModelNotFound' : 'ModelFetchFailed', `${what}: check spec.model.uri`);
  }

  /** Of several, a token, which anybody may be given; a password only where there is one. */
  #challengeOf(header: string | string[] | undefined): Challenge | undefined {
    const text = Array.isArray(header) ? header.join(', ') : (header ?? '');
    const bearer = /\bbearer\s+(\S.*)$/is.exec(text)?.[1];
    const parameter = (name: string) => new RegExp(`(?:^|[ ,])${name}="([^"]*)"`, 'i').exec(bearer ?? '')?.[1];
    const realm = parameter('realm');
    if (realm !== undefined && URL.canParse(realm))
      return { kind: 'Bearer', realm: new URL(realm), service: parameter('service') ?? '' };
    if (/\bbasic\b/i.test(text)) return { kind: 'Basic' };
    if (text === '') return undefined;
    throw new StartupError(
      'ModelFetchFailed',
      `the registry ${this.#registry} asks who it is in a way that is not known`,
    );
  }

  /** What the Authorization header is that a registry asks for (distribution: Token Authentication Specification; RFC 7617). */
  async #answer(challenge: Challenge, context: RequestContext): Promise<string | undefined> {
    const account = this.#account();
    const basic = account === undefined ? undefined : `Basic ${account}`;
    if (challenge.kind === 'Basic') return basic;
    const { realm, service } = challenge;
    if (realm.protocol !== 'https:' && !this.#origin.startsWith('http://'))
      throw new StartupError(
        'ModelFetchFailed',
        `the registry ${this.#registry} sends to ${shown(realm)} for a token, without TLS: that is refused`,
      );
    const url = new URL(realm);
    if (service !== '') url.searchParams.set('service', service);
    url.searchParams.set('scope', `repository:${this.#repository}:pull`);
    const own = basic === undefined ? {} : { authorization: basic };
    const { status, body } = await askSmall({ url, headers: own }, { ...context, headers: {} }, mostTokenBytes);
    const told = status === 200 ? parsedJson(body) : undefined;
    const token = textOf(told, 'token') ?? textOf(told, 'access_token') ?? '';
    if (token === '')
      throw new StartupError(
        'ModelFetchFailed',
        `${shown(url)} gives no token (${status}): check the account of ${this.#registry} in ${key} of the Secret of spec.model.secretName`,
      );
    return `Bearer ${token}`;
  }

  /** User and password as the file of Docker's own tools has them: in Base64. An entry may be for a part of the registry. */
  #account(): string | undefined {
    const text = this.#credentials.ofSecret(key);
    if (text === undefined) return undefined;
    const auths = membersOf(parsedJson(text)).get('auths');
    if (auths === undefined)
      throw new StartupError(
        'InvalidConfiguration',
        `${key} of the Secret of spec.model.secretName must be JSON with auths, as kubectl create secret docker-registry makes it`,
      );
    const wanted = `${this.#registry}/${this.#repository}/`;
    const [, account] =
      Array.from(membersOf(auths))
        .filter(([name]) => wanted.startsWith(`${placeOf(name)}/`))
        .toSorted(([a], [b]) => placeOf(b).length - placeOf(a).length)[0] ?? [];
    const field = (name: string) => textOf(account, name) || undefined;
    const [user, password] = [field('username'), field('password')];
    return (
      field('auth') ?? (user === undefined ? undefined : Buffer.from(`${user}:${password ?? ''}`).toString('base64'))
    );
  }
}

/** What an entry is for: a host, with a path maybe. Some write it as a URL of the API, and Docker Hub by an old address of its index. */
function placeOf(name: string): string {
  const place = name.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  const [host = '', ...path] = place.split('/');
  if (host === 'index.docker.io' || host === 'registry-1.docker.io') return 'docker.io';
  return /^v[12]$/.test(path.join('/')) ? host : place;
}
