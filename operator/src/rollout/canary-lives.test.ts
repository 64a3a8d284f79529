import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canaryPolicyOf, type ModelDeploymentSpec } from '../api/model-deployment.ts';
import { CanaryLife, foundRoute, liveRoute } from '../testing/canary-life.ts';
import { settle, undo } from '../testing/simulation.ts';
import { afterVersions, asking } from '../testing/versions.ts';
import { type LiveRoute, routesOf } from './routes.ts';

/** What can happen to a rollout; versions are of the letters of what was ever asked for. */
type Happening =
  | { readonly kind: 'ask'; readonly version: string }
  | { readonly kind: 'undo'; readonly version: string }
  | { readonly kind: 'command'; readonly name: 'promote' | 'abort' | 'pause' | 'resume' | 'retry' }
  | { readonly kind: 'time'; readonly seconds: number; readonly failed: number; readonly requests: number }
  | { readonly kind: 'clock'; readonly seconds: number }
  | { readonly kind: 'pods'; readonly canaries: boolean; readonly stable: boolean; readonly tables: boolean }
  | { readonly kind: 'death'; readonly writes: number }
  | { readonly kind: 'scale'; readonly replicas: number }
  | {
      readonly kind: 'policy';
      readonly strategy: 'Canary' | 'BlueGreen' | 'RollingUpdate';
      readonly routing: 'Pods' | 'Replicas' | 'Gateway';
      readonly onFailure: 'Rollback' | 'Pause';
      readonly externalUndo: 'Adopt' | 'Revert';
    }
  | { readonly kind: 'autoscaling'; readonly isOn: boolean }
  | { readonly kind: 'gateway'; readonly isAble: boolean }
  | { readonly kind: 'route'; readonly backends: keyof typeof backendsOfOthers };

/** What others make of a route. */
const backendsOfOthers = {
  ours: [{ name: 'iris' }],
  half: [
    { name: 'iris', weight: 50 },
    { name: 'iris-canary', weight: 50 },
  ],
  theirs: [{ name: 'another' }],
} as const;

const version = fc.constantFrom('1', '2', '3', '4', '5');
const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({ kind: fc.constant('ask' as const), version }),
  fc.record({ kind: fc.constant('undo' as const), version }),
  fc.record({
    kind: fc.constant('command' as const),
    name: fc.constantFrom('promote' as const, 'abort' as const, 'pause' as const, 'resume' as const, 'retry' as const),
  }),
  fc.record({
    kind: fc.constant('time' as const),
    seconds: fc.integer({ min: 1, max: 300 }),
    failed: fc.constantFrom(0, 0, 0, 20),
    requests: fc.constantFrom(0, 100),
  }),
  fc.record({ kind: fc.constant('clock' as const), seconds: fc.integer({ min: -600, max: 600 }) }),
  fc.record({ kind: fc.constant('pods' as const), canaries: fc.boolean(), stable: fc.boolean(), tables: fc.boolean() }),
  fc.record({ kind: fc.constant('death' as const), writes: fc.integer({ min: 0, max: 5 }) }),
  fc.record({ kind: fc.constant('scale' as const), replicas: fc.integer({ min: 0, max: 6 }) }),
  fc.record({
    kind: fc.constant('policy' as const),
    strategy: fc.constantFrom('Canary' as const, 'Canary' as const, 'BlueGreen' as const, 'RollingUpdate' as const),
    routing: fc.constantFrom('Pods' as const, 'Replicas' as const, 'Gateway' as const),
    onFailure: fc.constantFrom('Rollback' as const, 'Pause' as const),
    externalUndo: fc.constantFrom('Adopt' as const, 'Revert' as const),
  }),
  fc.record({ kind: fc.constant('autoscaling' as const), isOn: fc.boolean() }),
  fc.record({ kind: fc.constant('gateway' as const), isAble: fc.boolean() }),
  fc.record({
    kind: fc.constant('route' as const),
    backends: fc.constantFrom('ours' as const, 'half' as const, 'theirs' as const),
  }),
);

const gateway = { httpRoutes: ['iris'] };
const steps = [
  { weight: 5, holdSeconds: 60 },
  { weight: 50, holdSeconds: 60 },
];
const rollout = { strategy: 'Canary' as const, progressDeadlineSeconds: 120, canary: { steps } };
const spec: Partial<ModelDeploymentSpec> = { replicas: 2, rollout, validation: { contract: 'Ignore' } };
const begun = () => {
  const life = new CanaryLife(settle(asking(afterVersions('1', '2'), '2', spec)).state);
  life.state = { ...life.state, routes: [foundRoute()] };
  return life.settle();
};

