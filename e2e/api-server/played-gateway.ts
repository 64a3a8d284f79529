import { execFileSync } from 'node:child_process';
import { routeResources } from '../../operator/src/controller/observe-routes.ts';
import type { KubeClient } from '../../operator/src/kube/client.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { gatewayApiFiles } from '../cluster/gateway-api.ts';
import { eventually } from '../eventually.ts';
import { operatorRules, operatorUser, renderRights } from './operator-rights.ts';
import { type AnyObject, testClient, testKubeconfig } from './test-cluster.ts';

/** Routes as a real API server keeps them. The Gateway is played: no test here needs one that routes anything. */
const group = 'gateway.networking.k8s.io';

export const pathOfRoute = (kind: keyof typeof routeResources, namespace: string) =>
  pathOf(routeResources[kind], namespace, 'iris');

export async function installGatewayApi(): Promise<void> {
  const { kubectl } = await ensureBinaries('kubernetes');
  const args = ['--kubeconfig', testKubeconfig(), 'apply', '--server-side', ...(await gatewayApiFiles('standard'))];
  execFileSync(kubectl, args, { stdio: 'pipe' });
  const client = testClient();
  const isServed = (kind: keyof typeof routeResources) =>
    client.call('GET', pathOf(routeResources[kind], 'default')).then(
      () => true,
      () => false,
    );
  await eventually(
    async () => (await isServed('HTTPRoute')) && (await isServed('GRPCRoute')),
    (areServed) => areServed,
  );
}

let rights: ReturnType<typeof renderRights> | undefined;

/** What the chart gives with gatewayApi.enabled, in a namespace. */
export async function grantRoutes(client: KubeClient, namespace: string): Promise<void> {
  rights ??= renderRights('--set', 'gatewayApi.enabled=true');
  const rules = operatorRules(await rights);
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

export async function makeRoute(
  client: KubeClient,
  namespace: string,
  kind: keyof typeof routeResources,
  rules: readonly object[],
): Promise<void> {
  await client.call('POST', pathOf(routeResources[kind], namespace), {
    body: {
      apiVersion: `${group}/v1`,
      kind,
      metadata: { name: 'iris' },
      spec: { parentRefs: [{ name: 'gateway' }], rules },
    },
  });
}

/** The backends of a route, rule by rule: their names and weights. */
export async function backendsOf(client: KubeClient, path: string): Promise<[string, number][][]> {
  const { spec }: AnyObject = await client.call('GET', path);
  return spec.rules.map(({ backendRefs }: { backendRefs: { name: string; weight: number }[] }) =>
    backendRefs.map(({ name, weight }) => [name, weight]),
  );
}

/** Takes a route as it is now. */
export async function takeRoute(client: KubeClient, path: string): Promise<void> {
  const { metadata }: AnyObject = await client.call('GET', path);
  const condition = { status: 'True', reason: 'Taken', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
  const conditions = [{ ...condition, type: 'Accepted', observedGeneration: metadata.generation }];
  const parents = [{ parentRef: { name: 'gateway' }, controllerName: 'example.com/gateway', conditions }];
  await client.call('PATCH', `${path}/status`, {
    contentType: 'application/merge-patch+json',
    body: { status: { parents } },
  });
}
