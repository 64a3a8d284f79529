import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { fingerprint } from '../canonical.ts';
import { renderDisruptionBudget } from '../desired/disruption-budget.ts';
import type { LiveDeployment, Observed } from '../observed.ts';
import { change, kinds, now, pass, policy, settle } from '../testing/simulation.ts';
import { modelDeployment, observed } from '../testing/test-objects.ts';
import { decide } from './decide.ts';

const model = { version: '1', uri: 'https://models.example/iris.onnx' };
const autoscaling = { minReplicas: 2, maxReplicas: 4, triggers: [{ type: 'Memory' as const, averageValue: '1Gi' }] };

describe('a pass over', () => {
  test('a new object writes the revision, the status, the Service, the Deployment and the rest, in this order', () => {
    const { passes } = settle(observed({ model: modelDeployment({ autoscaling }) }));
    expect(passes.map(kinds)).toEqual([
      [
        'create-revision',
        'write-status',
        'apply ConfigMap',
        'apply Service',
        'apply Deployment',
        'apply HorizontalPodAutoscaler',
        'apply PodDisruptionBudget',
      ],
      ['write-status', 'mark-healthy'],
      ['write-status'],
    ]);
    expect(passes.flatMap(({ events }) => events.map(({ reason }) => reason))).toEqual([
      'RolloutStarted',
      'RolloutComplete',
    ]);
  });

  test('a settled object writes nothing, and is not looked at again', () => {
    const { state } = settle(observed());
    expect(pass(state)).toMatchObject({ writes: [], events: [] });
    expect(pass(state).requeueAfterMilliseconds).toBeUndefined();
  });

  test('a new version makes a revision, and goes forward', () => {
    const { state } = settle(observed());
    const decision = pass(change(state, { model: { ...model, version: '2' } }));
    expect(kinds(decision)).toEqual(['create-revision', 'write-status', 'apply Deployment']);
  });

  test('a version that was there before makes no revision, but the newest of the old one', () => {
    const first = settle(observed()).state;
    const second = settle(change(first, { model: { ...model, version: '2' } })).state;
    const decision = pass(change(second, { model }));
    expect(kinds(decision)).toEqual(['write-status', 'renumber-revision', 'apply Deployment']);
    expect(decision.writes[1]).toEqual({
      kind: 'renumber-revision',
      name: first.revisions[0]?.metadata.name,
      number: 3,
    });
  });

  test('a changed default image changes no pod, and says so', () => {
    const { state } = settle(observed());
    const decision = decide(state, now, { ...policy, defaultImage: 'slipway:2' });
    expect(kinds(decision)).toEqual(['write-status']);
    const [write] = decision.writes;
    const conditions = write?.kind === 'write-status' ? (write.status.conditions ?? []) : [];
    expect(conditions.find(({ type }) => type === 'UpToDate')).toMatchObject({
      status: 'True',
      message: expect.stringContaining('set spec.runtime.image to slipway:2'),
    });
  });

  test('autoscaling that is turned on keeps the replicas within its limits until the autoscaler takes them', () => {
    const { state } = settle(observed({ model: modelDeployment({ replicas: 9 }) }));
    const decision = pass(change(state, { autoscaling }));
    expect(kinds(decision)).toEqual(['write-status', 'apply Deployment', 'apply HorizontalPodAutoscaler']);
    expect(decision.writes[1]).toHaveProperty('manifest.spec.replicas', 4);
    const on = settle(change(state, { autoscaling })).state;
    const { 'f:spec': { 'f:replicas': _, ...spec } = {}, ...rest } = on.deployment?.applied ?? {};
    const taken = {
      ...on.deployment,
      applied: { ...rest, 'f:spec': spec },
      spec: { ...on.deployment?.spec, replicas: 3 },
    } as LiveDeployment;
    expect(kinds(pass({ ...on, deployment: taken }))).not.toContain('apply Deployment');
  });

  test('a new object with autoscaling begins with minReplicas', () => {
    const { writes } = pass(observed({ model: modelDeployment({ autoscaling }) }));
    expect(writes).toContainEqual(
      expect.objectContaining({
        child: 'Deployment',
        manifest: expect.objectContaining({ spec: expect.objectContaining({ replicas: 2 }) }),
      }),
    );
  });

  test("somebody else's autoscaler has the replicas, is told of, and ours stands aside", () => {
    const foreignAutoscalers = [{ name: 'keda-hpa-iris', owner: 'ScaledObject iris' }];
    const fixed = settle(observed({ model: modelDeployment({ replicas: 2 }) })).state;
    const scaled = {
      ...fixed,
      foreignAutoscalers,
      deployment: { ...fixed.deployment, spec: { ...fixed.deployment?.spec, replicas: 5 } } as LiveDeployment,
    };
    const decision = pass(scaled);
    expect(kinds(decision)).toEqual(['write-status']);
    expect(decision.events).toEqual([expect.objectContaining({ type: 'Warning', reason: 'ForeignAutoscaler' })]);
    const own = settle(observed({ model: modelDeployment({ autoscaling }) })).state;
    expect(kinds(pass({ ...own, foreignAutoscalers }))).toEqual(['write-status', 'delete HorizontalPodAutoscaler']);
  });

  test('a change that comes back again and again is put back ever more rarely, and told of', () => {
    const { state } = settle(observed({ model: modelDeployment({ replicas: 2 }) }));
    const changed = {
      ...state,
      deployment: { ...state.deployment, spec: { ...state.deployment?.spec, replicas: 7 } } as LiveDeployment,
    };
    const write = pass(changed).writes.find(({ kind }) => kind === 'apply');
    if (write?.kind !== 'apply') throw new Error('nothing is applied');
    const after = (repairs: number, milliseconds: number) => {
      const attempt = { desired: fingerprint(write.manifest), live: '', resisted: false, repairs, at: now.getTime() };
      const contested = { ...changed, attempts: new Map([['Deployment', attempt]] as const) };
      return decide(contested, new Date(now.getTime() + milliseconds), policy);
    };
    expect(kinds(after(4, 0))).toContain('apply Deployment');
    expect(kinds(after(5, 1000))).toEqual(['write-status']);
    expect(after(5, 1000).requeueAfterMilliseconds).toBe(4000);
    expect(kinds(after(5, 6000))).toContain('apply Deployment');
    expect(kinds(after(12, 600_000))).toEqual(['write-status']);
    const [told] = after(12, 600_000).writes;
    expect(told?.kind === 'write-status' && told.status.conditions).toContainEqual(
      expect.objectContaining({ type: 'Stalled', status: 'True', reason: 'DriftContested' }),
    );
  });

  test('autoscaling that is turned off sees the autoscaler gone before it sets the replicas', () => {
    const { state } = settle(observed({ model: modelDeployment({ autoscaling }) }));
    const off = change(state, { replicas: 3 });
    const [first, second] = [pass(off), pass({ ...off, autoscaler: undefined })];
    expect(kinds(first)).toEqual(['write-status', 'delete HorizontalPodAutoscaler']);
    expect(kinds(second)).toEqual(['write-status', 'apply Deployment']);
    expect(second.writes[1]).toHaveProperty('manifest.spec.replicas', 3);
  });

  test('autoscaling raises pods from zero, at which an autoscaler does nothing', () => {
    const { state } = settle(observed({ model: modelDeployment({ autoscaling }) }));
    const deployment = { ...state.deployment, spec: { ...state.deployment?.spec, replicas: 0 } } as LiveDeployment;
    expect(pass({ ...state, deployment }).writes).toContainEqual(
      expect.objectContaining({
        kind: 'apply',
        manifest: expect.objectContaining({ spec: expect.objectContaining({ replicas: 2 }) }),
      }),
    );
  });

  test('a name that is taken writes the status alone', () => {
    const decision = pass(observed({ conflicts: [{ kind: 'Service', name: 'iris', owner: 'somebody' }] }));
    expect(kinds(decision)).toEqual(['write-status']);
    expect(decision.requeueAfterMilliseconds).toBeGreaterThan(0);
  });

  test('a template that others changed takes it over, puts it back, and says whose and what', () => {
    const { state } = settle(observed());
    const deployment = {
      ...state.deployment,
      intruders: [{ manager: 'kubectl', fields: ['spec.containers.image'] }],
    } as LiveDeployment;
    const decision = pass({ ...state, deployment });
    expect(kinds(decision)).toEqual(['take-over Deployment', 'apply Deployment']);
    expect(decision.events).toEqual([
      expect.objectContaining({
        type: 'Warning',
        reason: 'DriftRepaired',
        message: expect.stringContaining('kubectl'),
      }),
    ]);
  });

  test('an object that resists is not applied again, and is reported', () => {
    const { state } = settle(observed({ model: modelDeployment({ replicas: 2 }) }));
    const disruptionBudget = { ...state.disruptionBudget, spec: { maxUnavailable: 5 } } as Observed['disruptionBudget'];
    expect(kinds(pass({ ...state, disruptionBudget }))).toEqual(['apply PodDisruptionBudget']);
    const decision = pass({
      ...state,
      disruptionBudget,
      attempts: new Map([
        [
          'PodDisruptionBudget',
          {
            desired: fingerprint(renderDisruptionBudget(state.model)),
            live: '',
            resisted: true,
            repairs: 1,
            at: now.getTime(),
          },
        ],
      ] as const),
    });
    expect(decision.writes).toEqual([]);
    expect(decision.events).toEqual([expect.objectContaining({ reason: 'ApplyResisted' })]);
  });

  test('a Deployment that is being deleted waits until it is gone', () => {
    const { state } = settle(observed());
    const deployment = {
      ...state.deployment,
      metadata: { ...state.deployment?.metadata, deletionTimestamp: 'now' },
      spec: { ...state.deployment?.spec, paused: true },
    } as LiveDeployment;
    expect(kinds(pass({ ...state, deployment }))).not.toContain('apply Deployment');
  });
});

