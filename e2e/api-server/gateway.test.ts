import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import { backendsOf, grantRoutes, installGatewayApi, makeRoute, pathOfRoute, takeRoute } from './played-gateway.ts';
import { startPodLife } from './pod-life.ts';

const { client, models, namespace } = operatorSuite();
const kinds = ['HTTPRoute', 'GRPCRoute'] as const;
const routePath = pathOfRoute('HTTPRoute', namespace);
let podLife: ReturnType<typeof startPodLife>;

const backends = () => backendsOf(client, routePath);
const canary = async () => (await models.get('iris')).status?.rollout?.canary;
const weights = (weight: number) => [
  ['iris', 100 - weight],
  ['iris-canary', weight],
];
// The second is written after the first, and a Gateway that took it before would have taken what it was.
async function have(
  expected: readonly (string | number)[][],
  of: readonly (typeof kinds)[number][] = kinds,
): Promise<void> {
  for (const kind of of)
    await eventually(
      () => backendsOf(client, pathOfRoute(kind, namespace)),
      ([first]) => JSON.stringify(first) === JSON.stringify(expected),
    );
}
const haveWeight = (weight: number) => have(weights(weight));
async function takeRoutes(): Promise<void> {
  for (const kind of kinds) await takeRoute(client, pathOfRoute(kind, namespace));
}

beforeAll(async () => {
  await installGatewayApi();
  await grantRoutes(client, namespace);
  podLife = startPodLife();
  await models.create('iris', {
    replicas: 4,
    rollout: {
      strategy: 'Canary',
      canary: {
        routing: 'Gateway',
        gateway: { httpRoutes: ['iris'], grpcRoutes: ['iris'] },
        steps: [{ weight: 30, hold: 'Manual' }],
      },
      analysis: { intervalSeconds: 5 },
    },
    validation: { contract: 'Ignore' },
  });
  await models.condition('iris', 'Ready', ({ status }) => status === 'True');
}, 240_000);
afterAll(() => podLife.stop());

test('the Service of a canary is there before there is one', async () => {
  const { spec } = await models.requireChild('CanaryService', 'iris');
  expect(spec.selector).toMatchObject({ 'serving.slipway.dev/track': 'canary' });
});

test('a canary waits for its route, for its weights, and for a Gateway that takes them', async () => {
  await models.patch('iris', { model: { version: '2' } });
  await eventually(canary, (record) => record?.message?.startsWith('there is no HTTPRoute iris') === true);
  const rule = { backendRefs: [{ name: 'iris', port: 80 }] };
  const other = { matches: [{ path: { type: 'PathPrefix', value: '/x' } }], backendRefs: [{ name: 'x', port: 80 }] };
  await makeRoute(client, namespace, 'HTTPRoute', [rule, other]);
  await makeRoute(client, namespace, 'GRPCRoute', [{ backendRefs: [{ name: 'iris', port: 9000 }] }]);
  await eventually(canary, (record) => record?.message === 'no Gateway has taken HTTPRoute iris yet');
  await haveWeight(0);
  await eventually(canary, (record) => record?.message === 'no Gateway has taken HTTPRoute iris yet');
  await takeRoutes();
  await haveWeight(30);
  await eventually(canary, (record) => record?.message === 'no Gateway has taken HTTPRoute iris yet');
  await takeRoutes();
  await eventually(canary, (record) => record?.state === 'Holding');
  expect(await backends()).toEqual([weights(30), [['x', 1]]]);
});

// A backend that gives nothing first: no Gateway sends requests to what it does not know yet.
test('weights that somebody takes away come back', async () => {
  await client.call('PATCH', routePath, {
    contentType: 'application/json-patch+json',
    body: [{ op: 'replace', path: '/spec/rules/0/backendRefs', value: [{ name: 'iris', port: 80 }] }],
  });
  await have(weights(0), ['HTTPRoute']);
  await takeRoutes();
  await have(weights(30), ['HTTPRoute']);
  await takeRoutes();
});

test('a canary that is aborted goes once its route has let go of it', async () => {
  const revision = (await models.get('iris')).status?.updateRevision;
  await client.call('PATCH', `/apis/serving.slipway.dev/v1alpha1/namespaces/${namespace}/modeldeployments/iris`, {
    contentType: 'application/merge-patch+json',
    body: { metadata: { annotations: { 'serving.slipway.dev/abort': `${revision}@1` } } },
  });
  await haveWeight(0);
  await takeRoutes();
  await have([['iris', 1]]);
  expect(await backends()).toEqual([[['iris', 1]], [['x', 1]]]);
  expect((await models.child('CanaryDeployment', 'iris'))?.metadata.deletionTimestamp).toBeUndefined();
  await takeRoutes();
  await eventually(
    () => models.child('CanaryDeployment', 'iris'),
    (deployment) => deployment === undefined || deployment.metadata.deletionTimestamp !== undefined,
  );
  expect((await models.get('iris')).status?.rollout?.routes).toBeUndefined();
  expect(await models.child('CanaryService', 'iris')).toBeDefined();
});
