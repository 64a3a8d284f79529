import { isTriedBeside, type ModelDeployment, type RouteReference } from '../api/model-deployment.ts';
import type { KubeClient } from '../kube/client.ts';
import { ApiError, isNotFound, messageOf } from '../kube/errors.ts';
import { pathOf, type Resource } from '../kube/objects.ts';
import { type LiveRoute, mayHaveShare, type RouteState, routeInWords, routesOf } from '../rollout/routes.ts';
import type { PassOptions } from './pass-options.ts';

const gateway = { group: 'gateway.networking.k8s.io', version: 'v1' };

export const routeResources: Readonly<Record<RouteReference['kind'], Resource>> = {
  HTTPRoute: { ...gateway, kind: 'HTTPRoute', plural: 'httproutes' },
  GRPCRoute: { ...gateway, kind: 'GRPCRoute', plural: 'grpcroutes' },
};

/**
 * Reads the routes that a canary has its share by. They are users' objects, of any cluster's kinds, so they are not watched:
 * the API server is asked while a canary is tried, until they are as they were, and once for each spec: a ModelDeployment that was
 * deleted and made again, or restored, may have left something in them.
 */
export async function observeRoutes(
  model: ModelDeployment,
  { client, memory, now }: Pick<PassOptions, 'client' | 'memory' | 'now'>,
): Promise<readonly RouteState[]> {
  const known = memory.of(model);
  const isUnderWay = model.status?.rollout?.canary !== undefined && isTriedBeside(model.spec);
  const { generation } = model.metadata;
  const isToBeRead = isUnderWay || known.routesLookedAt !== generation;
  const states = await Promise.all(
    routesOf(model, isToBeRead).map((reference) =>
      readRoute(model, reference, client, (route) => known.isWaitedFor(routeInWords(reference), route, now())),
    ),
  );
  const areLetGo = !isUnderWay && !states.some((state) => mayHaveShare(state, model.metadata.name));
  if (areLetGo) known.routesLookedAt = generation;
  return states;
}

async function readRoute(
  { metadata: { namespace } }: ModelDeployment,
  reference: RouteReference,
  client: KubeClient,
  isWaitedFor: (route: LiveRoute) => boolean,
): Promise<RouteState> {
  try {
    const path = pathOf(routeResources[reference.kind], namespace, reference.name);
    const route = await client.call<LiveRoute>('GET', path);
    return { kind: 'found', reference, route, isBehind: isWaitedFor(route) };
  } catch (error) {
    if (isNotFound(error)) return { kind: 'gone', reference };
    if (error instanceof Error && error.name === 'AbortError') throw error;
    const isForbidden = error instanceof ApiError && error.status === 403;
    const advice = isForbidden ? ": set gatewayApi.enabled of the operator's chart" : '';
    return { kind: 'unreadable', reference, why: `${messageOf(error)}${advice}` };
  }
}
