import {
  type CanaryRecord,
  canaryPolicyOf,
  isTriedBeside,
  type ModelDeployment,
  type RouteReference,
} from '../api/model-deployment.ts';
import { withinCharacters } from '../api/text.ts';
import { canaryName } from '../desired/metadata.ts';

/** A route of a Gateway, HTTPRoute or GRPCRoute, as far as it matters: of sigs.k8s.io/gateway-api, v1. */
export interface LiveRoute {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion: string;
    readonly generation?: number;
  };
  readonly spec?: { readonly rules?: readonly RouteRule[] };
  readonly status?: { readonly parents?: readonly RouteParent[] };
}

export interface RouteRule {
  readonly backendRefs?: readonly BackendReference[];
}

/** What else a reference has, a port and filters, is kept as it is. */
export interface BackendReference {
  readonly group?: string;
  readonly kind?: string;
  readonly name: string;
  readonly namespace?: string;
  readonly weight?: number;
}

interface RouteParent {
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly observedGeneration?: number;
    readonly message?: string;
  }[];
}

/** What is known of a route. */
export type RouteState = { readonly reference: RouteReference } & (
  | {
      readonly kind: 'found';
      readonly route: LiveRoute;
      /** Whether a Gateway that had taken it is waited for, since it has not taken it as it is now. */
      readonly isBehind: boolean;
    }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unreadable'; readonly why: string }
);

/** The backends of a rule that are to be others. */
export interface RuleChange {
  readonly rule: number;
  readonly backendRefs: readonly BackendReference[];
}

/** What has to be changed of a route, or why it cannot be. */
export type RouteChange =
  | { readonly kind: 'changes'; readonly changes: readonly RuleChange[] }
  | { readonly kind: 'problem'; readonly why: string };

export const routeInWords = ({ kind, name }: RouteReference) => `${kind} ${name}`;

/** The routes that a canary of the model uses, or has used and not let go of yet. */
export function routesOf({ spec, status }: ModelDeployment, isUnderWay: boolean): readonly RouteReference[] {
  const before = status?.rollout?.routes ?? [];
  const own = isUnderWay ? ownRoutes(spec) : [];
  return [...own, ...before.filter((route) => !own.some((one) => isSame(one, route)))];
}

/** The routes that the spec names. */
export function ownRoutes(spec: ModelDeployment['spec']): readonly RouteReference[] {
  const { routing } = canaryPolicyOf(spec);
  return isTriedBeside(spec) && routing.kind === 'Gateway' ? routing.routes : [];
}

export function isSame(a: RouteReference, b: RouteReference): boolean {
  return a.kind === b.kind && a.name === b.name;
}

/**
 * What gives a canary its share of a route: in each rule that has the Service of the model as its backend, a second one
 * beside it. A rule that has the canary's Service alone is somebody's own, and left as it is.
 *
 * @param weight the percentage; undefined for a route that is let go of
 */
export function changeOfRoute(
  { route, isBehind: behind }: Pick<Extract<RouteState, { readonly kind: 'found' }>, 'route' | 'isBehind'>,
  model: string,
  weight: number | undefined,
): RouteChange {
  const rules = rulesOf(route, model);
  if (weight === undefined) {
    const lent = rules.filter(({ backends }) => backends.canary.length > 0);
    const giving = lent.filter(({ backends }) => backends.canary.some(givesAny));
    // A Gateway may forget a backend before it forgets to send requests there.
    if (giving.length > 0)
      return {
        kind: 'changes',
        changes: giving.map(({ rule, backends }) => ({ rule, backendRefs: withoutShare(backends) })),
      };
    const changes = lent.map(({ rule, backends }) => ({ rule, backendRefs: withoutCanary(backends) }));
    return { kind: 'changes', changes: behind ? [] : changes };
  }
  if (rules.length === 0)
    return { kind: 'problem', why: `none of its rules has the Service ${model} as a backend: add one` };
  const shared = rules.find(({ backends: { stable, others } }) => stable.length > 1 || others.length > 0);
  if (shared !== undefined)
    return {
      kind: 'problem',
      why: `rule ${shared.rule} has other backends beside ${model}: give the model a rule of its own`,
    };
  // One that had taken routes and has not answered for long is not waited for any more.
  const isWaitedFor = behind || (acceptanceProblem(route, '') !== undefined && !isBehind(route));
  const next = rules.map((one) => ({ ...one, weight: nextWeight(one.backends, weight, isWaitedFor) }));
  const changed = next.filter((one) => !hasWeight(one.backends, one.weight));
  return {
    kind: 'changes',
    changes: changed.map((one) => ({ rule: one.rule, backendRefs: withCanary(one.backends, model, one.weight) })),
  };
}

