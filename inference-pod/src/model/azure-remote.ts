import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { ModelUri } from '../../../contract/src/model-uri.ts';
import type { Credentials } from './credentials.ts';
import { membersOf, parsedJson } from './json-members.ts';
import { askSmall, postedForm } from './redirects.ts';
import {
  type Explanation,
  encodedPath,
  endpointOf,
  type RefusedAnswer,
  type Remote,
  type RequestContext,
} from './remote.ts';
import { StartupError } from './startup-error.ts';

type Blob = Extract<ModelUri, { readonly scheme: 'azblob' }>;

/** Of Azure Storage's REST API: older ones know no tokens of Entra. */
const apiVersion = '2021-12-02';

/**
 * A blob of Azure Storage, at AZURE_STORAGE_BLOB_ENDPOINT where that is not Azure's own. It is asked for with AZURE_STORAGE_SAS_TOKEN, or signed
 * with AZURE_STORAGE_KEY, or with a token for AZURE_CLIENT_ID, by AZURE_CLIENT_SECRET or by what the workload identity of the pod
 * is (AZURE_FEDERATED_TOKEN_FILE); without any of these, as anybody would.
 */
export function azureRemote(blob: Blob, credentials: Credentials): Remote {
  const tokens = new Tokens(credentials);
  return {
    name: `azblob://${blob.account}/${blob.container}/${blob.blob}`,
    async request(context) {
      const endpoint =
        endpointOf(credentials, 'AZURE_STORAGE_BLOB_ENDPOINT') ?? `https://${blob.account}.blob.core.windows.net`;
      const url = new URL(`${endpoint}/${encodedPath(blob.container)}/${encodedPath(blob.blob)}`);
      const headers = { 'x-ms-version': apiVersion, 'x-ms-date': new Date().toUTCString() };
      const signature = credentials.get('AZURE_STORAGE_SAS_TOKEN');
      if (signature !== undefined) {
        url.search = signature;
        return { url, headers };
      }
      const key = credentials.get('AZURE_STORAGE_KEY');
      if (key !== undefined)
        return {
          url,
          headers: { ...headers, authorization: signed(url, { ...headers, ...context.headers }, blob, key) },
        };
      const token = await tokens.token(context);
      return token === undefined
        ? { url, headers }
        : { url, headers: { ...headers, authorization: `Bearer ${token}` } };
    },
    explain: (answer) => explained(answer, credentials),
  };
}

/** What the Authorization header of a GET is with an account's key (learn.microsoft.com: Authorize with Shared Key). */
function signed(url: URL, headers: Readonly<Record<string, string>>, { account }: Blob, key: string): string {
  const own = Object.entries(headers)
    .filter(([name]) => name.startsWith('x-ms-'))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value}`);
  // After the verb: encoding, language, length, MD5, type, date, four conditions, and the range.
  const text = ['GET', ...Array<string>(10).fill(''), headers['range'] ?? '', ...own, `/${account}${url.pathname}`];
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(text.join('\n')).digest('base64');
  return `SharedKey ${account}:${signature}`;
}

/** Tokens of Entra (the OAuth 2.0 client credentials grant), each for as long as it holds. */
class Tokens {
  readonly #credentials: Credentials;
  #known: { readonly token: string; readonly until: number } | undefined;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  /** @throws StartupError where it is refused; Error where that may pass */
  async token(context: RequestContext): Promise<string | undefined> {
    if (this.#known !== undefined && Date.now() < this.#known.until) return this.#known.token;
    const client = this.#credentials.get('AZURE_CLIENT_ID');
    const tenant = this.#credentials.get('AZURE_TENANT_ID');
    if (client === undefined || tenant === undefined) return undefined;
    const proof = await this.#proof();
    if (proof === undefined) return undefined;
    const authority = endpointOf(this.#credentials, 'AZURE_AUTHORITY_HOST') ?? 'https://login.microsoftonline.com';
    const form = {
      grant_type: 'client_credentials',
      client_id: client,
      scope: 'https://storage.azure.com/.default',
      ...proof,
    };
    const url = `${authority}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`;
    this.#known = await ask(url, new URLSearchParams(form), context);
    return this.#known.token;
  }

  async #proof(): Promise<Record<string, string> | undefined> {
    const secret = this.#credentials.get('AZURE_CLIENT_SECRET');
    if (secret !== undefined) return { client_secret: secret };
    const file = this.#credentials.get('AZURE_FEDERATED_TOKEN_FILE');
    if (file === undefined) return undefined;
    const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
    return { client_assertion_type: type, client_assertion: (await readFile(file, 'utf8')).trim() };
  }
}

/** A token is asked for anew before it ends. */
const spareSeconds = 120;

const mostTokenBytes = 65_536;

async function ask(url: string, form: URLSearchParams, context: RequestContext) {
  const { status, body } = await askSmall(
    { url: new URL(url), headers: {} },
    { ...context, headers: {} },
    mostTokenBytes,
    postedForm(form),
  );
  const answer = membersOf(parsedJson(body));
  const token = answer.get('access_token');
  if (status === 200 && typeof token === 'string' && token !== '')
    return { token, until: Date.now() + (Number(answer.get('expires_in')) - spareSeconds) * 1000 };
  const code = /^[a-z_]{1,64}$/.exec(String(answer.get('error')))?.[0] ?? String(status);
  throw new StartupError(
    'ModelFetchFailed',
    `Entra gives no token for AZURE_CLIENT_ID (${code}): check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or the workload identity of spec.pod.serviceAccountName`,
  );
}

/** What Azure means by its codes (learn.microsoft.com: Blob Storage error codes), by the names of keys and never by their values. */
function explained({ status, headers }: RefusedAnswer, credentials: Credentials): Explanation | undefined {
  const code = headers['x-ms-error-code'];
  const told = typeof code === 'string' && /^[A-Za-z]{1,64}$/.test(code) ? `${code}: ` : '';
  if (status === 404) {
    const what = code === 'ContainerNotFound' ? 'there is no such container' : 'the container has no such blob';
    return { isMissing: true, advice: `${told}${what}, or it may not be read by anybody: check spec.model.uri` };
  }
  if (status !== 401 && status !== 403 && status !== 409) return undefined;
  const keys = ['AZURE_STORAGE_SAS_TOKEN', 'AZURE_STORAGE_KEY', 'AZURE_CLIENT_ID'];
  const used = keys.find((name) => credentials.get(name) !== undefined);
  const advice =
    used === undefined
      ? `give ${keys.slice(0, -1).join(' or ')} in the Secret of spec.model.secretName, or a workload identity by spec.pod.serviceAccountName`
      : `check ${used}, and what it may read`;
  return { isMissing: false, advice: `${told}${advice}` };
}
