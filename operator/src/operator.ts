import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { lease } from './api/names.ts';
import { Caches, fillCaches } from './controller/caches.ts';
import { Controller } from './controller/controller.ts';
import { createDiagnosisInquiries } from './controller/diagnosis-inquiries.ts';
import { Memory } from './controller/memory.ts';
import { createQueryInquiries } from './controller/query-inquiries.ts';
import { callsUntil, createClient, type KubeClient } from './kube/client.ts';
import { openServiceAccountConnection } from './kube/connection.ts';
import { messageOf } from './kube/errors.ts';
import { createEventRecorder } from './kube/events.ts';
import type { KubeconfigOptions } from './kube/kubeconfig.ts';
import { acquireLease } from './kube/lease.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { type LinkKey, linkKeySecret, loadLinkKeys, publicKeysOf } from './podlink/link-keys.ts';
import { directCall, proxiedCall } from './podlink/pod-calls.ts';
import { createPodLink } from './podlink/pod-link.ts';
import { createPrometheus } from './prometheus/prometheus.ts';
import { serveHealth } from './serve-health.ts';

export interface OperatorSettings extends KubeconfigOptions {
  /** '' for all namespaces. */
  readonly namespace: string;
  readonly leaseNamespace: string;
  readonly inferenceImage: string;
  /** Of the Prometheus that gates may query; undefined for none. */
  readonly prometheusUrl?: string;
  /** A file with the bearer token that it asks for. */
  readonly prometheusTokenFile?: string;
  readonly workers: number;
  readonly port: number;
  readonly version: string;
}

/** How long the first lists may take. */
const syncSeconds = 120;

/**
 * Runs the operator until the signal is aborted or the lease is lost.
 *
 * @returns whether it ended because it was told to
 * @throws Error when the caches cannot be filled, with the reason
 */
export async function runOperator(settings: OperatorSettings, log: Logger, signal: AbortSignal): Promise<boolean> {
  const identity = `${hostname()}_${randomUUID()}`;
  const caches = new Caches();
  let depth = () => 0;
  const metrics = createMetrics(
    () => depth(),
    () => caches.models.size,
  );
  const inCluster = settings.kubeconfig === undefined && process.env['KUBERNETES_SERVICE_HOST'] !== undefined;
  const client = createClient({
    connection: inCluster
      ? openServiceAccountConnection(process.env)
      : (await import('./kube/kubeconfig.ts')).openConnection(settings),
    userAgent: `slipway-operator/${settings.version}`,
    onAnswer: metrics.countRequest,
  });
  const stop = new AbortController();
  const stopping = AbortSignal.any([signal, stop.signal]);
  const server = await serveHealth({ port: settings.port, metrics, ready: () => caches.synced });
  try {
    const filling = startFilling(caches, settings, client, metrics, log, stopping);
    await filling.synced;
    log.info({ models: caches.models.size, identity }, 'the caches are synced');
    const held = await acquireLease(
      {
        client,
        namespace: settings.leaseNamespace,
        name: lease.name,
        identity,
        onError: (error) => log.warn({ reason: messageOf(error) }, 'the lease could not be taken or renewed'),
      },
      stopping,
    );
    metrics.setLeading(true);
    log.info('leading');
    // Once the lease is lost, nothing may be written any more, whatever is under way.
    const deposed = new AbortController();
    const leading = callsUntil(deposed.signal, client);
    let keys = await readLinkKeys(leading, settings, log);
    const call = inCluster ? directCall() : proxiedCall(leading);
    const link = createPodLink({
      call,
      keys: () => keys,
      wake: (key) => controller.wake(key, 0),
      now: () => performance.now(),
      date: Date.now,
      random: Math.random,
    });
    const inquiries = createDiagnosisInquiries(leading, call, {
      wake: (key, afterMilliseconds) => controller.wake(key, afterMilliseconds),
      onError: ({ namespace, pod }, error) =>
        log.warn({ namespace, pod, reason: messageOf(error) }, 'a pod could not be asked about'),
      now: () => performance.now(),
    });
    const { prometheusUrl: url, prometheusTokenFile: tokenFile } = settings;
    const prometheus = url === undefined || url === '' ? undefined : createPrometheus({ url, tokenFile });
    const queries = createQueryInquiries(prometheus, Date.now, {
      wake: (key, afterMilliseconds) => controller.wake(key, afterMilliseconds),
      onError: ({ key }, error) => log.warn({ key, reason: messageOf(error) }, 'a query could not be asked'),
      now: () => performance.now(),
    });
    const controller = new Controller({
      caches,
      client: leading,
      memory: new Memory(),
      inquiries,
      queries,
      link,
      authority: deposed.signal,
      events: createEventRecorder(leading, 'serving.slipway.dev/operator', identity, Date.now),
      policy: () => ({
        defaultImage: settings.inferenceImage,
        publicKeys: keys.length === 0 ? undefined : publicKeysOf(keys),
      }),
      workers: settings.workers,
      metrics,
      log,
      now: Date.now,
    });
    depth = () => controller.queue.depth;
    void keepKeys(leading, settings, log, keys.length > 0, stopping, (read) => {
      keys = read;
      controller.enqueueAll();
    });
    const ended = new Promise<'told'>((resolve) => {
      if (signal.aborted) resolve('told');
      signal.addEventListener('abort', () => resolve('told'), { once: true });
    });
    const working = controller.run();
    void link.run();
    const lost = held.lost.then(() => 'lost' as const);
    const why = await Promise.race([ended, lost]);
    // A write that is under way is finished, and only then may another process lead. After a loss nothing is awaited.
    controller.queue.close();
    link.close();
    const outcome = why === 'lost' ? why : await Promise.race([working.then(() => 'done' as const), lost]);
    if (outcome === 'lost') {
      deposed.abort();
      return false;
    }
    await held.release();
    return true;
  } catch (error) {
    if (signal.aborted) return true;
    throw error;
  } finally {
    stop.abort();
    server.close();
    server.closeAllConnections();
  }
}