/** A Gateway may send requests to a backend before it knows where that is: it is shown one with nothing first. */
function nextWeight({ canary }: Backends, weight: number, isWaitedFor: boolean): number {
  const [shown, ...more] = canary;
  if (shown === undefined || more.length > 0) return 0;
  return isWaitedFor && !givesAny(shown) ? 0 : weight;
}

/** The rules that have the Service of the model as a backend. */
function rulesOf({ spec, metadata }: LiveRoute, model: string) {
  return (spec?.rules ?? []).flatMap(({ backendRefs = [] }, rule) => {
    const backends = backendsOf(backendRefs, model, metadata.namespace);
    return backends.stable.length === 0 ? [] : [{ rule, backends }];
  });
}

function hasWeights(route: LiveRoute, model: string, weight: number): boolean {
  return rulesOf(route, model).every(({ backends }) => hasWeight(backends, weight));
}

interface Backends {
  readonly stable: readonly BackendReference[];
  readonly canary: readonly BackendReference[];
  readonly others: readonly BackendReference[];
}

function backendsOf(references: readonly BackendReference[], model: string, namespace: string | undefined): Backends {
  const [stable, rest] = [
    references.filter((one) => isService(one, model, namespace)),
    references.filter((one) => !isService(one, model, namespace)),
  ];
  const canary = rest.filter((one) => isService(one, canaryName(model), namespace));
  return { stable, canary, others: rest.filter((one) => !canary.includes(one)) };
}

const givesAny = ({ weight = 1 }: BackendReference) => weight > 0;

function withoutShare({ stable, canary, others }: Backends): readonly BackendReference[] {
  // Where the model has the rule to itself, and where nobody would get anything.
  const isToBeGiven = (others.length === 0 && stable.length === 1) || !stable.some(givesAny);
  const own = isToBeGiven ? stable.map((one) => ({ ...one, weight: 100 })) : stable;
  return [...own, ...canary.map((one) => ({ ...one, weight: 0 })), ...others];
}

/** Whoever has a rule to itself has the weight of one that has none. */
function withoutCanary({ stable, others }: Backends): readonly BackendReference[] {
  return others.length === 0 && stable.length === 1
    ? stable.map((own) => ({ ...own, weight: 1 }))
    : [...stable, ...others];
}

function withCanary({ stable }: Backends, model: string, weight: number): readonly BackendReference[] {
  return stable.flatMap((own) => [
    { ...own, weight: 100 - weight },
    { ...own, name: canaryName(model), weight },
  ]);
}

function isService(
  { group = '', kind = 'Service', name, namespace: of }: BackendReference,
  service: string,
  namespace: string | undefined,
): boolean {
  return group === '' && kind === 'Service' && name === service && (of === undefined || of === namespace);
}

function hasWeight({ stable, canary }: Backends, weight: number): boolean {
  return canary.length === 1 && stable[0]?.weight === 100 - weight && canary[0]?.weight === weight;
}

/** What keeps a route from giving a canary its share, in words; undefined when it does. */
export function problemOfRoute(
  state: RouteState,
  model: string,
  { weight }: Pick<CanaryRecord, 'weight'>,
): string | undefined {
  const what = routeInWords(state.reference);
  switch (state.kind) {
    case 'gone':
      return `there is no ${what}, or the cluster has no Gateway API: make it, or change spec.rollout`;
    case 'unreadable':
      return `${what} cannot be read: ${state.why}`;
    case 'found': {
      const change = changeOfRoute(state, model, weight);
      if (change.kind === 'problem') return `${what}: ${change.why}`;
      if (!hasWeights(state.route, model, weight)) return `${what} has other weights yet`;
      return acceptanceProblem(state.route, what);
    }
  }
}

