import { describe, expect, test } from '@jest/globals';
import type { QueryAnswer } from '../analysis/query-gate.ts';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { CanaryLife, foundRoute, liveRoute } from '../testing/canary-life.ts';
import { kinds, settle } from '../testing/simulation.ts';
import { afterVersions, asking } from '../testing/versions.ts';

type Rollout = NonNullable<ModelDeploymentSpec['rollout']>;

const policy = (rollout: object): Partial<ModelDeploymentSpec> => ({
  replicas: 4,
  rollout: rollout as Rollout,
  validation: { contract: 'Ignore' },
});
const two = (rollout: object) => {
  const before = afterVersions('1', '2');
  return new CanaryLife(settle(asking(before, '2', policy(rollout))).state);
};
const steps = [
  { weight: 20, holdSeconds: 120 },
  { weight: 50, holdSeconds: 120 },
];
const track = ({ state }: CanaryLife) => state.service?.spec.selector?.['serving.slipway.dev/track'] ?? 'both';
const replicas = ({ state }: CanaryLife) => state.canaryDeployment?.spec.replicas;

describe('routing Replicas', () => {
  const rollout = { strategy: 'Canary', canary: { routing: 'Replicas', steps } };

  test('the Service has the pods of both tracks, in the proportion of the weight', () => {
    const life = two(rollout);
    life.areCanariesAble = false;
    life.ask('3');
    expect([track(life), replicas(life)]).toEqual(['stable', 1]);
    life.areCanariesAble = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 20 });
    expect(track(life)).toBe('both');
    expect(life.state.service?.spec.selector).toEqual({
      'serving.slipway.dev/model-deployment': 'iris',
      'app.kubernetes.io/name': 'slipway-model',
    });
    // Nobody passes anything on.
    expect(life.share).toBeUndefined();
    life.pass(150);
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 50 });
    expect(replicas(life)).toBe(4);
    life.pass(150);
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
    expect(track(life)).toBe('stable');
  });

  test('errors are those that the canary itself counts', () => {
    const life = two(rollout).ask('3').pass(90, { failed: 10 });
    expect(life.status.rollback?.message).toMatch(/^ErrorRate at most 1%: 10% of \d+ requests/);
    expect(track(life)).toBe('stable');
  });

  test('a weight of another routing asks for no more pods than serve, and falls at once', () => {
    const life = two({ strategy: 'Canary', canary: { steps: [{ weight: 99, hold: 'Manual' }] } }).ask('3');
    expect([life.canary?.weight, replicas(life)]).toEqual([99, 4]);
    life.areCanariesAble = false;
    life.ask('3', { rollout: rollout as Rollout });
    expect(replicas(life)).toBeLessThanOrEqual(4);
    expect(life.canary).toMatchObject({ weight: 20 });
  });

  test('where none of the new pods answers, the old ones do', () => {
    const life = two({ strategy: 'BlueGreen', blueGreen: { routing: 'Replicas', holdSeconds: 5, soakSeconds: 600 } });
    life.ask('3').pass(15);
    expect(track(life)).toBe('canary');
    life.canaryPodsSeen = [];
    life.settle();
    expect(track(life)).toBe('both');
  });

  test('a share that is in force is judged between steps, too', () => {
    const life = two(rollout).ask('3').pass(105);
    life.missStablePod();
    life.pass(30);
    expect(life.canary).toMatchObject({ state: 'Scaling', step: 2, weight: 20 });
    life.pass(90, { failed: 100 });
    expect(life.status.rollback?.trigger).toBe('GateFailed');
  });

  test('blue-green switches the Service', () => {
    const life = two({ strategy: 'BlueGreen', blueGreen: { routing: 'Replicas', holdSeconds: 5, soakSeconds: 120 } });
    life.ask('3');
    expect([track(life), replicas(life)]).toEqual(['stable', 4]);
    life.pass(15);
    expect(life.canary).toMatchObject({ weight: 100 });
    expect(track(life)).toBe('canary');
    life.pass(180);
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
    expect(track(life)).toBe('stable');
  });
});

