import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from './cache.ts';
import { attempt, run } from './command.ts';
import { step } from './progress.ts';

/** What is built from source, and about how long the first build takes on two cores. */
const modules = {
  etcd: { binaries: { etcd: 'server' }, minutes: 1 },
  kubernetes: {
    binaries: {
      'kube-apiserver': 'kube-apiserver',
      'kube-controller-manager': 'kube-controller-manager',
      'kube-scheduler': 'kube-scheduler',
      kubelet: 'kubelet',
      'kube-proxy': 'kube-proxy',
      kubectl: 'kubectl',
    },
    minutes: 8,
  },
  containerd: {
    binaries: { containerd: 'containerd', 'containerd-shim-runc-v2': 'containerd-shim-runc-v2', ctr: 'ctr' },
    minutes: 1,
  },
  cni: {
    binaries: { bridge: 'bridge', loopback: 'loopback', 'host-local': 'host-local', portmap: 'portmap' },
    minutes: 1,
  },
  helm: { binaries: { helm: 'helm' }, minutes: 3 },
  coredns: { binaries: { coredns: 'coredns' }, minutes: 3 },
  'metrics-server': { binaries: { 'metrics-server': 'metrics-server' }, minutes: 3 },
  // Servers of objects and artifacts, for the pod's tests.
  versitygw: { binaries: { versitygw: 'versitygw' }, minutes: 2 },
  crane: { binaries: { crane: 'crane' }, minutes: 1 },
  'fake-gcs-server': { binaries: { 'fake-gcs-server': 'fake-gcs-server' }, minutes: 2 },
  // For npm run test:integrations alone.
  prometheus: { binaries: { prometheus: 'prometheus' }, minutes: 5 },
  contour: { binaries: { contour: 'contour' }, minutes: 4 },
} as const;

export type Module = keyof typeof modules;

/** The paths of a module's binaries, by name, and the folder that holds them. */
export type Binaries<M extends Module> = Readonly<Record<keyof (typeof modules)[M]['binaries'], string>> & {
  readonly folder: string;
};

/** The version of Kubernetes that modules/kubernetes builds. */
export const kubernetesVersion = 'v1.37.2';

/** Builds a module's binaries, unless they are in the cache already. */
export async function ensureBinaries<M extends Module>(module: M): Promise<Binaries<M>> {
  const source = join(import.meta.dirname, 'modules', module);
  const sums = await Promise.all(['go.mod', 'go.sum'].map((file) => readFile(join(source, file))));
  const digest = createHash('sha256').update(Buffer.concat(sums)).digest('hex').slice(0, 12);
  const folder = join(cacheFolder, 'bin', `${module}-${digest}`);
  if (!existsSync(folder)) {
    const about = `about ${modules[module].minutes} min on two cores, once`;
    await requireGo();
    await step(`building ${module} from Go modules (${about})`, () => build(source, folder));
  }
  const names = Object.entries(modules[module].binaries).map(([name, file]) => [name, join(folder, file)]);
  return { ...Object.fromEntries(names), folder } as Binaries<M>;
}

/** The source of something that a module is built from: manifests are in there as well. */
export async function moduleFolder(module: Module, path: string): Promise<string> {
  await requireGo();
  const cwd = join(import.meta.dirname, 'modules', module);
  await run('go', ['mod', 'download', path], { cwd });
  return (await run('go', ['list', '-m', '-f', '{{.Dir}}', path], { cwd })).trim();
}

async function build(source: string, folder: string): Promise<void> {
  const unfinished = `${folder}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  const [major = '', minor = ''] = kubernetesVersion.slice(1).split('.');
  const version = 'k8s.io/component-base/version';
  const stamps = { gitVersion: kubernetesVersion, gitMajor: major, gitMinor: minor };
  const flags = Object.entries(stamps).map(([name, value]) => `-X ${version}.${name}=${value}`);
  try {
    await run('go', ['build', '-trimpath', '-ldflags', ['-s -w', ...flags].join(' '), '-o', `${unfinished}/`, 'tool'], {
      cwd: source,
      env: { CGO_ENABLED: '0', GOFLAGS: '-mod=readonly -buildvcs=false' },
    });
    // A build that ran at the same time may have been first: its binaries are the same.
    if (!existsSync(folder)) await rename(unfinished, folder);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

async function requireGo(): Promise<void> {
  const version = await attempt('go', ['version']);
  const [, major, minor] = /go(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (Number(major) === 1 && Number(minor) >= 26) return;
  throw new Error(
    `the Kubernetes of the tests is built with Go 1.26 or later, and ${version === undefined ? 'no Go' : version.trim()} was found: ` +
      'install it as https://go.dev/doc/install says, and see that `go` is on the PATH',
  );
}
