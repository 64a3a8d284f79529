import type { RequestOptions } from 'node:https';
// The package's index loads every API class of Kubernetes; only its handling of kubeconfig files is needed.
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { type Connection, keepConnection, type TlsOptions } from './connection.ts';

export interface KubeconfigOptions {
  /** A kubeconfig file; when absent, KUBECONFIG, ~/.kube/config, or the pod's own service account. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

/**
 * The connection that a kubeconfig describes. (The library's own request path opens a connection for each request.)
 *
 * @returns a function that gives the connection with credentials that are current
 * @throws Error when there is no such kubeconfig or context
 */
export function openConnection(options: KubeconfigOptions): () => Promise<Connection> {
  const config = new KubeConfig();
  if (options.kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(options.kubeconfig);
  if (options.context !== undefined) {
    if (config.getContextObject(options.context) === null) {
      const known = config.getContexts().map(({ name }) => name);
      throw new Error(`the kubeconfig has no context '${options.context}', it has ${known.join(', ') || 'none'}`);
    }
    config.setCurrentContext(options.context);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error('the kubeconfig has no current context: choose one with --context');

  return keepConnection(async () => {
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    return {
      server: cluster.server.replace(/\/$/, ''),
      proxy: cluster.proxyUrl,
      tls: tlsOptions(options),
      headers: textHeaders(options.headers),
    };
  });
}

function tlsOptions(from: RequestOptions): TlsOptions {
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = from;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(pfx === undefined ? {} : { pfx }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(servername === undefined ? {} : { servername }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  };
}

function textHeaders(headers: RequestOptions['headers']): Record<string, string> {
  if (headers === undefined || Array.isArray(headers)) return {};
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
}