describe('routing Gateway', () => {
  const gateway = { httpRoutes: ['iris'] };
  const rollout = { strategy: 'Canary', canary: { routing: 'Gateway', gateway, steps } };
  const withRoute = (life: CanaryLife) => {
    life.state = { ...life.state, routes: [foundRoute()] };
    return life;
  };
  const weights = ({ routes }: CanaryLife) =>
    routes.flatMap((one) =>
      one.kind === 'found'
        ? (one.route.spec?.rules?.[0]?.backendRefs ?? []).map(({ name, weight }) => [name, weight])
        : [],
    );

  test('the route has the weights, and one backend again before the canary goes', () => {
    const life = withRoute(two(rollout));
    expect(life.state.canaryService?.metadata.name).toBe('iris-canary');
    life.ask('3');
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 20 });
    expect(weights(life)).toEqual([
      ['iris', 80],
      ['iris-canary', 20],
    ]);
    expect(life.status.rollout?.routes).toEqual([{ kind: 'HTTPRoute', name: 'iris' }]);
    life.pass(150).pass(150);
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
    expect(weights(life)).toEqual([['iris', 1]]);
    expect(life.status.rollout?.routes).toBeUndefined();
    // Other passes than the one in which the canary goes.
    const last = life.decisions.map(kinds).findIndex((writes) => writes.includes('delete CanaryDeployment'));
    const reset = life.decisions.map(kinds).findLastIndex((writes) => writes.includes('patch-route'));
    expect(reset).toBeLessThan(last);
  });

  test('no share is counted on that no Gateway has taken', () => {
    const life = two(rollout);
    life.ask('3').pass(60);
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 0, message: 'HTTPRoute iris was not read yet' });
    life.state = { ...life.state, routes: [{ kind: 'gone', reference: { kind: 'HTTPRoute', name: 'iris' } }] };
    life.settle();
    expect(life.canary?.message).toContain('there is no HTTPRoute iris');
  });

  test('weights that somebody takes away again and again come back less and less often, and that is told', () => {
    const life = withRoute(two(rollout)).ask('3');
    const [taken] = withRoute(two(rollout)).state.routes;
    if (taken === undefined) throw new Error('there is no route');
    const fought = (repairs: number, desired = '20') => {
      const last = { desired, repairs, at: life.time };
      life.state = { ...life.state, routes: [taken], routeRepairs: new Map([['HTTPRoute iris', last]]) };
      return life.decide();
    };
    expect(kinds(fought(4))).toContain('patch-route');
    expect(kinds(fought(9, '5'))).toContain('patch-route');
    const waiting = fought(9);
    expect(kinds(waiting)).not.toContain('patch-route');
    expect(waiting.requeueAfterMilliseconds).toBeLessThanOrEqual(600_000);
    life.settle();
    expect(life.status.conditions?.find(({ type }) => type === 'Stalled')).toMatchObject({
      reason: 'DriftContested',
      message: expect.stringContaining('backendRefs of the HTTPRoute iris was put back 9 times'),
    });
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 20 });
  });

  test('a canary that is taken back keeps its pods until the route has let go of it', () => {
    const life = withRoute(two(rollout)).ask('3');
    const [state] = life.state.routes;
    life.pass(15);
    const isRefused = {
      ...life.state,
      refusals: new Map([['patch-route HTTPRoute iris', { message: 'no', failures: 1, retryAt: life.time + 1e9 }]]),
    };
    life.state = isRefused;
    life.annotate('abort', life.nameOf('3'));
    expect(life.status.rollback?.trigger).toBe('Aborted');
    expect(life.state.canaryDeployment).toBeDefined();
    expect(life.state.canaryService).toBeDefined();
    expect(life.status.rollout?.routes).toHaveLength(1);
    expect(life.status.conditions?.find(({ type }) => type === 'Stalled')).toMatchObject({
      status: 'True',
      message: expect.stringContaining('the API server refuses other weights of the HTTPRoute iris: no'),
    });
    life.state = { ...life.state, refusals: new Map() };
    life.settle();
    expect(life.state.canaryDeployment).toBeUndefined();
    expect(weights(life)).toEqual([['iris', 1]]);
    expect(state?.kind).toBe('found');
  });

  test('a canary that is taken back while its route cannot be read keeps its pods, and that is told', () => {
    const life = withRoute(two(rollout)).ask('3');
    life.state = { ...life.state, routes: [{ ...foundRoute(), kind: 'unreadable', why: 'forbidden' }] };
    life.annotate('abort', life.nameOf('3'));
    expect(life.state.canaryDeployment).toBeDefined();
    expect(life.status.conditions?.find(({ type }) => type === 'Stalled')).toMatchObject({
      reason: 'RolledBack',
      message: expect.stringContaining('the pods of the canary are kept: HTTPRoute iris cannot be read: forbidden'),
    });
  });

  test('a Service that is not there any more is given nothing', () => {
    const life = withRoute(two(rollout)).ask('3');
    expect(weights(life)).toEqual([
      ['iris', 80],
      ['iris-canary', 20],
    ]);
    const { canaryService: _, ...rest } = life.state;
    const refusals = new Map([['apply CanaryService', { message: 'no', failures: 1, retryAt: life.time + 1e9 }]]);
    life.state = { ...rest, canaryService: undefined, refusals };
    life.settle();
    expect(weights(life)).toEqual([['iris', 1]]);
    life.state = { ...life.state, refusals: new Map() };
    life.settle();
    expect(weights(life)).toEqual([
      ['iris', 80],
      ['iris-canary', 20],
    ]);
  });

  test('of the two patches that give a share, the last one counts as a repair', () => {
    const life = withRoute(two(rollout)).ask('3');
    const halves = life.decisions.flatMap(({ writes }) =>
      writes.flatMap((write) => (write.kind === 'patch-route' ? [[write.weight, write.isHalf]] : [])),
    );
    expect(halves).toEqual([
      [0, false],
      [20, false],
    ]);
    life.state = { ...life.state, routes: [foundRoute(liveRoute([{ name: 'iris' }]))] };
    const [shown] = life.decide().writes.filter(({ kind }) => kind === 'patch-route');
    expect(shown).toMatchObject({ weight: 20, isHalf: true });
  });

  test('a share that is in force is judged, though no Gateway has taken the route', () => {
    const life = withRoute(two(rollout)).ask('3');
    const [state] = life.state.routes;
    if (state?.kind !== 'found') throw new Error('there is no route');
    const unresolved = { type: 'ResolvedRefs', status: 'False', observedGeneration: 1, message: 'no such Service' };
    const accepted = { type: 'Accepted', status: 'True', observedGeneration: 1 };
    const status = { parents: [{ conditions: [accepted, unresolved] }] };
    life.state = { ...life.state, routes: [{ ...state, route: { ...state.route, status } }] };
    const more = [{ weight: 30, holdSeconds: 120 }];
    life.ask('3', { rollout: { ...rollout, canary: { ...rollout.canary, steps: more } } as Rollout });
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 20 });
    life.pass(90, { failed: 100 });
    expect(life.status.rollback?.trigger).toBe('GateFailed');
    expect(weights(life)).toEqual([['iris', 1]]);
  });

  test('another version is not given what a route still gives to the one before it', () => {
    const life = withRoute(two(rollout)).ask('3');
    const refused = { message: 'no', failures: 1, retryAt: life.time + 1e9 };
    life.state = { ...life.state, refusals: new Map([['patch-route HTTPRoute iris', refused]]) };
    life.ask('4');
    expect(life.canary).toMatchObject({ revision: life.nameOf('4'), weight: 0 });
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    life.state = { ...life.state, refusals: new Map() };
    life.settle();
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('4')]);
  });

  test('a route that is gone in the midst keeps a canary from being promoted', () => {
    const life = withRoute(
      two({ ...rollout, canary: { ...rollout.canary, steps: [{ weight: 20, holdSeconds: 60 }] } }),
    );
    life.ask('3');
    life.state = { ...life.state, routes: [{ kind: 'gone', reference: { kind: 'HTTPRoute', name: 'iris' } }] };
    life.pass(300);
    expect(life.canary).toMatchObject({
      state: 'Holding',
      message: expect.stringContaining('there is no HTTPRoute iris'),
    });
    // It is looked for.
    expect(life.decide().requeueAfterMilliseconds).toBeLessThanOrEqual(1000);
  });

  test('what was left in a route without a canary is looked at until it is gone', () => {
    const life = withRoute(two(rollout));
    const [state] = life.state.routes;
    if (state?.kind !== 'found') throw new Error('there is no route');
    const left = [
      { name: 'iris', weight: 80 },
      { name: 'iris-canary', weight: 20 },
    ];
    life.state = { ...life.state, routes: [{ ...state, route: liveRoute(left) }] };
    expect(life.decide().requeueAfterMilliseconds).toBeLessThanOrEqual(1000);
    life.settle();
    expect(weights(life)).toEqual([['iris', 1]]);
  });

  test('routes that the spec does not name any more are let go of', () => {
    const life = withRoute(two(rollout)).ask('3');
    life.ask('3', { rollout: { strategy: 'RollingUpdate' } });
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
    expect(weights(life)).toEqual([['iris', 1]]);
    expect([life.state.canaryService, life.status.rollout?.routes]).toEqual([undefined, undefined]);
  });
});

