import { expect, test } from '@jest/globals';
import type { KubeClient } from '../kube/client.ts';
import { ApiError } from '../kube/errors.ts';
import { modelDeployment } from '../testing/test-objects.ts';
import { Caches } from './caches.ts';
import { createExecutor } from './execute.ts';
import { Memory } from './memory.ts';
import { observeRoutes } from './observe-routes.ts';

const model = modelDeployment({
  rollout: {
    strategy: 'Canary',
    canary: { routing: 'Gateway', gateway: { httpRoutes: ['iris'] }, steps: [{ weight: 20, hold: 'Manual' }] },
  },
});

function clientThat(answer: () => unknown) {
  const calls: string[] = [];
  const client: KubeClient = {
    async call<T>(method: string, path: string) {
      calls.push(`${method} ${path}`);
      return answer() as T;
    },
    watch: () => {
      throw new Error('nothing is watched');
    },
  };
  return { calls, client };
}
const route = (...names: readonly string[]) => ({
  metadata: { name: 'iris', resourceVersion: '1', generation: 1 },
  spec: { rules: [{ backendRefs: names.map((name) => ({ name })) }] },
});
const path = 'GET /apis/gateway.networking.k8s.io/v1/namespaces/n/httproutes/iris';

test('routes are looked at once for each spec: a ModelDeployment of before may have left something there', async () => {
  const { calls, client } = clientThat(() => route('iris'));
  const memory = new Memory();
  for (let pass = 0; pass < 3; pass++) await observeRoutes(model, { client, memory, now: () => 0 });
  expect(calls).toEqual([path]);
  await observeRoutes({ ...model, metadata: { ...model.metadata, generation: 2 } }, { client, memory, now: () => 0 });
  expect(calls).toHaveLength(2);
});

test('and again until they have let go', async () => {
  let now = route('iris', 'iris-canary');
  const { calls, client } = clientThat(() => now);
  const memory = new Memory();
  await observeRoutes(model, { client, memory, now: () => 0 });
  await observeRoutes(model, { client, memory, now: () => 0 });
  now = route('iris');
  await observeRoutes(model, { client, memory, now: () => 0 });
  await observeRoutes(model, { client, memory, now: () => 0 });
  expect(calls).toHaveLength(3);
});

test.each<[unknown, string, string | undefined]>([
  [new ApiError(404, 'NotFound', 'not found'), 'gone', undefined],
  [new ApiError(403, 'Forbidden', 'no'), 'unreadable', "no: set gatewayApi.enabled of the operator's chart"],
  [new ApiError(500, 'InternalError', 'broken'), 'unreadable', 'broken'],
  [new Error('connection reset'), 'unreadable', 'connection reset'],
])('%s is a route that is %s', async (error, kind, why) => {
  const { client } = clientThat(() => {
    throw error;
  });
  const [state] = await observeRoutes(model, { client, memory: new Memory(), now: () => 0 });
  expect(state).toMatchObject(why === undefined ? { kind } : { kind, why });
});

test('whatever a route answers to its patch holds up nothing else', async () => {
  const { client } = clientThat(() => {
    throw new ApiError(500, 'InternalError', 'failed calling webhook');
  });
  const executor = createExecutor(model, { client, caches: new Caches(), memory: new Memory(), now: () => 0 });
  const reference = { kind: 'HTTPRoute', name: 'iris' } as const;
  const write = {
    kind: 'patch-route',
    route: reference,
    weight: 20,
    resourceVersion: '1',
    changes: [],
    isHalf: false,
  } as const;
  // 422 is a refusal: it is told, and other writes are made.
  await expect(executor.execute(write)).rejects.toMatchObject({
    status: 422,
    message: expect.stringContaining('failed calling webhook'),
  });
});
