import { X509Certificate } from 'node:crypto';
import { getCACertificates } from 'node:tls';
import type { Dispatcher } from 'undici';
import { guardedLookup } from './address-guard.ts';
import type { Credentials } from './credentials.ts';
import { StartupError } from './startup-error.ts';

const connectMilliseconds = 10_000;
/** A store that sends nothing for so long has stalled. */
const stallMilliseconds = 60_000;

/**
 * The connections to a store: through the proxy of HTTPS_PROXY or HTTP_PROXY, but for the hosts of NO_PROXY, and trusting the
 * authorities of `ca.crt` of the Secret beside those that everybody trusts. No name leads to what no model is fetched from; names that a proxy
 * looks up are its affair.
 *
 * @throws StartupError InvalidConfiguration for a Secret that cannot be read
 */
export async function storeDispatcher(credentials: Credentials): Promise<Dispatcher> {
  // A pod whose model lies on a volume does without it, and without its memory.
  const { EnvHttpProxyAgent } = await import('undici');
  const own = credentials.ofSecret('ca.crt');
  const trust = own === undefined ? {} : { ca: [...getCACertificates('default'), ...certificatesOf(own)] };
  const variable = (name: string) => credentials.get(name) ?? credentials.get(name.toLowerCase()) ?? '';
  const proxy = (name: string) => proxyOf(variable(name), name);
  return new EnvHttpProxyAgent({
    httpProxy: proxy('HTTP_PROXY'),
    httpsProxy: proxy('HTTPS_PROXY'),
    noProxy: variable('NO_PROXY'),
    connect: { lookup: guardedLookup, timeout: connectMilliseconds, ...trust },
    requestTls: { timeout: connectMilliseconds, ...trust },
    proxyTls: { lookup: guardedLookup, timeout: connectMilliseconds, ...trust },
    headersTimeout: stallMilliseconds,
    bodyTimeout: stallMilliseconds,
  });
}

/** @throws StartupError InvalidConfiguration */
function proxyOf(text: string, name: string): string {
  if (text === '') return '';
  // As curl has it, one without a scheme is asked over HTTP.
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url;
  throw new StartupError(
    'InvalidConfiguration',
    `${name} must be the URL of a proxy, such as http://proxy.example:3128`,
  );
}

/** @throws StartupError InvalidConfiguration */
function certificatesOf(pem: string): readonly string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (found.length > 0) return found.map((one) => new X509Certificate(one).toString());
  } catch {
    // Said below.
  }
  throw new StartupError(
    'InvalidConfiguration',
    'the key ca.crt of the Secret of spec.model.secretName must hold certificates in PEM',
  );
}
