import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { labels } from '../../operator/src/api/names.ts';
import { modelDeploymentResource } from '../../operator/src/controller/caches.ts';
import { childResources } from '../../operator/src/desired/children.ts';
import { createClient, type KubeClient } from '../../operator/src/kube/client.ts';
import { messageOf } from '../../operator/src/kube/errors.ts';
import { openConnection } from '../../operator/src/kube/kubeconfig.ts';
import { type KubeObject, pathOf, type Resource } from '../../operator/src/kube/objects.ts';
import { reflect } from '../../operator/src/kube/reflector.ts';
import { Store } from '../../operator/src/kube/store.ts';
import { linkKeySecret } from '../../operator/src/podlink/link-keys.ts';
import { revisionResource } from '../../operator/src/rollout/revision.ts';
import { startApiServer } from '../cluster/api-server.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { repository } from '../cluster/cache.ts';
import { print, step, until } from '../cluster/progress.ts';

interface Options {
  readonly models: number;
  readonly idleSeconds: number;
}

const namespace = 'bench';
const port = 19090;
/** As many writes at once as the operator makes. */
const concurrency = 8;

/**
 * Times the operator from its start until every ModelDeployment has its Deployment, Service and autoscaler. The baseline
 * is the same children made by nothing but requests, as fast as this API server takes them.
 */
export async function benchOperator({ models, idleSeconds }: Options): Promise<void> {
  const server = await step('starting an API server', () => startApiServer(['garbage-collector-controller']));
  try {
    const { kubectl } = await ensureBinaries('kubernetes');
    execFileSync(kubectl, ['--kubeconfig', server.kubeconfig, 'apply', '-f', join(repository, 'crds')], {
      stdio: 'pipe',
    });
    const client = createClient({
      connection: openConnection({ kubeconfig: server.kubeconfig }),
      userAgent: 'slipway-bench',
    });
    for (const name of [namespace, 'baseline', 'slipway-system']) {
      await client.call('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
    }
    await client.call('POST', '/api/v1/namespaces/slipway-system/secrets', {
      body: { metadata: { name: linkKeySecret } },
    });
    await until('the API is served', 20, () =>
      client.call('GET', pathOf(modelDeploymentResource, namespace)).then(
        () => true,
        () => false,
      ),
    );
    await step(`making ${models} ModelDeployments`, () => inParallel(models, (index) => makeModel(client, index)));

    const operator = await startOperator(server.kubeconfig);
    const seconds = await timed(() => until('every child is there', 600, () => allMade(client, models)));
    const busy = await measure(operator);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const before = await measure(operator);
    await step(
      `doing nothing for ${idleSeconds} s`,
      () => new Promise((resolve) => setTimeout(resolve, idleSeconds * 1000)),
    );
    const after = await measure(operator);
    const reactions = await step('bringing out new versions, one after the other', () => timeReactions(client, models));
    operator.kill('SIGTERM');
    await once(operator, 'close');

    const children: Record<string, unknown>[] = [];
    for (const kind of ['Deployment', 'Service', 'HorizontalPodAutoscaler'] as const) {
      const { items }: { items: Record<string, unknown>[] } = await client.call(
        'GET',
        pathOf(childResources[kind], namespace),
      );
      children.push(...items.map((item) => ({ ...item, resource: childResources[kind] })));
    }
    const baseline = await timed(() =>
      inParallel(children.length, (index) => copyChild(client, children[index] ?? {})),
    );

    print(`\n${models} ModelDeployments`);
    print(
      `  until all children are there  ${seconds.toFixed(1)} s, ${(seconds / baseline).toFixed(2)} times the ${baseline.toFixed(1)} s of bare requests`,
    );
    print(`  CPU of the operator           ${busy.cpuSeconds.toFixed(1)} s`);
    print(`  peak memory of the operator   ${busy.peakMegabytes} MB`);
    print(`  requests                      ${describe(busy.requests, models)}`);
    const idle = Object.fromEntries(
      Object.entries(after.requests).map(([verb, count]) => [verb, count - (before.requests[verb] ?? 0)]),
    );
    print(`  requests in ${idleSeconds} idle seconds   ${describe(idle, 0)}`);
    print(`  CPU in ${idleSeconds} idle seconds        ${(after.cpuSeconds - before.cpuSeconds).toFixed(2)} s`);
    const sorted = reactions.toSorted((a, b) => a - b);
    const [half, most] = [0.5, 0.99].map((share) => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(1));
    print(`  new version to first write    p50 ${half} ms, p99 ${most} ms of ${sorted.length}`);
  } finally {
    await server.stop();
  }
}

async function startOperator(kubeconfig: string): Promise<ChildProcess> {
  // As the chart runs it: compiled, and with its flags.
  const main = join(repository, 'dist/operator/src/main.js');
  const args = [
    '--max-semi-space-size=4',
    '--heap-growing-percent=30',
    main,
    '--kubeconfig',
    kubeconfig,
    '--inference-image',
    'example/slipway:1',
    '--port',
    String(port),
    '--log-level',
    'warn',
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: child.stdout }).on('line', print);
  await once(child, 'spawn');
  return child;
}

