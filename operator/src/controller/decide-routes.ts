import { canaryName } from '../desired/metadata.ts';
import type { Observed } from '../observed.ts';
import { type BackendReference, changeOfRoute, isSame, ownRoutes, routeInWords } from '../rollout/routes.ts';
import type { Wanted } from '../rollout/wanted-revision.ts';
import { repairDelay } from './damping.ts';
import type { Contested } from './decide-children.ts';
import type { Write } from './writes.ts';

/** What is done about one route. */
export interface RouteDecision {
  readonly writes: readonly Write[];
  /** Somebody gives it other weights again and again: the next repair waits. */
  readonly contested?: Contested;
  readonly requeueAfterMilliseconds?: number;
}

/** Routes give the canary its share, and those that it does not use any more are let go of. */
export function routeDecisions(observed: Observed, { canary }: Wanted, now: Date): RouteDecision[] {
  const { model, routes, conflicts, canaryService } = observed;
  if (conflicts.length > 0) return [];
  const own = canary === undefined ? [] : ownRoutes(model.spec);
  return routes.flatMap((state): RouteDecision[] => {
    if (state.kind !== 'found') return [];
    // A backend has to be there before a Gateway is told of it, and nothing goes to one that is not there any more.
    const isGiven = canaryService !== undefined && own.some((one) => isSame(one, state.reference));
    const weight = isGiven ? canary?.record.weight : undefined;
    const change = changeOfRoute(state, model.metadata.name, weight);
    if (change.kind === 'problem' || change.changes.length === 0) return [];
    const { reference: route } = state;
    const { resourceVersion } = state.route.metadata;
    // What is shown or taken to nothing first is half of what is done.
    const isHalf =
      weight !== 0 && change.changes.every(({ backendRefs }) => showsOnly(backendRefs, model.metadata.name));
    const changes = { changes: change.changes, isHalf };
    return [dampedRepair(observed, { kind: 'patch-route', route, weight, resourceVersion, ...changes }, now)];
  });
}

function showsOnly(backends: readonly BackendReference[], model: string): boolean {
  return backends.some(({ name, weight }) => name === canaryName(model) && weight === 0);
}

function dampedRepair(
  { routeRepairs }: Observed,
  write: Extract<Write, { readonly kind: 'patch-route' }>,
  now: Date,
): RouteDecision {
  const name = routeInWords(write.route);
  const last = routeRepairs.get(name);
  const before = last?.desired === desiredOfRoute(write.weight) ? last : undefined;
  const wait = before === undefined ? 0 : before.at + repairDelay(before.repairs) - now.getTime();
  if (before === undefined || wait <= 0) return { writes: [write] };
  const contested = { child: name, difference: 'backendRefs', repairs: before.repairs };
  return { writes: [], contested, requeueAfterMilliseconds: wait };
}

/** What repairs of a route are counted by: those of another weight are of no quarrel about this one. */
export function desiredOfRoute(weight: number | undefined): string {
  return weight === undefined ? 'let go of' : String(weight);
}
