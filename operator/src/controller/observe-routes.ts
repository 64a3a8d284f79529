import { isTriedBeside, type ModelDeployment, type RouteReference } from '../api/model-deployment.ts';
import type { KubeClient } from '../kube/client.ts';
import { ApiError, isNotFound } from '../kube/errors.ts';
import { pathOf, type Resource } from '../kube/objects.ts';
import { type LiveRoute, type RouteState, routesOf } from '../rollout/routes.ts';

const gateway = { group: 'gateway.networking.k8s.io', version: 'v1' };

export const routeResources: Readonly<Record<RouteReference['kind'], Resource>> = {
  HTTPRoute: { ...gateway, kind: 'HTTPRoute', plural: 'httproutes' },
  GRPCRoute: { ...gateway, kind: 'GRPCRoute', plural: 'grpcroutes' },
};

/**
 * Reads the routes that a canary has its share by. They are users' objects, of any cluster's kinds, so they are not watched:
 * the API server is asked while a canary is tried, and until they are as they were.
 */
export async function observeRoutes(model: ModelDeployment, client: KubeClient): Promise<readonly RouteState[]> {
  const isUnderWay = model.status?.rollout?.canary !== undefined && isTriedBeside(model.spec);
  return Promise.all(routesOf(model, isUnderWay).map((reference) => readRoute(model, reference, client)));
}

async function readRoute(
  { metadata: { namespace } }: ModelDeployment,
  reference: RouteReference,
  client: KubeClient,
): Promise<RouteState> {
  try {
    const path = pathOf(routeResources[reference.kind], namespace, reference.name);
    return { kind: 'found', reference, route: await client.call<LiveRoute>('GET', path) };
  } catch (error) {
    if (isNotFound(error)) return { kind: 'gone', reference };
    if (!(error instanceof ApiError)) throw error;
    const advice = error.status === 403 ? ": set gatewayApi.enabled of the operator's chart" : '';
    return { kind: 'unreadable', reference, why: `${error.message}${advice}` };
  }
}
