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
const reviewMilliseconds = 4_000;

interface Known {
  /** Undefined where the token is none. */
  readonly namespace: Promise<string | undefined>;
  until: number;
}

/** Finds of which namespace the service accounts of callers are, by their tokens: the API server is asked (TokenReview). */
export class Callers {
  readonly #options: CallersOptions;
  /** By SHA-256 of the token. */
  readonly #known = new Map<string, Known>();
  #agent: Agent | undefined;

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
    const before = this.#known.get(digest);
    if (before !== undefined && before.until > now) return before.namespace;
    this.#known.delete(digest);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= mostKnown && oldest !== undefined) this.#known.delete(oldest);
    const known: Known = { namespace: this.#review(token), until: now + knownMilliseconds };
    this.#known.set(digest, known);
    known.namespace.then(
      (namespace) => {
        if (namespace === undefined) known.until = now + unknownMilliseconds;
      },
      () => {
        if (this.#known.get(digest) === known) this.#known.delete(digest);
      },
    );
    return known.namespace;
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
    this.#agent ??= new Agent({ connections: 4, connect: { ca } });
    return this.#agent;
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
