import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { load, loadAll } from 'js-yaml';
import { nodeCache } from '../../contract/src/node-cache.ts';
import type { KubeClient } from '../../operator/src/kube/client.ts';
import { ApiError } from '../../operator/src/kube/errors.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { testKubeconfig } from './test-cluster.ts';

const repository = join(import.meta.dirname, '../..');

/** The cache of a node, as a process that has the rights that the chart gives to one. */
export interface RunningCache {
  readonly url: string;
  /** Where its models are. */
  readonly directory: string;
  readonly logs: readonly Readonly<Record<string, unknown>>[];
  /** What it counts, by the name of the metric and its labels. */
  counts(): Promise<Readonly<Record<string, number>>>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly namespace?: string };
}

/** Makes the account of a cache as the chart does. */
export async function grantCacheRights(client: KubeClient): Promise<void> {
  const { helm } = await ensureBinaries('helm');
  const args = ['template', 'slipway', join(repository, 'charts/slipway'), '-n', 'slipway-system'];
  const values = ['--kube-version', '1.37.2', '--set', 'nodeCache.enabled=true'];
  const text = execFileSync(helm, [...args, ...values, '--show-only', 'templates/node-cache.yaml'], {
    encoding: 'utf8',
  });
  const paths: Readonly<Record<string, string>> = {
    ServiceAccount: '/api/v1/namespaces/slipway-system/serviceaccounts',
    ClusterRole: '/apis/rbac.authorization.k8s.io/v1/clusterroles',
    ClusterRoleBinding: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  };
  for (const object of loadAll(text) as (Rendered | null)[]) {
    const path = paths[object?.kind ?? ''];
    if (object === null || path === undefined) continue;
    await client.call('POST', path, { body: object }).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
    });
  }
}

/**
 * A token of a service account, as the kubelet puts one into a pod.
 *
 * @param audience null for the API server itself
 */
export async function tokenOf(
  client: KubeClient,
  namespace: string,
  account = 'default',
  audience: string | null = nodeCache.audience,
): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
  const audiences = audience === null ? {} : { audiences: [audience] };
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600, ...audiences },
  };
  // The account of a namespace is made a moment after it.
  const ask = () => client.call<{ status: { token: string } }>('POST', path, { body }).catch(() => undefined);
  const answer = await eventually(ask, (told) => told !== undefined, { seconds: 30 });
  if (answer === undefined) throw new Error(`there is no service account ${account} in ${namespace}`);
  return answer.status.token;
}

export interface CacheOptions {
  readonly directory: string;
  /** Instead of the API server of the tests. */
  readonly apiServer?: string;
}

export async function startCache(client: KubeClient, { directory, apiServer }: CacheOptions): Promise<RunningCache> {
  const kubeconfig = load(await readFile(testKubeconfig(), 'utf8')) as {
    clusters: { cluster: { server: string; 'certificate-authority-data': string } }[];
  };
  const cluster = kubeconfig.clusters[0]?.cluster;
  if (cluster === undefined) throw new Error('the kubeconfig of the tests has no cluster');
  const credentials = join(directory, 'credentials');
  await mkdir(credentials, { recursive: true });
  await writeFile(join(credentials, 'ca.crt'), Buffer.from(cluster['certificate-authority-data'], 'base64'));
  await writeFile(join(credentials, 'token'), await tokenOf(client, 'slipway-system', 'slipway-node-cache', null));
  const healthPort = await freePort();
  const models = join(directory, 'models');
  const process_ = spawn(
    process.execPath,
    [
      join(repository, 'node-cache/src/main.ts'),
      ...['--directory', models, '--max-gibibytes', '1', '--host', '127.0.0.1'],
      ...['--port', '0', '--health-port', String(healthPort)],
      ...['--api-server', apiServer ?? cluster.server, '--credentials-directory', credentials],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const logs: Readonly<Record<string, unknown>>[] = [];
  const exit = once(process_, 'exit');
  const port = await new Promise((resolve, reject) => {
    createInterface({ input: process_.stdout }).on('line', (line) => {
      const entry: Readonly<Record<string, unknown>> = JSON.parse(line);
      logs.push(entry);
      if (entry['port'] !== undefined) resolve(entry['port']);
    });
    void exit.then(([code]) => reject(new Error(`the cache ended with code ${code}: ${JSON.stringify(logs)}`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    directory: models,
    logs,
    async counts() {
      const text = await (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text();
      const lines = Array.from(text.matchAll(/^(slipway_\S+) (\S+)$/gm), ([, name = '', value]) => [
        name,
        Number(value),
      ]);
      return Object.fromEntries(lines);
    },
    async stop(signal = 'SIGTERM') {
      process_.kill(signal);
      await exit;
    },
  };
}
