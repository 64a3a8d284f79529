import type { Credentials } from './credentials.ts';
import { messageOf } from './error-message.ts';
import { parsedJson, textOf } from './json-members.ts';
import { type Explanation, encoded, encodedPath, endpointOf, type RefusedAnswer, type Remote } from './remote.ts';
import { StartupError } from './startup-error.ts';

const key = 'GOOGLE_APPLICATION_CREDENTIALS';
const scope = 'https://www.googleapis.com/auth/devstorage.read_only';

type Token = () => Promise<string | null | undefined>;

/**
 * An object of Google Cloud Storage, or of what stands at STORAGE_EMULATOR_HOST. The token is of the account whose JSON file is the key
 * GOOGLE_APPLICATION_CREDENTIALS of the Secret, or of what Google's own library finds (workload identity, the instance's
 * account); without any, it is asked for as anybody would.
 */
export function googleRemote(bucket: string, object: string, credentials: Credentials): Remote {
  let tokens: { readonly account: string | undefined; readonly token: Token } | undefined;
  return {
    name: `gs://${bucket}/${object}`,
    async request() {
      const account = credentials.ofSecret(key);
      if (account !== undefined) {
        checkAccount(account);
        // As Google's library finds it.
        process.env[key] = credentials.pathOf(key);
      }
      if (tokens === undefined || tokens.account !== account) tokens = { account, token: await tokenOf() };
      const token = (await tokens.token().catch((error: unknown) => noToken(error, account))) ?? undefined;
      const endpoint = emulator(credentials) ?? 'https://storage.googleapis.com';
      const url = new URL(`${endpoint}/storage/v1/b/${encoded(bucket)}/o/${encoded(object)}?alt=media`);
      return {
        url,
        // What is no store of Google's needs none, and is shown none on an open way.
        headers: token === undefined || isOpen(url) ? {} : { authorization: `Bearer ${token}` },
      };
    },
    explain: (answer) => explained(answer, credentials),
  };
}

function isOpen({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

/** Often without its scheme. */
function emulator(credentials: Credentials): string | undefined {
  const name = 'STORAGE_EMULATOR_HOST';
  const host = credentials.get(name);
  if (host === undefined || /^https?:\/\//.test(host)) return endpointOf(credentials, name);
  return `http://${encodedPath(host).replace('%3A', ':')}`;
}

async function tokenOf(): Promise<Token> {
  // Most of it is for other ways than this pod's: it is loaded only where it is needed.
  const { GoogleAuth } = await import('google-auth-library');
  const auth = new GoogleAuth({ scopes: scope });
  return () => auth.getAccessToken();
}

/**
 * What becomes of a token that was not given.
 *
 * @throws StartupError where it will not be; the error itself where that may pass
 */
function noToken(error: unknown, account: string | undefined): undefined {
  if (account === undefined && messageOf(error).includes('Could not load the default credentials')) return undefined;
  if (!isRefusal(error)) throw error;
  const whose =
    account === undefined ? 'the service account of the pod' : `${key} of the Secret of spec.model.secretName`;
  throw new StartupError('ModelFetchFailed', `no token is given for ${whose}: ${codeOf(error)}`, { cause: error });
}

/** What it is called, and not what is said of it, which may have in it what was sent. */
function codeOf(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  const named = /\b(invalid_grant|invalid_client|invalid_scope|unauthorized_client|access_denied)\b/.exec(
    messageOf(error),
  );
  return named?.[0] ?? (/^\w{1,64}$/.test(code) ? code : 'it is refused');
}

/** @throws StartupError InvalidConfiguration */
function checkAccount(text: string): void {
  if (textOf(parsedJson(text), 'type') !== undefined) return;
  throw new StartupError(
    'InvalidConfiguration',
    `${key} of the Secret of spec.model.secretName must be the JSON file of an account (create the Secret with --from-file=${key}=FILE)`,
  );
}

/** Whether whoever gives tokens has said no, which it will say again. */
function isRefusal(error: unknown): boolean {
  const status = typeof error === 'object' && error !== null && 'status' in error ? Number(error.status) : 0;
  // A key that is none is not told by a status.
  if (status === 0) return codeOf(error).startsWith('ERR_OSSL');
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

function explained({ status }: RefusedAnswer, credentials: Credentials): Explanation | undefined {
  if (status === 404)
    return { isMissing: true, advice: 'there is no such object, or no such bucket: check spec.model.uri' };
  if (status !== 401 && status !== 403) return undefined;
  return {
    isMissing: false,
    advice:
      credentials.ofSecret(key) === undefined
        ? `set spec.model.secretName to a Secret with ${key}, or let the service account of spec.pod.serviceAccountName read the bucket (roles/storage.objectViewer)`
        : `check what the account of ${key} may read (roles/storage.objectViewer)`,
  };
}
