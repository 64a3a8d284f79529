import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent, request } from 'undici';

/** Who asks is not known: the token is none, or not for this. */
export class UnknownCaller extends Error {
  override readonly name = 'UnknownCaller';
}

export interface CallersOptions {
  /** Of the API server. */
  readonly url: string;
  /** Where the token of this process's own service account is, and `ca.crt`. */
  readonly credentialsDirectory: string;
  /** Whom the callers' tokens have to be for. */
  readonly audience: string;
  /** In milliseconds, of a clock that never goes back. */
  readonly now: () => number;
}

/** How long it holds what was said of a token. */
const knownMilliseconds = 60_000;
const unknownMilliseconds = 5_000;
const mostKnown = 4096;
/** Others are told to come again. */
const mostReviews = 32;
const reviewMilliseconds = 4_000;

interface Known {
  /** Undefined where the token is none. */
  readonly namespace: Promise<string | undefined>;
  readonly until: number;
}

/** Finds of which namespace the service accounts of callers are, by their tokens: the API server is asked (TokenReview). */
export class Callers {
  readonly #options: CallersOptions;
  /** By SHA-256 of the token: those of whom the namespace is known, and others, who cannot push them out. */
  readonly #known = new Map<string, Known>();
  readonly #others = new Map<string, Known>();
  #reviews = 0;
  #agent: { readonly ca: string; readonly agent: Agent } | undefined;

  constructor(options: CallersOptions) {
    this.#options = options;
  }

  /**
   * @param authorization the header
   * @throws UnknownCaller; what asking the API server throws
   */
  async namespaceOf(authorization: string | undefined): Promise<string> {
    const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined)
      throw new UnknownCaller('there is no token of a service account in the header authorization');
    const namespace = await this.#lookUp(token);
    if (namespace !== undefined) return namespace;
    throw new UnknownCaller(`the token is none of a service account for ${this.#options.audience}`);
  }

  #lookUp(token: string): Promise<string | undefined> {
    const digest = createHash('sha256').update(token).digest('hex');
    const now = this.#options.now();
    const before = this.#known.get(digest) ?? this.#others.get(digest);
    if (before !== undefined && before.until > now) return before.namespace;
    this.#known.delete(digest);
    this.#others.delete(digest);
    if (!mayBeFor(token, this.#options.audience)) return Promise.resolve(undefined);
    if (this.#reviews >= mostReviews) throw new Error('too many tokens wait to be reviewed: try again');
    this.#reviews += 1;
    const namespace = this.#review(token).finally(() => {
      this.#reviews -= 1;
    });
    remember(this.#others, digest, { namespace, until: now + unknownMilliseconds });
    namespace.then(
      (found) => {
        if (found === undefined) return;
        this.#others.delete(digest);
        remember(this.#known, digest, { namespace, until: now + knownMilliseconds });
      },
      () => this.#others.delete(digest),
    );
    return namespace;
  }

  async #review(token: string): Promise<string | undefined> {
    const { url, credentialsDirectory, audience } = this.#options;
    const own = await readFile(join(credentialsDirectory, 'token'), 'utf8');
    const { statusCode, body } = await request(`${url}/apis/authentication.k8s.io/v1/tokenreviews`, {
      method: 'POST',
      headers: { authorization: `Bearer ${own.trim()}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [audience] },
      }),
      dispatcher: await this.#dispatcher(),
      signal: AbortSignal.timeout(reviewMilliseconds),
    });
    const text = await body.text();
    if (statusCode !== 201)
      throw new Error(`the API server answered ${statusCode} to a TokenReview: ${text.slice(0, 300)}`);
    return namespaceIn(JSON.parse(text), audience);
  }

  async #dispatcher(): Promise<Agent> {
    const ca = await readFile(join(this.#options.credentialsDirectory, 'ca.crt'), 'utf8');
    // The authority of the cluster may be another one by now.
    if (this.#agent?.ca !== ca) this.#agent = { ca, agent: new Agent({ connections: 4, connect: { ca } }) };
    return this.#agent.agent;
  }
}

function remember(map: Map<string, Known>, digest: string, known: Known): void {
  const [oldest] = map.keys();
  if (map.size >= mostKnown && oldest !== undefined) map.delete(oldest);
  map.set(digest, known);
}

/** Whether a token says that it is for the audience (RFC 7519): the API server need not be asked of any other. */
function mayBeFor(token: string, audience: string): boolean {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const audiences: unknown = memberOf(claims, 'aud');
    return Array.isArray(audiences) ? audiences.includes(audience) : audiences === audience;
  } catch {
    return false;
  }
}

/** @param review as the API server has answered it */
function namespaceIn(review: unknown, audience: string): string | undefined {
  const status = memberOf(review, 'status');
  const audiences = memberOf(status, 'audiences');
  const username = memberOf(memberOf(status, 'user'), 'username');
  const isMeant = Array.isArray(audiences) && audiences.includes(audience);
  if (memberOf(status, 'authenticated') !== true || !isMeant || typeof username !== 'string') return undefined;
  return /^system:serviceaccount:([a-z0-9][-a-z0-9]{0,62}):[^:]+$/.exec(username)?.[1];
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.entries(value).find(([key]) => key === name)?.[1];
}