const reactionSamples = 300;

/**
 * Milliseconds from sending a new version of one model to the operator's first write for it, its ControllerRevision, as
 * a watch tells of it.
 */
async function timeReactions(client: KubeClient, models: number): Promise<number[]> {
  const stop = new AbortController();
  const revisions = new Store<KubeObject>();
  const onError = (error: unknown) => print(`the watch of the bench failed: ${messageOf(error)}`);
  const path = pathOf(revisionResource, namespace);
  const prepare = (object: KubeObject) => ({ metadata: object.metadata });
  void reflect({ client, path, store: revisions, prepare, onError, random: Math.random }, stop.signal);
  await until('the revisions are listed', 60, async () => revisions.synced);
  let made: ((name: string) => void) | undefined;
  revisions.onChange(({ before, after }) => {
    if (before === undefined && after !== undefined) made?.(after.metadata.labels?.[labels.modelDeployment] ?? '');
  });
  const milliseconds: number[] = [];
  for (let sample = 0; sample < reactionSamples; sample++) {
    const name = `model-${Math.floor((sample * models) / reactionSamples)}`;
    const written = new Promise<void>((resolve) => {
      made = (of) => of === name && resolve();
    });
    const start = performance.now();
    await client.call('PATCH', pathOf(modelDeploymentResource, namespace, name), {
      contentType: 'application/merge-patch+json',
      body: { spec: { model: { version: `next-${sample}` } } },
    });
    await written;
    milliseconds.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  stop.abort();
  return milliseconds;
}

async function makeModel(client: KubeClient, index: number): Promise<void> {
  const spec = {
    model: { version: '1', uri: 'https://models.example/m.onnx', sha256: 'a'.repeat(64) },
    resources: { requests: { cpu: '250m' } },
    autoscaling: { maxReplicas: 3, triggers: [{ type: 'CPU', averageUtilization: 70 }] },
  };
  const body = {
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: `model-${index}` },
    spec,
  };
  await client.call('POST', pathOf(modelDeploymentResource, namespace), { body });
}

async function copyChild(client: KubeClient, child: Record<string, unknown>): Promise<void> {
  const { resource, metadata, spec } = child as {
    resource: Resource;
    metadata: { name: string; labels: object };
    spec: { clusterIP?: string; clusterIPs?: string[] };
  };
  const { clusterIP: _, clusterIPs: __, ...rest } = spec;
  const body = { metadata: { name: metadata.name, labels: metadata.labels }, spec: rest };
  await client.call('POST', pathOf(resource, 'baseline'), { body });
}

async function allMade(client: KubeClient, models: number): Promise<boolean> {
  for (const kind of ['HorizontalPodAutoscaler', 'Service', 'Deployment'] as const) {
    const query = { limit: 1, resourceVersion: '' };
    const { items, metadata }: { items: object[]; metadata: { remainingItemCount?: number } } = await client.call(
      'GET',
      pathOf(childResources[kind], namespace),
      { query },
    );
    if (items.length + (metadata.remainingItemCount ?? 0) < models) return false;
  }
  return true;
}

interface Measurement {
  readonly cpuSeconds: number;
  readonly peakMegabytes: number;
  /** By verb; Events and the lease apart. */
  readonly requests: Readonly<Record<string, number>>;
}

async function measure({ pid }: ChildProcess): Promise<Measurement> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const requests: Record<string, number> = {};
  for (const [, method = '', resource, count] of text.matchAll(
    /rest_client_requests_total\{method="(\w+)",resource="(\w+)",code="\d+"\} (\d+)/g,
  )) {
    if (resource !== 'events' && resource !== 'leases') requests[method] = (requests[method] ?? 0) + Number(count);
  }
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  const ticksPerSecond = 100;
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    peakMegabytes: Math.round(Number(peak) / 1024),
    requests,
  };
}

function describe(requests: Readonly<Record<string, number>>, models: number): string {
  const parts = Object.entries(requests)
    .filter(([, count]) => count > 0)
    .map(([verb, count]) => `${verb} ${count}${models > 0 ? ` (${(count / models).toFixed(2)} each)` : ''}`);
  return parts.join(', ') || 'none';
}

async function inParallel(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
