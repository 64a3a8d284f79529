import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dump } from 'js-yaml';
import { ensureBinaries } from './binaries.ts';
import { attempt, run } from './command.ts';
import { podNetwork } from './control-plane.ts';
import type { Daemons } from './daemons.ts';
import { until } from './progress.ts';

/** The node is in a network namespace of its own, joined to the host by one pair of links. */
export const network = {
  namespace: 'slipway',
  hostLink: 'slipway0',
  nodeLink: 'eth0',
  hostAddress: '10.199.0.1',
  nodeAddress: '10.199.0.2',
  prefix: 30,
} as const;

export const nodeName = 'slipway';
export const clusterDnsAddress = '10.96.0.10';
export const pauseImage = 'localhost/slipway-pause:1';

export interface NodeFolders {
  readonly folder: string;
  readonly containerdSocket: string;
}

export function nodeFolders(clusterFolder: string): NodeFolders {
  return { folder: clusterFolder, containerdSocket: join(clusterFolder, 'containerd.sock') };
}

/** Where containerd looks for how a registry is asked. */
const registriesIn = (clusterFolder: string) => join(clusterFolder, 'registries');

/** Has the node ask a registry without TLS. */
export async function trustRegistry(clusterFolder: string, registry: string): Promise<void> {
  const folder = join(registriesIn(clusterFolder), registry);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'hosts.toml'), `server = "http://${registry}"\n`);
}

/** Runs a command in the node's network namespace. (`ip netns exec` would hide the cgroups.) */
export function inNode(command: string, ...args: readonly string[]): Promise<string> {
  return run('nsenter', [`--net=/run/netns/${network.namespace}`, command, ...args]);
}