describe('a gate of Prometheus', () => {
  const gates = [{ metric: 'PromQL', name: 'queue', query: 'x', max: '5' }];
  const rollout = { strategy: 'Canary', canary: { steps }, analysis: { gates } };
  const gives = (life: CanaryLife, answer: QueryAnswer) => {
    life.state = { ...life.state, queries: new Map([['queue', answer]]) };
    return life;
  };
  const values = (life: CanaryLife, value: number): QueryAnswer => ({
    kind: 'values',
    values: Array.from({ length: 20 }, (_, index) => ({ interval: Math.floor(life.time / 15_000) + index, value })),
  });

  test('takes a canary back', () => {
    const life = two(rollout).ask('3');
    gives(life, values(life, 9)).pass(90);
    expect(life.status.rollback).toMatchObject({
      trigger: 'GateFailed',
      message: 'PromQL queue at most 5: 9, after 4 intervals',
    });
  });

  test('that gives no answer lets it wait, and says why', () => {
    const life = two(rollout).ask('3');
    gives(life, { kind: 'failed', why: 'parse error' }).pass(150);
    expect(life.canary).toMatchObject({
      state: 'Holding',
      step: 1,
      message: 'inconclusive: PromQL queue at most 5 (parse error)',
    });
    gives(life, values(life, 1)).pass(150);
    expect(life.canary).toMatchObject({ step: 2 });
  });
});