/** How often the age of the keys is looked at; and, while there are none, how soon they are tried for again. */
const keysMilliseconds = { known: 6 * 3_600_000, first: 5000, most: 300_000 };

/** Looks after the keys of the pod link, until it is told to stop. */
async function keepKeys(
  client: KubeClient,
  settings: OperatorSettings,
  log: Logger,
  areKnown: boolean,
  signal: AbortSignal,
  onRead: (keys: readonly LinkKey[]) => void,
): Promise<void> {
  let [isKnown, retry] = [areKnown, keysMilliseconds.first];
  while (!signal.aborted) {
    await sleep(isKnown ? keysMilliseconds.known : retry, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    const keys = await readLinkKeys(client, settings, log);
    // Keys that are known go on being used when they cannot be read.
    if (keys.length > 0) onRead(keys);
    isKnown = isKnown || keys.length > 0;
    retry = Math.min(keysMilliseconds.most, retry * 2);
  }
}

/** Without a key pods are not spoken to; everything else goes on, and the conditions say so. */
async function readLinkKeys(
  client: KubeClient,
  { leaseNamespace }: OperatorSettings,
  log: Logger,
): Promise<readonly LinkKey[]> {
  try {
    return await loadLinkKeys(client, leaseNamespace, Date.now());
  } catch (error) {
    log.warn({ secret: linkKeySecret, reason: messageOf(error) }, 'the keys of the pod link cannot be had');
    return [];
  }
}

function startFilling(
  caches: Caches,
  { namespace }: OperatorSettings,
  client: Parameters<typeof fillCaches>[1]['client'],
  metrics: Metrics,
  log: Logger,
  signal: AbortSignal,
): { readonly synced: Promise<void> } {
  let lastError = '';
  void fillCaches(
    caches,
    {
      client,
      namespace,
      onError: (resource, error) => {
        lastError = `${resource.plural}: ${messageOf(error)}`;
        metrics.countWatchError(resource.plural);
        log.warn(
          { resource: resource.plural, reason: messageOf(error) },
          'a list or watch failed; it will be tried again',
        );
      },
    },
    signal,
  );
  const synced = (async () => {
    const deadline = performance.now() + syncSeconds * 1000;
    while (!caches.synced) {
      signal.throwIfAborted();
      if (performance.now() > deadline)
        throw new Error(`the caches could not be filled within ${syncSeconds} s: ${lastError}`);
      await sleep(20, undefined, { signal });
    }
  })();
  return { synced };
}