/** Somebody else's words. */
const mostReason = 512;

/** A Gateway has to have taken what the route says now. */
function acceptanceProblem({ metadata, status }: LiveRoute, what: string): string | undefined {
  const { generation = 0 } = metadata;
  const parents = (status?.parents ?? []).map(({ conditions = [] }) => {
    const current = conditions.filter(({ observedGeneration = 0 }) => observedGeneration >= generation);
    return (type: string) => current.find((one) => one.type === type);
  });
  const isTaken = parents.some(
    (condition) => condition('Accepted')?.status === 'True' && condition('ResolvedRefs')?.status !== 'False',
  );
  if (isTaken) return undefined;
  const why = parents
    .flatMap((condition) => [condition('Accepted'), condition('ResolvedRefs')])
    .find((condition) => condition?.status === 'False')?.message;
  return `no Gateway has taken ${what} yet${why === undefined ? '' : `: ${withinCharacters(why, mostReason)}`}`;
}

/** Whether a Gateway that had taken a route as it was before has not taken it as it is now. */
export function isBehind({ metadata, status }: LiveRoute): boolean {
  const conditions = (status?.parents ?? []).flatMap((parent) => parent.conditions ?? []);
  return conditions.some(
    ({ type, observedGeneration }) => type === 'Accepted' && (observedGeneration ?? 0) < (metadata.generation ?? 0),
  );
}

/** Whether requests may reach what the Service of a canary has. */
export function givesShare(state: RouteState, model: string): boolean {
  switch (state.kind) {
    case 'gone':
      return false;
    case 'unreadable':
      return true;
    case 'found': {
      // A rule that has the canary's Service alone is somebody's own.
      const isShared = rulesOf(state.route, model).some(({ backends: { canary } }) => canary.some(givesAny));
      return isShared || state.isBehind;
    }
  }
}

/** As many as the CRD allows. */
const mostRoutes = 32;

/** The routes that have, or may have, a share for a canary: they are let go of even when the spec names them no longer. */
export function usedRoutes(
  { model, routes }: { readonly model: ModelDeployment; readonly routes: readonly RouteState[] },
  isUnderWay: boolean,
): readonly RouteReference[] {
  const own = isUnderWay ? ownRoutes(model.spec) : [];
  const used = routesOf(model, isUnderWay).filter((reference) => {
    const state = routes.find((one) => isSame(one.reference, reference));
    const isOwn = own.some((one) => isSame(one, reference));
    return isOwn || state === undefined || mayHaveShare(state, model.metadata.name);
  });
  return used.slice(0, mostRoutes);
}

/** What of routes is still waited for when nothing is tried, in words; undefined for nothing. */
export function waitsForRoutes({
  model,
  routes,
}: {
  readonly model: ModelDeployment;
  readonly routes: readonly RouteState[];
}): string | undefined {
  const waiting = routes.filter((state) => mayHaveShare(state, model.metadata.name));
  if (waiting.length === 0) return undefined;
  const told = waiting.map((state) =>
    state.kind === 'unreadable'
      ? `${routeInWords(state.reference)} cannot be read: ${withinCharacters(state.why, mostReason)}`
      : `${routeInWords(state.reference)} is not let go of by its Gateway yet`,
  );
  return `the pods of the canary are kept: ${told.join('; ')}`;
}

/** Whether a route still has, or may have, a share for a canary. */
export function mayHaveShare(state: RouteState, model: string): boolean {
  switch (state.kind) {
    case 'gone':
      return false;
    case 'unreadable':
      return true;
    case 'found': {
      const change = changeOfRoute(state, model, undefined);
      return change.kind === 'problem' || change.changes.length > 0 || state.isBehind;
    }
  }
}