export async function makeNetwork(): Promise<void> {
  const { namespace, hostLink, nodeLink, hostAddress, nodeAddress, prefix } = network;
  await run('ip', ['netns', 'add', namespace]);
  await run('ip', ['link', 'add', hostLink, 'type', 'veth', 'peer', 'name', nodeLink, 'netns', namespace]);
  await run('ip', ['addr', 'add', `${hostAddress}/${prefix}`, 'dev', hostLink]);
  await run('ip', ['link', 'set', hostLink, 'up']);
  await inNode('ip', 'link', 'set', 'lo', 'up');
  await inNode('ip', 'addr', 'add', `${nodeAddress}/${prefix}`, 'dev', nodeLink);
  await inNode('ip', 'link', 'set', nodeLink, 'up');
  await inNode('ip', 'route', 'add', 'default', 'via', hostAddress);
  // The API server, on the host, calls pods: aggregated APIs and proxied requests.
  await run('ip', ['route', 'add', podNetwork, 'via', nodeAddress, 'dev', hostLink]);
  await inNode('sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
  await attempt('modprobe', ['br_netfilter']);
  await inNode('sysctl', '-q', '-w', 'net.bridge.bridge-nf-call-iptables=1');
}

/** Starts containerd, and waits until it answers. */
export async function startContainerd(clusterFolder: string, daemons: Daemons): Promise<void> {
  const [{ containerd, folder: binaries, ctr }, cni] = [
    await ensureBinaries('containerd'),
    await ensureBinaries('cni'),
  ];
  const { containerdSocket } = nodeFolders(clusterFolder);
  const networks = join(clusterFolder, 'cni');
  await mkdir(networks, { recursive: true });
  await writeFile(join(networks, '10-slipway.conflist'), JSON.stringify(networkConfig(clusterFolder)));
  const config = join(clusterFolder, 'containerd.toml');
  await writeFile(config, containerdConfig(clusterFolder, containerdSocket, cni.folder, networks));
  await daemons.start({
    name: 'containerd',
    command: containerd,
    args: ['--config', config],
    networkNamespace: network.namespace,
    // The shim is found on the PATH.
    env: { PATH: `${binaries}:${process.env['PATH'] ?? ''}` },
  });
  await until('containerd answers', 30, async () => {
    if (!daemons.isRunning('containerd'))
      throw new Error(`containerd ended:\n${await daemons.lastWords('containerd')}`);
    return (await attempt(ctr, ['-a', containerdSocket, 'version'])) !== undefined;
  });
}

/** Starts the kubelet and kube-proxy, and waits until the node is ready. */
export async function startNode(clusterFolder: string, kubeconfig: string, daemons: Daemons): Promise<void> {
  const { kubelet, 'kube-proxy': kubeProxy, kubectl } = await ensureBinaries('kubernetes');
  const kubeletConfig = join(clusterFolder, 'kubelet.yaml');
  await writeFile(kubeletConfig, dump(kubeletConfiguration(clusterFolder)));
  await daemons.start({
    name: 'kubelet',
    command: kubelet,
    args: [
      `--config=${kubeletConfig}`,
      `--kubeconfig=${join(clusterFolder, 'kubelet.kubeconfig')}`,
      `--root-dir=${join(clusterFolder, 'kubelet')}`,
      `--hostname-override=${nodeName}`,
      `--node-ip=${network.nodeAddress}`,
    ],
    networkNamespace: network.namespace,
  });
  const proxyConfig = join(clusterFolder, 'kube-proxy.yaml');
  await writeFile(proxyConfig, dump(proxyConfiguration(clusterFolder)));
  await daemons.start({
    name: 'kube-proxy',
    command: kubeProxy,
    args: [`--config=${proxyConfig}`, `--hostname-override=${nodeName}`],
    networkNamespace: network.namespace,
  });
  const ready = ['get', 'node', nodeName, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'];
  await until('the node is ready', 60, async () => {
    if (!daemons.isRunning('kubelet')) throw new Error(`kubelet ended:\n${await daemons.lastWords('kubelet')}`);
    return (await attempt(kubectl, ['--kubeconfig', kubeconfig, ...ready])) === 'True';
  });
}

function networkConfig(clusterFolder: string) {
  const ranges = [[{ subnet: podNetwork }]];
  return {
    cniVersion: '1.0.0',
    name: 'slipway',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: { type: 'host-local', dataDir: join(clusterFolder, 'addresses'), ranges, routes: [{ dst: '0.0.0.0/0' }] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

function containerdConfig(clusterFolder: string, socket: string, cniBinaries: string, networks: string): string {
  const quote = (text: string) => JSON.stringify(text);
  return `version = 3
root = ${quote(join(clusterFolder, 'containerd'))}
state = ${quote(join(clusterFolder, 'containerd-state'))}
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = ${quote(socket)}

[ttrpc]
  address = ${quote(`${socket}.ttrpc`)}

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = ${quote(pauseImage)}
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = ${quote(registriesIn(clusterFolder))}

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [${quote(cniBinaries)}]
    conf_dir = ${quote(networks)}
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
`;
}

function kubeletConfiguration(clusterFolder: string) {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(clusterFolder, 'certificates/ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    address: network.nodeAddress,
    containerRuntimeEndpoint: `unix://${nodeFolders(clusterFolder).containerdSocket}`,
    cgroupDriver: 'cgroupfs',
    // Machines without systemd often still have cgroup v1.
    failCgroupV1: false,
    featureGates: { KubeletInUserNamespace: true },
    failSwapOn: false,
    localStorageCapacityIsolation: false,
    clusterDNS: [clusterDnsAddress],
    clusterDomain: 'cluster.local',
    resolvConf: '',
    podLogsDir: join(clusterFolder, 'pod-logs'),
    // Nothing is evicted because the disk of the host is full of other things.
    evictionHard: { 'memory.available': '100Mi' },
    imageGCHighThresholdPercent: 100,
    shutdownGracePeriod: '0s',
    syncFrequency: '10s',
    serializeImagePulls: false,
    registryPullQPS: 0,
  };
}

function proxyConfiguration(clusterFolder: string) {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    clientConnection: { kubeconfig: join(clusterFolder, 'proxy.kubeconfig') },
    mode: 'iptables',
    clusterCIDR: podNetwork,
    bindAddress: network.nodeAddress,
    healthzBindAddress: `${network.nodeAddress}:10256`,
    conntrack: { maxPerCore: 0, min: 0 },
    iptables: { minSyncPeriod: '100ms' },
  };
}