function happen(life: CanaryLife, what: Happening): void {
  const { model } = life.state;
  switch (what.kind) {
    case 'ask':
      life.ask(what.version);
      return;
    case 'undo':
      if (life.nameOf(what.version) === '' || life.state.deployment === undefined) return;
      life.state = undo(life.state, life.nameOf(what.version));
      life.settle();
      return;
    case 'command':
      life.annotate(what.name, `${life.status.updateRevision}@${life.time}`);
      return;
    case 'time':
      life.pass(what.seconds, { failed: what.failed, requests: what.requests });
      return;
    case 'clock':
      life.time += what.seconds * 1000;
      life.settle();
      return;
    case 'pods':
      life.areCanariesAble = what.canaries;
      life.isStableAble = what.stable;
      life.areTablesTaken = what.tables;
      life.settle();
      return;
    case 'death':
      life.step(what.writes);
      return;
    case 'scale':
      life.ask(model.spec.model.version, { replicas: what.replicas });
      return;
    case 'policy': {
      const { strategy, routing, onFailure, externalUndo } = what;
      const through = routing === 'Gateway' ? { routing, gateway } : { routing };
      const beside = {
        Canary: { canary: { ...through, steps } },
        BlueGreen: { blueGreen: through },
        RollingUpdate: {},
      }[strategy];
      const { progressDeadlineSeconds } = rollout;
      life.ask(model.spec.model.version, {
        rollout: { ...beside, progressDeadlineSeconds, strategy, onFailure, externalUndo },
      });
      return;
    }
    case 'gateway':
      life.isGatewayAble = what.isAble;
      life.settle();
      return;
    case 'route': {
      // Who sends requests to a canary that is not there gets what he asks for.
      if (what.backends === 'half' && !hasCanary(life)) return;
      life.state = { ...life.state, routes: [foundRoute(liveRoute(backendsOfOthers[what.backends]))] };
      life.settle();
      return;
    }
    case 'autoscaling': {
      const { replicas: _, autoscaling: __, model: ___, ...rest } = model.spec;
      const triggers = [{ type: 'Memory' as const, averageValue: '1Gi' }];
      const scale = what.isOn ? { autoscaling: { minReplicas: 1, maxReplicas: 5, triggers } } : { replicas: 2 };
      life.state = asking(life.state, model.spec.model.version, { ...rest, ...scale });
      life.settle();
      return;
    }
  }
}

function hasCanary({ state }: CanaryLife): boolean {
  return state.canaryDeployment !== undefined && state.canaryService !== undefined;
}

/** Whether a route sends requests to the canary's Service. */
function givesAny({ spec }: LiveRoute): boolean {
  const backends = (spec?.rules ?? []).flatMap(({ backendRefs = [] }) => backendRefs);
  return backends.some(({ name, weight = 1 }) => name === 'iris-canary' && weight > 0);
}

/**
 * What holds at any time: no request goes to a canary that is not there, unless somebody else sends it. A Gateway that does not
 * take a route goes on as it did, and is waited for.
 */
function checkAlways({ state, taken }: CanaryLife): void {
  const [route] = state.routes;
  if (route?.kind !== 'found' || routesOf(state.model, true).length === 0) return;
  if (!givesAny(route.route) && !(route.isBehind && taken.some(givesAny))) return;
  expect(state.canaryService).toBeDefined();
  expect(state.canaryDeployment).toBeDefined();
}

/** What holds whenever nothing is left to write. */
function check(life: CanaryLife): void {
  const { state, status, canary, share } = life;
  const [stable, tried] = life.running;
  expect(life.decide().writes).toEqual([]);
  // Two parties never want the same pods: the canary's, and the autoscaler that has them, are there for as long as the status tells
  // of it, or of a route that a Gateway has not let go of.
  if (status.rollout?.routes === undefined) {
    expect(tried).toBe(canary?.revision);
    expect(state.canaryAutoscaler === undefined || canary !== undefined).toBe(true);
  }
  expect(state.canaryAutoscaler === undefined || state.canaryDeployment !== undefined).toBe(true);
  if (canary !== undefined) {
    expect(status.rollback).toBeUndefined();
    expect(canary.revision).toBe(status.updateRevision);
    expect(stable).toBe(canary.state === 'Promoting' ? canary.revision : canary.stableRevision);
    expect(canary.weight).toBeGreaterThanOrEqual(0);
    expect(canary.weight).toBeLessThanOrEqual(100);
  } else expect(stable).toBe(status.rollback?.toRevision ?? status.updateRevision);
  // No share without a canary that the status tells of, and none for one that has failed.
  const { routing } = canaryPolicyOf(state.model.spec);
  if (canary === undefined || canary.state === 'Failed' || routing.kind !== 'Pods') expect(share).toBeUndefined();
  else expect(share).toMatchObject({ revision: canary.revision, percent: canary.weight });
  if (status.rollback?.trigger === 'GateFailed') expect(stable).not.toBe(status.rollback.fromRevision);
  expect(state.revisions.map(({ metadata }) => metadata.name)).toContain(stable);
}

test('whatever happens to a canary, it settles, and only ever gets what the status tells', () => {
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 25 }), (history) => {
      const life = begun();
      life.onWrite = () => checkAlways(life);
      for (const what of history) {
        happen(life, what);
        if (what.kind !== 'death') check(life.settle());
      }
      // Left alone, with pods that come up and answer well, every rollout ends.
      happen(life, { kind: 'pods', canaries: true, stable: true, tables: true });
      happen(life, { kind: 'gateway', isAble: true });
      happen(life, { kind: 'route', backends: 'ours' });
      // Of a model without pods nobody asks anything.
      if (life.state.model.spec.replicas === 0) happen(life, { kind: 'scale', replicas: 2 });
      life.annotate('resume', `${life.status.updateRevision}@last`);
      happen(life, { kind: 'time', seconds: 1200, failed: 0, requests: 100 });
      check(life.settle());
      if (life.canary !== undefined) expect(life.canary.state).toBe('Failed');
      else expect(life.taken.some(givesAny)).toBe(false);
    }),
    { numRuns: Number(process.env['SLIPWAY_LIVES'] ?? 100) },
  );
});