const specs: fc.Arbitrary<Partial<ModelDeploymentSpec>> = fc
  .record(
    {
      model: fc.record({
        version: fc.constantFrom('1', '2', '3'),
        uri: fc.constantFrom('https://m.example/a', 'pvc://c/p', 'configmap://c/k'),
      }),
      replicas: fc.integer({ min: 0, max: 5 }),
      resources: fc.record(
        { requests: fc.constantFrom({ cpu: '1' }, { cpu: '250m', memory: '1Gi' }) },
        { requiredKeys: [] },
      ),
      pod: fc.record(
        { labels: fc.constantFrom({}, { team: 'x' }), nodeSelector: fc.constantFrom({}, { a: 'b' }) },
        { requiredKeys: [] },
      ),
      autoscaling: fc.record({
        minReplicas: fc.integer({ min: 1, max: 3 }),
        maxReplicas: fc.integer({ min: 3, max: 6 }),
        triggers: fc.constant(autoscaling.triggers),
      }),
    },
    { requiredKeys: ['model'] },
  )
  .map(({ replicas, ...spec }) =>
    spec.autoscaling === undefined && replicas !== undefined ? { ...spec, replicas } : spec,
  );

test('whatever the history of specs, it settles, and the children are those of the last spec', () => {
  fc.assert(
    fc.property(fc.array(specs, { minLength: 1, maxLength: 5 }), (history) => {
      let state = observed();
      for (const spec of history) state = settle(change(state, spec)).state;
      const last = history.at(-1) ?? {};
      const fresh = settle(change(observed(), last)).state;
      const comparable = ({ deployment, service, autoscaler, disruptionBudget }: Observed) => ({
        template: deployment?.spec.template,
        replicas: last.autoscaling === undefined ? deployment?.spec.replicas : 'the autoscaler has them',
        children: [service, autoscaler, disruptionBudget].map((child) => child?.spec),
      });
      expect(comparable(state)).toEqual(comparable(fresh));
      expect(pass(state).writes).toEqual([]);
    }),
    { numRuns: 200 },
  );
});
