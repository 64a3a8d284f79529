import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { routeResources } from '../../operator/src/controller/observe-routes.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { gatewayApiFiles } from '../cluster/gateway-api.ts';
import { eventually } from '../eventually.ts';
import { operatorRules, operatorUser, renderRights } from './operator-rights.ts';
import { operatorSuite } from './operator-suite.ts';
import { startPodLife } from './pod-life.ts';
import { type AnyObject, testKubeconfig } from './test-cluster.ts';

/** Routes as a real API server keeps them; a Gateway is played, which no test here needs to route anything. */
const { client, models, namespace } = operatorSuite();
const group = 'gateway.networking.k8s.io';
const kinds = ['HTTPRoute', 'GRPCRoute'] as const;
const pathOfRoute = (kind: (typeof kinds)[number]) => pathOf(routeResources[kind], namespace, 'iris');
const routePath = pathOfRoute('HTTPRoute');
let podLife: ReturnType<typeof startPodLife>;

async function installGatewayApi(): Promise<void> {
  const { kubectl } = await ensureBinaries('kubernetes');
  const args = ['--kubeconfig', testKubeconfig(), 'apply', '--server-side', ...(await gatewayApiFiles('standard'))];
  execFileSync(kubectl, args, { stdio: 'pipe' });
  await eventually(
    () =>
      client.call(`GET`, pathOf(routeResources.HTTPRoute, namespace)).then(
        () => true,
        () => false,
      ),
    (isServed) => isServed,
  );
}

/** What the chart gives with gatewayApi.enabled, in this namespace. */
async function grantRoutes(): Promise<void> {
  const rules = operatorRules(await renderRights('--set', 'gatewayApi.enabled=true'));
  const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
  const metadata = { name: 'routes' };
  const [, , , name] = operatorUser.split(':');
  await client.call('POST', `${path}/roles`, {
    body: { metadata, rules: rules.filter(({ apiGroups }) => apiGroups.includes(group)) },
  });
  await client.call('POST', `${path}/rolebindings`, {
    body: {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'routes' },
      subjects: [{ kind: 'ServiceAccount', name, namespace: 'slipway-system' }],
    },
  });
}

const backends = async () => {
  const { spec }: AnyObject = await client.call('GET', routePath);
  return spec.rules.map(({ backendRefs }: { backendRefs: { name: string; weight: number }[] }) =>
    backendRefs.map(({ name, weight }) => [name, weight]),
  );
};
const canary = async () => (await models.get('iris')).status?.rollout?.canary;
async function takeRoutes(): Promise<void> {
  for (const kind of kinds) await takeRoute(pathOfRoute(kind));
}

/** Takes a route as it is now. */
async function takeRoute(path: string): Promise<void> {
  const { metadata }: AnyObject = await client.call('GET', path);
  const condition = { status: 'True', reason: 'Taken', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
  const conditions = [{ ...condition, type: 'Accepted', observedGeneration: metadata.generation }];
  const parents = [{ parentRef: { name: 'gateway' }, controllerName: 'example.com/gateway', conditions }];
  await client.call('PATCH', `${path}/status`, {
    contentType: 'application/merge-patch+json',
    body: { status: { parents } },
  });
}

beforeAll(async () => {
  await installGatewayApi();
  await grantRoutes();
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
  const parentRefs = [{ name: 'gateway' }];
  for (const [kind, rules] of [
    ['HTTPRoute', [rule, other]],
    ['GRPCRoute', [{ backendRefs: [{ name: 'iris', port: 9000 }] }]],
  ] as const)
    await client.call('POST', pathOf(routeResources[kind], namespace), {
      body: { apiVersion: `${group}/v1`, kind, metadata: { name: 'iris' }, spec: { parentRefs, rules } },
    });
  const weights = (weight: number) => [
    ['iris', 100 - weight],
    ['iris-canary', weight],
  ];
  // A backend that gives nothing first: no Gateway sends requests to what it does not know yet.
  for (const weight of [0, 30]) {
    await eventually(backends, ([first]) => JSON.stringify(first) === JSON.stringify(weights(weight)));
    await eventually(canary, (record) => record?.message === 'no Gateway has taken HTTPRoute iris yet');
    await takeRoutes();
  }
  await eventually(canary, (record) => record?.state === 'Holding');
  expect(await backends()).toEqual([weights(30), [['x', 1]]]);
});

test('weights that somebody takes away come back', async () => {
  await client.call('PATCH', routePath, {
    contentType: 'application/json-patch+json',
    body: [{ op: 'replace', path: '/spec/rules/0/backendRefs', value: [{ name: 'iris', port: 80 }] }],
  });
  await eventually(backends, ([first]) => first?.length === 2);
  await takeRoutes();
});

test('a canary that is aborted goes once its route has let go of it', async () => {
  const revision = (await models.get('iris')).status?.updateRevision;
  await client.call('PATCH', `/apis/serving.slipway.dev/v1alpha1/namespaces/${namespace}/modeldeployments/iris`, {
    contentType: 'application/merge-patch+json',
    body: { metadata: { annotations: { 'serving.slipway.dev/abort': `${revision}@1` } } },
  });
  await eventually(backends, ([first]) => JSON.stringify(first) === '[["iris",100],["iris-canary",0]]');
  await takeRoutes();
  await eventually(backends, ([first]) => first?.length === 1);
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
