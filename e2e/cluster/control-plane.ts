import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { dump } from 'js-yaml';
import { ensureBinaries } from './binaries.ts';
import { type Client, makeCertificates } from './certificates.ts';
import { attempt } from './command.ts';
import type { Daemons } from './daemons.ts';
import { until } from './progress.ts';

export interface ControlPlaneOptions {
  readonly folder: string;
  readonly daemons: Daemons;
  /** The API server's address as nodes and pods reach it. */
  readonly address: string;
  /** With a node: service accounts, the scheduler and aggregated APIs; without, the light form. */
  readonly withNode: boolean;
  /** The controllers that run; all by default. */
  readonly controllers?: readonly string[];
  /** Whose requests are recorded in `audit.log`; nobody's by default. */
  readonly recordedUser?: string | undefined;
}

export interface ControlPlane {
  readonly url: string;
  /** The kubeconfig file of the administrator. */
  readonly kubeconfig: string;
}

export const serviceNetwork = '10.96.0.0/16';
export const podNetwork = '10.199.128.0/24';

/** Starts etcd, the API server and the controller manager, and waits until the API is ready. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { folder, daemons, address, withNode } = options;
  const [{ etcd }, kubernetes] = [await ensureBinaries('etcd'), await ensureBinaries('kubernetes')];
  const certificates = join(folder, 'certificates');
  const serviceNames = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
  ];
  await makeCertificates(certificates, ['localhost', '127.0.0.1', address, '10.96.0.1', ...serviceNames]);
  const [etcdPort, peerPort, port] = await freePorts(3);
  const url = `https://${address}:${port}`;
  for (const client of ['admin', 'controller-manager', 'scheduler', 'kubelet', 'proxy'] as const) {
    await writeKubeconfig(folder, client, url);
  }
  const kubeconfig = join(folder, 'admin.kubeconfig');

  if (options.recordedUser !== undefined)
    await writeFile(join(folder, 'audit.yaml'), dump(auditPolicy(options.recordedUser)));
  await daemons.start({ name: 'etcd', command: etcd, args: etcdArguments(folder, etcdPort, peerPort) });
  await daemons.start({
    name: 'kube-apiserver',
    command: kubernetes['kube-apiserver'],
    args: [...apiServerArguments(certificates, options, etcdPort, port), ...auditArguments(options)],
  });
  await until('the API server is ready', 60, async () => {
    for (const name of ['etcd', 'kube-apiserver']) {
      if (!daemons.isRunning(name)) throw new Error(`${name} ended:\n${await daemons.lastWords(name)}`);
    }
    return (await attempt(kubernetes.kubectl, ['--kubeconfig', kubeconfig, 'get', '--raw=/readyz'])) === 'ok';
  });
  await daemons.start({
    name: 'kube-controller-manager',
    command: kubernetes['kube-controller-manager'],
    args: controllerManagerArguments(folder, certificates, options.controllers ?? ['*']),
  });
  if (withNode) {
    const args = [
      '--kubeconfig',
      join(folder, 'scheduler.kubeconfig'),
      '--bind-address=127.0.0.1',
      '--leader-elect=false',
    ];
    await daemons.start({ name: 'kube-scheduler', command: kubernetes['kube-scheduler'], args });
  }
  return { url, kubeconfig };
}

function etcdArguments(folder: string, port: number, peerPort: number): string[] {
  const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`];
  return [
    `--data-dir=${join(folder, 'etcd')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    // The data of a test cluster need not survive the machine.
    '--unsafe-no-fsync',
  ];
}

function apiServerArguments(
  certificates: string,
  options: ControlPlaneOptions,
  etcdPort: number,
  port: number,
): string[] {
  const file = (name: string) => join(certificates, name);
  const common = [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--bind-address=${options.address}`,
    `--advertise-address=${options.address}`,
    `--secure-port=${port}`,
    `--tls-cert-file=${file('api-server.crt')}`,
    `--tls-private-key-file=${file('api-server.key')}`,
    `--client-ca-file=${file('ca.crt')}`,
    '--authorization-mode=Node,RBAC',
    `--service-cluster-ip-range=${serviceNetwork}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${file('service-accounts.pub')}`,
    `--service-account-signing-key-file=${file('service-accounts.key')}`,
  ];
  if (!options.withNode)
    return [
      ...common,
      '--endpoint-reconciler-type=none',
      '--disable-admission-plugins=ServiceAccount',
      // Some clusters have it: who names an owner that blocks deletion needs the right to.
      '--enable-admission-plugins=OwnerReferencesPermissionEnforcement',
    ];
  return [
    ...common,
    '--enable-admission-plugins=NodeRestriction',
    '--kubelet-preferred-address-types=InternalIP',
    `--kubelet-client-certificate=${file('kubelet-client.crt')}`,
    `--kubelet-client-key=${file('kubelet-client.key')}`,
    '--enable-aggregator-routing=true',
    `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
    '--requestheader-allowed-names=front-proxy',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--proxy-client-cert-file=${file('front-proxy.crt')}`,
    `--proxy-client-key-file=${file('front-proxy.key')}`,
  ];
}

function auditPolicy(user: string) {
  return {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived', 'ResponseStarted'],
    rules: [{ level: 'Metadata', users: [user] }, { level: 'None' }],
  };
}

function auditArguments({ folder, recordedUser }: ControlPlaneOptions): string[] {
  if (recordedUser === undefined) return [];
  return [`--audit-policy-file=${join(folder, 'audit.yaml')}`, `--audit-log-path=${join(folder, 'audit.log')}`];
}

function controllerManagerArguments(folder: string, certificates: string, controllers: readonly string[]): string[] {
  return [
    `--kubeconfig=${join(folder, 'controller-manager.kubeconfig')}`,
    '--bind-address=127.0.0.1',
    '--secure-port=0',
    '--leader-elect=false',
    `--controllers=${controllers.join(',')}`,
    '--use-service-account-credentials=true',
    `--service-account-private-key-file=${join(certificates, 'service-accounts.key')}`,
    `--root-ca-file=${join(certificates, 'ca.crt')}`,
    `--cluster-cidr=${podNetwork}`,
    '--allocate-node-cidrs=false',
    // Tests wait for load to be seen; the default is 15 s and 5 min.
    '--horizontal-pod-autoscaler-sync-period=5s',
    '--horizontal-pod-autoscaler-initial-readiness-delay=5s',
    '--horizontal-pod-autoscaler-cpu-initialization-period=10s',
  ];
}

async function writeKubeconfig(folder: string, client: Client, server: string): Promise<void> {
  const read = async (name: string) => (await readFile(join(folder, 'certificates', name))).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'slipway',
    clusters: [{ name: 'slipway', cluster: { server, 'certificate-authority-data': await read('ca.crt') } }],
    users: [
      {
        name: client,
        user: {
          'client-certificate-data': await read(`${client}.crt`),
          'client-key-data': await read(`${client}.key`),
        },
      },
    ],
    contexts: [{ name: 'slipway', context: { cluster: 'slipway', user: client } }],
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${client}.kubeconfig`), dump(config), { mode: 0o600 });
}

/** Ports of the host that nobody listens on. They are held together, so that all are different. */
async function freePorts(count: 3): Promise<[number, number, number]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  const [first = 0, second = 0, third = 0] = ports;
  return [first, second, third];
}
