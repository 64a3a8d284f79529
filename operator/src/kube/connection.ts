import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';

/** Where the API server is and how to speak to it. */
export interface Connection {
  readonly server: string;
  readonly dispatcher: Dispatcher;
  readonly headers: Readonly<Record<string, string>>;
}

export type TlsOptions = Pick<
  ConnectionOptions,
  'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'servername' | 'rejectUnauthorized'
>;

/** What a connection is made of; tokens and certificates on disk are rotated. */
export interface Credentials {
  readonly server: string;
  readonly proxy?: string | undefined;
  readonly tls: TlsOptions;
  readonly headers: Readonly<Record<string, string>>;
}

/** How long credentials are taken for current. */
const credentialsMilliseconds = 30_000;

/**
 * Keeps one pool of connections, which lasts for as long as the TLS credentials do.
 *
 * @param read reads the credentials as they are now
 * @returns a function that gives the connection with credentials that are current
 */
export function keepConnection(read: () => Promise<Credentials>): () => Promise<Connection> {
  let current: { readonly connection: Connection; readonly identity: string; readonly until: number } | undefined;
  const refresh = async () => {
    const { server, proxy, tls, headers } = await read();
    const identity = JSON.stringify(tls);
    const dispatcher = current?.identity === identity ? current.connection.dispatcher : createDispatcher(tls, proxy);
    if (current !== undefined && dispatcher !== current.connection.dispatcher)
      void current.connection.dispatcher.close();
    const connection = { server, dispatcher, headers };
    current = { connection, identity, until: performance.now() + credentialsMilliseconds };
    return connection;
  };
  return async () =>
    current !== undefined && performance.now() < current.until ? current.connection : await refresh();
}

/**
 * HTTP/1.1: undici ends an HTTP/2 session that has been idle for some seconds by an error that nobody can handle, and all
 * requests would share the fate of one connection.
 */
function createDispatcher(tls: TlsOptions, proxy: string | undefined): Dispatcher {
  if (proxy === undefined)
    return new Agent({ allowH2: false, connect: { ...tls, keepAlive: true, keepAliveInitialDelay: 30_000 } });
  if (proxy.startsWith('http')) return new ProxyAgent({ uri: proxy, requestTls: tls, allowH2: false });
  throw new Error(`the proxy ${proxy} in the kubeconfig is not supported: use an http or https proxy`);
}

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The connection of a process in a pod, by the pod's own service account. (The library that reads kubeconfig files takes 50 MB.) */
export function openServiceAccountConnection(env: NodeJS.ProcessEnv): () => Promise<Connection> {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return keepConnection(async () => {
    const [ca, token] = await Promise.all([
      readFile(`${serviceAccount}/ca.crt`, 'utf8'),
      readFile(`${serviceAccount}/token`, 'utf8'),
    ]);
    return { server, tls: { ca }, headers: { authorization: `Bearer ${token.trim()}` } };
  });
}
