import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureBinaries } from './binaries.ts';
import { cacheFolder } from './cache.ts';
import { attempt, run } from './command.ts';
import { startControlPlane } from './control-plane.ts';
import { Daemons } from './daemons.ts';
import { ensureDebianPackages } from './debian.ts';
import { loadArchive, systemImages } from './images.ts';
import { locked } from './lock.ts';
import { makeNetwork, network, nodeName, startContainerd, startNode } from './node.ts';
import { cleanUpNode } from './node-cleanup.ts';
import { step, until } from './progress.ts';

/** The one local cluster: a control plane and a node, all below one folder. */
export const clusterFolder = join(cacheFolder, 'cluster');
export const kubeconfigFile = join(clusterFolder, 'admin.kubeconfig');

/** Made last, so that a cluster whose making was interrupted is not taken for one that is up. */
const completeFile = join(clusterFolder, 'complete');

const daemons = new Daemons(clusterFolder);
const daemonNames = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'containerd',
  'kubelet',
  'kube-proxy',
];

export interface ClusterStatus {
  readonly running: readonly string[];
  readonly missing: readonly string[];
  /** Whether the node says that it is ready. */
  readonly nodeReady: boolean;
}

export async function clusterStatus(): Promise<ClusterStatus> {
  const running = daemonNames.filter((name) => daemons.isRunning(name));
  const missing = daemonNames.filter((name) => !running.includes(name));
  if (missing.length > 0) return { running, missing, nodeReady: false };
  const { kubectl } = await ensureBinaries('kubernetes');
  const jsonpath = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
  const ready = await attempt(kubectl, [
    '--kubeconfig',
    kubeconfigFile,
    '--request-timeout=5s',
    'get',
    'node',
    nodeName,
    '-o',
    jsonpath,
  ]);
  return { running, missing, nodeReady: ready === 'True' };
}

/**
 * Brings the cluster up, one process at a time. One that is up is left as it is; one that is half made, or half dead, is taken down and made
 * anew: a cluster for tests holds nothing that has to survive.
 *
 * @returns the administrator's kubeconfig file
 */
export function clusterUp(): Promise<string> {
  return locked(bringUp);
}

async function bringUp(): Promise<string> {
  if (existsSync(completeFile) && (await clusterStatus()).nodeReady) return kubeconfigFile;
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new Error(
      'the local cluster needs root on Linux, because its node has namespaces and mounts of its own; on another machine make a cluster with kind or minikube and give its name with --context (see README.md)',
    );
  }
  await ensureDebianPackages();
  for (const module of ['etcd', 'kubernetes', 'containerd', 'cni', 'coredns', 'metrics-server'] as const)
    await ensureBinaries(module);
  const images = await systemImages();
  await step('removing what is left of an earlier cluster', takeDown);
  await mkdir(clusterFolder, { recursive: true, mode: 0o700 });
  await step('network namespace of the node', makeNetwork);
  await step('etcd, API server, controller manager, scheduler', () =>
    startControlPlane({ folder: clusterFolder, daemons, address: network.hostAddress, withNode: true }),
  );
  await step('containerd and the images of the cluster', async () => {
    await startContainerd(clusterFolder, daemons);
    for (const image of images) await loadArchive(clusterFolder, image);
  });
  await step('kubelet and kube-proxy', () => startNode(clusterFolder, kubeconfigFile, daemons));
  await step('CoreDNS and metrics-server', startAddons);
  await writeFile(completeFile, '');
  return kubeconfigFile;
}

async function startAddons(): Promise<void> {
  const { kubectl } = await ensureBinaries('kubernetes');
  const call = (...args: string[]) => run(kubectl, ['--kubeconfig', kubeconfigFile, ...args]);
  await call('apply', '--server-side', '-f', join(import.meta.dirname, 'addons.yaml'));
  for (const name of ['coredns', 'metrics-server']) {
    await call('-n', 'kube-system', 'rollout', 'status', `deployment/${name}`, '--timeout=90s');
  }
  await until(
    'the metrics API answers',
    60,
    async () => (await attempt(kubectl, ['--kubeconfig', kubeconfigFile, 'top', 'node'])) !== undefined,
  );
}

/** Takes the cluster down and leaves nothing of it behind but what was built. */
export function clusterDown(): Promise<void> {
  return locked(takeDown);
}

async function takeDown(): Promise<void> {
  await cleanUpNode(clusterFolder, daemons);
  for (const name of await daemons.names()) await daemons.stop(name);
  await rm(clusterFolder, { recursive: true, force: true });
}

export async function loadImage(archive: string): Promise<void> {
  await loadArchive(clusterFolder, archive);
}
