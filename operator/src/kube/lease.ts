import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from './client.ts';
import { ApiError, isNotFound } from './errors.ts';
import { pathOf, type Resource } from './objects.ts';

export interface LeaseOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Who holds the lease: unique for each process. */
  readonly identity: string;
  /** Told of a try that failed; the next comes by itself. */
  readonly onError: (error: unknown) => void;
  readonly timing?: LeaseTiming;
}

/** In seconds. A leader that cannot renew gives up well before another may take over. */
export interface LeaseTiming {
  /** How long a lease lasts that is not renewed. */
  readonly duration: number;
  /** After how long without a renewal the holder gives up. */
  readonly renewDeadline: number;
  /** Between two tries to take or to renew it. */
  readonly retry: number;
}

const usualTiming: LeaseTiming = { duration: 15, renewDeadline: 10, retry: 2 };

const leases: Resource = { group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases' };

interface Lease {
  readonly apiVersion: 'coordination.k8s.io/v1';
  readonly kind: 'Lease';
  readonly metadata: { readonly name: string; readonly namespace: string; readonly resourceVersion?: string };
  readonly spec: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** A lease that is held: it is renewed until it is released or lost. */
export interface HeldLease {
  /** Resolves when the lease could not be renewed in time. Nothing may be written afterwards. */
  readonly lost: Promise<void>;
  /** Stops renewing, and gives the lease up so that another can take it at once. */
  release(): Promise<void>;
}

/** Waits until the lease is free or run out, and takes it. Rejects when the signal is aborted. */
export async function acquireLease(options: LeaseOptions, signal: AbortSignal): Promise<HeldLease> {
  const watched = new ObservedLease();
  for (;;) {
    signal.throwIfAborted();
    try {
      if (await tryTake(options, watched)) return hold(options);
    } catch (error) {
      options.onError(error);
    }
    await sleep(timingOf(options).retry * 1000, undefined, { signal });
  }
}

function timingOf({ timing = usualTiming }: LeaseOptions): LeaseTiming {
  return timing;
}

/** When a lease was last seen to change, by this machine's own clock: clocks of machines differ. */
class ObservedLease {
  #record = '';
  #changed = 0;

  hasRunOut(lease: Lease, now: number): boolean {
    const record = JSON.stringify(lease.spec);
    if (record !== this.#record) {
      this.#record = record;
      this.#changed = now;
    }
    return now - this.#changed > (lease.spec.leaseDurationSeconds ?? usualTiming.duration) * 1000;
  }
}

async function tryTake(options: LeaseOptions, watched: ObservedLease): Promise<boolean> {
  const current = await read(options);
  const holder = current?.spec.holderIdentity ?? '';
  const free = current === undefined || holder === '' || holder === options.identity;
  if (!free && !watched.hasRunOut(current, performance.now())) return false;
  try {
    await write(options, current, holder !== options.identity);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 409) return false;
    throw error;
  }
}

function hold(options: LeaseOptions): HeldLease {
  const stop = new AbortController();
  return {
    lost: renewUntilLost(options, stop.signal),
    async release() {
      stop.abort();
      const current = await read(options);
      if (current?.spec.holderIdentity !== options.identity) return;
      await put(options, { ...current, spec: { ...current.spec, holderIdentity: '', leaseDurationSeconds: 1 } });
    },
  };
}

/** Resolves when the lease is another's, or could not be renewed in time, whatever request is still under way then. */
async function renewUntilLost(options: LeaseOptions, stop: AbortSignal): Promise<void> {
  for (;;) {
    const round = AbortSignal.any([stop, AbortSignal.timeout(timingOf(options).renewDeadline * 1000)]);
    const outcome = await Promise.race([renewOnce(options, round), aborted(round)]);
    if (stop.aborted) return new Promise<void>(() => undefined);
    if (outcome !== 'renewed') return;
    await sleep(timingOf(options).retry * 1000, undefined, { signal: stop }).catch(() => undefined);
  }
}

/** Tries until the lease is renewed, or is seen to be another's. */
async function renewOnce(options: LeaseOptions, signal: AbortSignal): Promise<'renewed' | 'lost'> {
  for (;;) {
    try {
      const current = await read(options, signal);
      if (current?.spec.holderIdentity !== options.identity) return 'lost';
      await write(options, current, false, signal);
      return 'renewed';
    } catch (error) {
      if (signal.aborted) return 'lost';
      options.onError(error);
      await sleep(timingOf(options).retry * 500, undefined, { signal }).catch(() => undefined);
    }
  }
}

function aborted(signal: AbortSignal): Promise<'lost'> {
  if (signal.aborted) return Promise.resolve('lost');
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve('lost'), { once: true }));
}

async function read({ client, namespace, name }: LeaseOptions, signal?: AbortSignal): Promise<Lease | undefined> {
  try {
    return await client.call('GET', pathOf(leases, namespace, name), within(signal));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function write(
  options: LeaseOptions,
  current: Lease | undefined,
  taking: boolean,
  signal?: AbortSignal,
): Promise<void> {
  const now = new Date().toISOString().replace('Z', '000Z');
  const transitions = current?.spec.leaseTransitions ?? 0;
  const lease: Lease = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: current?.metadata ?? { name: options.name, namespace: options.namespace },
    spec: {
      holderIdentity: options.identity,
      leaseDurationSeconds: timingOf(options).duration,
      acquireTime: taking ? now : (current?.spec.acquireTime ?? now),
      renewTime: now,
      leaseTransitions: taking && current !== undefined ? transitions + 1 : transitions,
    },
  };
  await put(options, lease, signal);
}

/** The resourceVersion in the body guards the write against another that came first. */
async function put({ client, namespace, name }: LeaseOptions, body: Lease, signal?: AbortSignal): Promise<void> {
  const options = { body, ...within(signal) };
  if (body.metadata.resourceVersion === undefined) await client.call('POST', pathOf(leases, namespace), options);
  else await client.call('PUT', pathOf(leases, namespace, name), options);
}

function within(signal: AbortSignal | undefined) {
  return { timeoutMilliseconds: 5000, ...(signal === undefined ? {} : { signal }) };
}
