import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureBinaries } from './binaries.ts';
import { attempt } from './command.ts';
import type { Daemons } from './daemons.ts';
import { network, nodeFolders } from './node.ts';

/**
 * Takes a node down and leaves no process, mount, namespace, link or cgroup behind; also after its processes were
 * killed, when only what they left is there.
 */
export async function cleanUpNode(clusterFolder: string, daemons: Daemons): Promise<void> {
  for (const name of ['kubelet', 'kube-proxy']) await daemons.stop(name);
  if (daemons.isRunning('containerd')) await removeContainers(clusterFolder);
  await daemons.stop('containerd');
  await killProcessesOf(clusterFolder);
  await unmountBelow(clusterFolder);
  await removeNetworks(clusterFolder);
  await removeCgroups();
}

async function removeContainers(clusterFolder: string): Promise<void> {
  const { ctr } = await ensureBinaries('containerd');
  const call = (...args: string[]) =>
    attempt(ctr, ['-a', nodeFolders(clusterFolder).containerdSocket, '-n', 'k8s.io', ...args]);
  const containers = ((await call('containers', 'list', '-q')) ?? '').split('\n').filter((id) => id !== '');
  for (const id of containers) await call('tasks', 'kill', '-s', 'KILL', id);
  for (const id of containers) {
    await call('tasks', 'rm', '-f', id);
    await call('containers', 'rm', id);
  }
}

/** Shims outlive containerd, and containers outlive shims; all of them have the cluster's folder in their command or are children of one that has. */
async function killProcessesOf(clusterFolder: string): Promise<void> {
  for (let round = 0; round < 10; round++) {
    const processes = processesOf(clusterFolder);
    if (processes.length === 0) return;
    for (const pid of processes) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
      }
    }
    await sleep(100);
  }
}

function processesOf(clusterFolder: string): number[] {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return [{ pid: Number(name), parent, command }];
      } catch {
        return [];
      }
    });
  const socket = nodeFolders(clusterFolder).containerdSocket;
  const isShim = (command: readonly string[]) =>
    (command[0] ?? '').endsWith('containerd-shim-runc-v2') && command.includes(socket);
  const shims = new Set(processes.filter(({ command }) => isShim(command)).map(({ pid }) => pid));
  return processes.filter(({ pid, parent }) => shims.has(pid) || shims.has(parent)).map(({ pid }) => pid);
}

/** The mounts of the kubelet's volumes, of containers' file systems and of pods' network namespaces, the innermost first. */
async function unmountBelow(clusterFolder: string): Promise<void> {
  const points = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1]?.replace(/\\040/g, ' ') ?? '')
    .filter((point) => point.startsWith(`${clusterFolder}/`));
  for (const point of points.toReversed()) await attempt('umount', ['-l', point]);
}

async function removeNetworks(clusterFolder: string): Promise<void> {
  await attempt('ip', ['netns', 'delete', network.namespace]);
  await attempt('ip', ['link', 'delete', network.hostLink]);
  await rm(join(clusterFolder, 'addresses'), { recursive: true, force: true });
}

/** The kubelet's cgroups in every hierarchy, from the leaves up: rmdir is how a cgroup is removed. */
async function removeCgroups(): Promise<void> {
  const root = '/sys/fs/cgroup';
  const hierarchies = existsSync(join(root, 'cgroup.controllers')) ? [''] : await readdir(root);
  for (const hierarchy of hierarchies) await removeCgroup(join(root, hierarchy, 'kubepods'));
}

async function removeCgroup(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(join(folder, entry.name));
  await rmdir(folder).catch(() => undefined);
}
