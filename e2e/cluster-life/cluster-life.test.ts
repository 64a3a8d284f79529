import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { clusterDown, clusterFolder, clusterStatus, clusterUp } from '../cluster/cluster.ts';
import { attempt, run } from '../cluster/command.ts';
import { network } from '../cluster/node.ts';

/** Processes that have the cluster's folder in their command, or a file of it as their program's argument. */
function processes(): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return command.includes(`${clusterFolder}/`) ? [`${pid} ${command}`] : [];
    } catch {
      return [];
    }
  });
}

function mounts(): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`${clusterFolder}/`));
}

function cgroups(): string[] {
  const root = '/sys/fs/cgroup';
  return ['', ...readdirSync(root)].map((name) => join(root, name, 'kubepods')).filter((path) => existsSync(path));
}

async function links(): Promise<string> {
  return (await attempt('ip', ['-o', 'link', 'show', network.hostLink])) ?? '';
}

function namespaces(): string[] {
  const names = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return names.filter((name) => name === network.namespace);
}

test('up leaves a cluster that is up as it is', async () => {
  await clusterUp();
  const before = processes().map((line) => line.split(' ')[0]);
  await clusterUp();
  expect(processes().map((line) => line.split(' ')[0])).toEqual(expect.arrayContaining(before));
}, 600_000);

test('up, by two at once, repairs a cluster whose processes were killed, its mounts, cgroups and namespaces left behind', async () => {
  for (const line of processes().filter((command) => !command.includes('containerd-shim'))) {
    process.kill(Number(line.split(' ')[0]), 'SIGKILL');
  }
  expect(mounts().length).toBeGreaterThan(0);
  expect(namespaces()).toContain(network.namespace);
  expect((await clusterStatus()).nodeReady).toBe(false);
  const cli = join(import.meta.dirname, '../cluster/cli.ts');
  await Promise.all([clusterUp(), run(process.execPath, [cli, 'up']), run(process.execPath, [cli, 'up'])]);
  expect((await clusterStatus()).nodeReady).toBe(true);
  const apiServers = processes().filter((command) => /^\d+ \S*\/kube-apiserver /.test(command));
  expect(apiServers).toHaveLength(1);
}, 300_000);

test('down leaves no process, mount, link, namespace or cgroup behind', async () => {
  await clusterDown();
  expect(processes()).toEqual([]);
  expect(mounts()).toEqual([]);
  expect(await links()).toBe('');
  expect(namespaces()).toEqual([]);
  expect(cgroups()).toEqual([]);
  expect(existsSync(clusterFolder)).toBe(false);
  expect(await clusterStatus()).toMatchObject({ running: [], nodeReady: false });
}, 120_000);
