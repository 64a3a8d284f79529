import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { createClient, type KubeClient } from '../../operator/src/kube/client.ts';
import { ApiError, isConflict } from '../../operator/src/kube/errors.ts';
import { openConnection } from '../../operator/src/kube/kubeconfig.ts';
import { acquireLease, type HeldLease } from '../../operator/src/kube/lease.ts';
import type { KubeObject, Resource } from '../../operator/src/kube/objects.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { WorkQueue } from '../../operator/src/kube/queue.ts';
import { reflect } from '../../operator/src/kube/reflector.ts';
import { Store } from '../../operator/src/kube/store.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { eventually } from '../eventually.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { makeNamespace, testClient, testKubeconfig } from './test-cluster.ts';

/** What the cluster edge promises, against a real API server with a proxy in between that lets things go wrong. */
const configMaps: Resource = { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' };

const direct = testClient();
let namespace: string;
let proxy: FaultProxy;
let client: KubeClient;
let stop: AbortController;

beforeEach(async () => {
  namespace = await makeNamespace(direct);
  proxy = await startFaultProxy(testKubeconfig());
  client = createClient({ connection: openConnection({ kubeconfig: proxy.kubeconfig }), userAgent: 'edge' });
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await proxy.close();
  await direct.call('DELETE', `/api/v1/namespaces/${namespace}`, { body: {} });
});

const path = (name?: string) => pathOf(configMaps, namespace, name);
const make = (name: string): Promise<KubeObject> =>
  direct.call('POST', path(), { body: { metadata: { name, labels: { edge: 'yes' } } } });
const remove = (name: string) => direct.call('DELETE', path(name));
const lists = () => proxy.requests.filter(({ resource, isWatch }) => resource === 'configmaps' && !isWatch).length;
const watches = () => proxy.requests.filter(({ isWatch }) => isWatch).length;

function follow(through: KubeClient = client): { store: Store<KubeObject>; errors: unknown[]; names(): string[] } {
  const store = new Store<KubeObject>();
  const errors: unknown[] = [];
  void reflect(
    {
      client: through,
      path: path(),
      labelSelector: 'edge=yes',
      store,
      prepare: (object) => object,
      onError: (error) => errors.push(error),
      random: () => 0,
    },
    stop.signal,
  );
  return { store, errors, names: () => Array.from(store.keys(), (key) => key.split('/')[1] ?? '').toSorted() };
}

const becomes = async (names: () => string[], wanted: readonly string[], seconds = 20) =>
  eventually(
    async () => names(),
    (found) => JSON.stringify(found) === JSON.stringify(wanted),
    { seconds },
  );

describe('the reflector', () => {
  test('lists in pages, and starts anew when the API server has forgotten the rest of a list', async () => {
    const many = Array.from({ length: 520 }, (_, index) => `many-${String(index).padStart(3, '0')}`);
    await Promise.all(many.map(make));
    let forgotten = false;
    proxy.decide = ({ query }) => {
      if (!query.has('continue') || forgotten) return { kind: 'pass' };
      forgotten = true;
      return { kind: 'answer', status: 410 };
    };
    const { names } = follow();
    await becomes(names, many);
    expect(lists()).toBe(4);
  });

  test('goes on where it was after its watch is cut, and misses nothing', async () => {
    await make('a');
    const { names } = follow();
    await becomes(names, ['a']);
    await eventually(
      async () => watches(),
      (count) => count === 1,
    );
    let down = true;
    proxy.decide = () => (down ? { kind: 'cut' } : { kind: 'pass' });
    proxy.cutWatches();
    await make('b');
    await remove('a');
    down = false;
    await becomes(names, ['b']);
    expect(lists()).toBe(1);
  });

  test('lists anew when its place is forgotten (410), and sees what went meanwhile', async () => {
    await make('a');
    await make('b');
    const { names } = follow();
    await becomes(names, ['a', 'b']);
    await eventually(
      async () => watches(),
      (count) => count === 1,
    );
    let gone = 0;
    proxy.decide = ({ isWatch }) => (isWatch && gone++ === 0 ? { kind: 'answer', status: 410 } : { kind: 'pass' });
    proxy.passEvent = () => false;
    await remove('a');
    await make('c');
    proxy.passEvent = () => true;
    proxy.cutWatches();
    await becomes(names, ['b', 'c']);
    expect(lists()).toBe(2);
  });

  test('takes up a watch that has gone silent without an end', async () => {
    const impatient = createClient({
      connection: openConnection({ kubeconfig: proxy.kubeconfig }),
      userAgent: 'edge',
      watchSilenceMilliseconds: 1000,
    });
    const { names, errors } = follow(impatient);
    await eventually(
      async () => watches(),
      (count) => count === 1,
    );
    proxy.passEvent = () => false;
    await make('unseen');
    await new Promise((resolve) => setTimeout(resolve, 300));
    proxy.passEvent = () => true;
    await becomes(names, ['unseen']);
    expect(errors.length).toBeGreaterThan(0);
  });

  test('tries again, ever more slowly, while lists are answered with 500 or never', async () => {
    let failures = 0;
    proxy.decide = () => (failures++ < 3 ? { kind: 'answer', status: 500 } : { kind: 'pass' });
    await make('a');
    const { names, errors } = follow();
    await becomes(names, ['a']);
    expect(errors).toHaveLength(3);
    expect(errors.every((error) => error instanceof ApiError && error.status === 500)).toBe(true);
  });
});

describe('the client', () => {
  const create = (name: string) => client.call('POST', path(), { body: { metadata: { name } } });

  test('waits as long as it is asked to when it is throttled, and gives up after some tries', async () => {
    let throttled = 2;
    proxy.decide = () =>
      throttled-- > 0 ? { kind: 'answer', status: 429, headers: { 'retry-after': '1' } } : { kind: 'pass' };
    const start = performance.now();
    await create('throttled');
    expect(performance.now() - start).toBeGreaterThan(1900);
    proxy.decide = () => ({ kind: 'answer', status: 429, headers: { 'retry-after': '0' } });
    await expect(create('refused')).rejects.toMatchObject({ status: 429 });
  });

  test('tells of a write whose answer was lost, which was made all the same', async () => {
    proxy.decide = ({ isWrite }) => (isWrite ? { kind: 'lose-answer' } : { kind: 'pass' });
    await expect(create('made')).rejects.toThrow();
    expect(await direct.call('GET', path('made'))).toMatchObject({ metadata: { name: 'made' } });
    proxy.decide = () => ({ kind: 'pass' });
    expect(isConflict(await create('made').catch((error: unknown) => error))).toBe(true);
  });

  test('does not wait for ever for an answer', async () => {
    proxy.decide = () => ({ kind: 'stall' });
    await expect(client.call('GET', path(), { timeoutMilliseconds: 500 })).rejects.toThrow();
  });

  test('uses few connections for many requests', async () => {
    await Promise.all(Array.from({ length: 100 }, () => client.call('GET', path())));
    const start = proxy.connections;
    for (let round = 0; round < 50; round++) await client.call('GET', path());
    expect(proxy.connections).toBe(start);
  });
});

describe('the lease', () => {
  const timing = { duration: 3, renewDeadline: 2, retry: 0.2 };
  const take = (identity: string, through = client): Promise<HeldLease> =>
    acquireLease(
      { client: through, namespace, name: 'edge', identity, onError: () => undefined, timing },
      AbortSignal.any([stop.signal, AbortSignal.timeout(20_000)]),
    );
  const leasePath = () => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/edge`;
  const within = (milliseconds: number, lost: Promise<void>) =>
    Promise.race([lost.then(() => 'lost'), new Promise((resolve) => setTimeout(() => resolve('held'), milliseconds))]);

  test('is held for as long as it is renewed, and by one at a time', async () => {
    const first = await take('first');
    const second = take('second', direct);
    expect(await within(4000, first.lost)).toBe('held');
    await first.release();
    const held = await second;
    await held.release();
  });

  test('is lost when another has taken it', async () => {
    const held = await take('first');
    const lease: { spec: object } = await direct.call('GET', leasePath());
    await direct.call('PATCH', leasePath(), {
      contentType: 'application/merge-patch+json',
      body: { spec: { ...lease.spec, holderIdentity: 'thief' } },
    });
    expect(await within(1500, held.lost)).toBe('lost');
  });

  test('is given up before another may take it, when no renewal gets through or comes back', async () => {
    for (const fate of ['cut', 'stall'] as const) {
      proxy.decide = () => ({ kind: 'pass' });
      const held = await take(fate);
      proxy.decide = () => ({ kind: fate });
      const start = performance.now();
      const other = take('other', direct);
      await held.lost;
      expect(performance.now() - start).toBeLessThan(timing.duration * 1000);
      const successor = await other;
      expect(performance.now() - start).toBeGreaterThan(timing.renewDeadline * 1000);
      await successor.release();
    }
  });

  test('is passed on within its duration when its holder is killed', async () => {
    await take('killed');
    await proxy.close();
    const start = performance.now();
    const held = await take('heir', direct);
    expect(performance.now() - start).toBeLessThan((timing.duration + 3) * 1000);
    await held.release();
    proxy = await startFaultProxy(testKubeconfig());
  });

  test('and the queue do not mind a clock that jumps', async () => {
    const held = await take('first');
    const now = Date.now.bind(Date);
    const queue = new WorkQueue();
    for (const jump of [-3_600_000, 3_600_000]) {
      const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + jump);
      try {
        queue.add('key', { afterMilliseconds: 300 });
        const start = performance.now();
        expect(await queue.take()).toBe('key');
        expect(performance.now() - start).toBeGreaterThan(250);
        queue.done('key');
        expect(await within(2500, held.lost)).toBe('held');
      } finally {
        clock.mockRestore();
      }
    }
    queue.close();
    await held.release();
  });
});

describe('a restart of the API server', () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await startApiServer(['-*']);
  });
  afterAll(() => server.stop());

  test('is survived: what changes behind it is seen', async () => {
    const other = createClient({ connection: openConnection({ kubeconfig: server.kubeconfig }), userAgent: 'edge' });
    const create = (name: string) =>
      other.call('POST', '/api/v1/namespaces/default/configmaps', {
        body: { metadata: { name, labels: { edge: 'yes' } } },
      });
    const store = new Store<KubeObject>();
    const errors: unknown[] = [];
    const options = { client: other, path: '/api/v1/configmaps', labelSelector: 'edge=yes', store, random: () => 0 };
    void reflect({ ...options, prepare: (object) => object, onError: (error) => errors.push(error) }, stop.signal);
    await create('before');
    await eventually(
      async () => store.size,
      (size) => size === 1,
    );
    await server.daemons.restart('kube-apiserver');
    await eventually(
      () =>
        create('after').then(
          () => true,
          () => false,
        ),
      (made) => made,
      { seconds: 60 },
    );
    await eventually(
      async () => store.size,
      (size) => size === 2,
    );
    expect(errors.length).toBeGreaterThan(0);
  });
});
