import { attempt, run } from './command.ts';
import { print, step } from './progress.ts';

/** Commands that a node and its images need, and the Debian packages that hold them. */
const ofNodes = {
  runc: 'runc',
  iptables: 'iptables',
  conntrack: 'conntrack',
  ip: 'iproute2',
  nsenter: 'util-linux',
  sysctl: 'procps',
  modprobe: 'kmod',
  buildah: 'buildah',
  debootstrap: 'debootstrap',
  catatonit: 'catatonit',
} as const;

/**
 * Installs the packages that are missing, saying so.
 *
 * @param packages by a command of each; those of nodes, when absent
 */
export async function ensureDebianPackages(packages: Readonly<Record<string, string>> = ofNodes): Promise<void> {
  const missing: string[] = [];
  for (const [command, name] of Object.entries(packages)) {
    if ((await attempt('which', [command])) === undefined) missing.push(name);
  }
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0)
    throw new Error(`these packages are missing, and only root can install them: ${missing.join(' ')}`);
  if ((await attempt('which', ['apt-get'])) === undefined) {
    throw new Error(
      `this is no Debian or Ubuntu; install what corresponds to these packages yourself: ${missing.join(' ')}`,
    );
  }
  print(`  installing Debian packages: ${missing.join(' ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await step('apt-get install', async () => {
    await run('apt-get', ['update', '-q'], { env });
    await run('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...missing], { env });
  });
}
