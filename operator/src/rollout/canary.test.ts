import { describe, expect, test } from '@jest/globals';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { afterTwo, CanaryLife, canaryPolicy, canarySteps } from '../testing/canary-life.ts';
import { conditionsOf, kinds, settle } from '../testing/simulation.ts';
import { afterVersions, asking } from '../testing/versions.ts';

type Rollout = NonNullable<ModelDeploymentSpec['rollout']>;
const replicas = ({ state }: CanaryLife) => [state.deployment?.spec.replicas, state.canaryDeployment?.spec.replicas];

describe('a canary', () => {
  test('that answers well is given more in each step, and takes the place of what served', () => {
    const life = afterTwo().ask('3');
    expect(life.canary).toMatchObject({ state: 'Holding', step: 1, weight: 5, stableReplicas: 4 });
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    expect(replicas(life)).toEqual([4, 1]);
    expect(life.share).toEqual({
      revision: life.nameOf('3'),
      version: '3',
      percent: 5,
      pods: [{ http: '10.0.6.0:8080', grpc: '10.0.6.0:9000' }],
    });
    expect(conditionsOf(life.state.model)).toMatchObject({
      Ready: 'False Canary',
      UpToDate: 'False Canary',
      Reconciling: 'True Canary',
      Stalled: 'False NotStalled',
      Available: 'True PodsServe',
    });
    expect(life.status).toMatchObject({
      modelVersion: '2',
      currentRevision: life.nameOf('2'),
      updateRevision: life.nameOf('3'),
    });
    expect(life.status.rollout?.message).toBe('canary 5%');

    life.pass(90);
    expect(life.canary).toMatchObject({ state: 'Holding', step: 2, weight: 50 });
    expect(replicas(life)).toEqual([4, 2]);
    life.pass(135);
    expect(life.canary).toBeUndefined();
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
    expect(life.share).toBeUndefined();
    expect(conditionsOf(life.state.model)).toMatchObject({ Ready: 'True Ready', UpToDate: 'True AllPodsUpdated' });
    expect(life.events).toEqual(['RolloutStarted', 'CanaryStep', 'CanaryStep', 'CanaryPromoted', 'RolloutComplete']);
    expect(life.decide().writes).toEqual([]);
  });

  test('gets no request before its pods are available, and its share rises only once there are enough', () => {
    const life = afterTwo();
    life.areCanariesAble = false;
    life.ask('3').pass(60);
    expect(life.canary).toMatchObject({
      state: 'Scaling',
      weight: 0,
      message: '0 of 1 pods of the canary are available',
    });
    expect(life.share).toMatchObject({ percent: 0, pods: [] });
    life.areCanariesAble = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 5 });
    life.areCanariesAble = false;
    life.pass(90);
    expect(life.canary).toMatchObject({
      state: 'Holding',
      step: 1,
      message: '0 of 1 pods of the canary are available',
    });
    expect(life.share).toMatchObject({ percent: 5, pods: [] });
  });

  test('begins its step when every serving pod has taken the share', () => {
    const life = afterTwo();
    life.areTablesTaken = false;
    life.ask('3').pass(60);
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 5 });
    expect(life.canary?.message).toContain('4 of 4 pods that serve have not taken the share yet');
    life.areTablesTaken = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 5 });
  });

  test('does not rise while a pod that serves is missing', () => {
    const life = afterTwo().ask('3');
    life.missStablePod();
    life.pass(90);
    expect(life.canary).toMatchObject({ state: 'Scaling', step: 2, weight: 5 });
    expect(life.canary?.message).toContain('not all pods of the revision that serves');
  });

  test('that fails a gate is taken back within the step, and held back until it is tried again', () => {
    const life = afterTwo().ask('3').pass(90, { failed: 10 });
    expect(life.status.rollback).toMatchObject({
      trigger: 'GateFailed',
      fromRevision: life.nameOf('3'),
      toRevision: life.nameOf('2'),
    });
    expect(life.status.rollback?.message).toMatch(/^ErrorRate at most 1%: 10% of \d+ requests/);
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.share).toBeUndefined();
    expect(conditionsOf(life.state.model)).toMatchObject({
      Ready: 'False RolledBack',
      RolledBack: 'True GateFailed',
      Stalled: 'True RolledBack',
    });
    expect(life.events).toEqual(['RolloutStarted', 'CanaryStep', 'RolledBack']);
    life.pass(600);
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.decide().writes).toEqual([]);
    life.annotate('retry', life.nameOf('3'));
    expect(life.canary).toMatchObject({ state: 'Holding', step: 1, weight: 5 });
    expect(life.status.rollback).toBeUndefined();
  });

  test('that fails with onFailure Pause is kept, without requests, until somebody decides', () => {
    const life = afterTwo({ onFailure: 'Pause' }).ask('3').pass(90, { failed: 10 });
    expect(life.canary).toMatchObject({ state: 'Failed', weight: 0 });
    expect(life.share).toBeUndefined();
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    expect(conditionsOf(life.state.model)).toMatchObject({ Ready: 'False CanaryFailed', Stalled: 'True CanaryFailed' });
    life.annotate('abort', life.nameOf('3'));
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.status.rollback).toMatchObject({ trigger: 'Aborted' });
  });

  test('with too few requests waits, is promoted or taken back, as the policy says', () => {
    const few = { requests: 1 };
    const waiting = afterTwo().ask('3').pass(300, few);
    expect(waiting.canary).toMatchObject({ state: 'Holding', step: 1, message: 'inconclusive: ErrorRate at most 1%' });
    expect(waiting.status.rollout?.message).toBe('canary 5%, inconclusive');
    expect(
      afterTwo({ analysis: { onInconclusive: 'Promote' } })
        .ask('3')
        .pass(300, few).running[1],
    ).toBeUndefined();
    const back = afterTwo({ analysis: { onInconclusive: 'Rollback' } })
      .ask('3')
      .pass(300, few);
    expect(back.status.rollback?.message).toMatch(/^ErrorRate at most 1%: inconclusive/);
  });

  test('that has no room for its requests does not rise', () => {
    const life = afterTwo().ask('3').pass(300, { saturated: 5 });
    expect(life.canary).toMatchObject({
      state: 'Holding',
      step: 1,
      message: 'the canary has no room for all requests that it is given',
    });
    life.pass(45);
    expect(life.canary).toMatchObject({ step: 2 });
  });

  test('whose pods do not come up misses its deadline', () => {
    const life = afterTwo({ progressDeadlineSeconds: 120 });
    life.areCanariesAble = false;
    life.ask('3').pass(135);
    expect(life.status.rollback).toMatchObject({ trigger: 'ProgressDeadline', toRevision: life.nameOf('2') });
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
  });

  test('is judged by latency, its own and beside that of stable', () => {
    const slow = { canaryBucket: 40 };
    const own = afterTwo({ analysis: { gates: [{ metric: 'Latency', percentile: 90, maxMilliseconds: 100 }] } });
    expect(own.ask('3').pass(90, slow).status.rollback?.message).toMatch(/^Latency p90 at most 100ms: 100%/);
    const gates = [{ metric: 'LatencyVersusStable' as const, percentile: 90, max: '120%' }];
    const beside = afterTwo({ analysis: { gates } }).ask('3').pass(90, slow);
    expect(beside.status.rollback?.message).toMatch(/^Latency p90 at most 120% of stable's: /);
    expect(afterTwo({ analysis: { gates } }).ask('3').pass(240).running[1]).toBeUndefined();
  });

  test('is judged by what it answers, beside what stable answers to the same requests', () => {
    const gates = [
      { metric: 'Agreement' as const, min: '98%', outputs: [{ name: 'label', compare: 'Exact' as const }] },
      { metric: 'ErrorRate' as const, max: '1%' },
    ];
    const agreement = { canary: { steps: canarySteps, mirrorPercent: 10 }, analysis: { gates } };
    const life = afterTwo(agreement).ask('3');
    expect(life.share).toMatchObject({ mirror: { percent: 10, outputs: [{ name: 'label', compare: 'Exact' }] } });
    life.pass(90, { differing: 20 });
    expect(life.status.rollback?.message).toMatch(/^Agreement at least 98%: 20% of/);
    expect(afterTwo(agreement).ask('3').pass(240).running[1]).toBeUndefined();
  });

  test('writes its measures with a verdict and once in an interval, and not at each look', () => {
    const life = afterTwo({ canary: { steps: [{ weight: 5, holdSeconds: 3600 }] } })
      .ask('3')
      .pass(300);
    const before = life.decisions.length;
    life.pass(600);
    const written = life.decisions.slice(before).filter((decision) => kinds(decision).includes('write-status'));
    expect(written.length).toBeGreaterThanOrEqual(600 / 15 - 1);
    expect(written.length).toBeLessThanOrEqual(600 / 15 + 1);
    expect(kinds(life.decide())).toEqual([]);
    expect(life.canary?.measurements).toEqual([
      expect.objectContaining({ gate: 'ErrorRate at most 1%', verdict: 'Passed', value: '0%' }),
    ]);
    expect(life.decide().requeueAfterMilliseconds).toBe(15_000);
  });
});

describe('blue-green', () => {
  const blueGreen = { mirrorPercent: 20, holdSeconds: 60, soakSeconds: 120 };
  const green = (rest: Partial<Rollout> = {}) =>
    afterTwo({ strategy: 'BlueGreen', canary: undefined, blueGreen, ...rest });

  test('has all of its pods beside, stands by, is given everything at once, and then takes the place', () => {
    const life = green().ask('3');
    expect(replicas(life)).toEqual([4, 4]);
    expect(life.canary).toMatchObject({ state: 'Holding', step: 1, weight: 0 });
    expect(life.share).toMatchObject({ percent: 0, mirror: { percent: 20 } });
    expect(life.status.rollout?.message).toBe('blue-green 0%');
    life.pass(75);
    expect(life.canary).toMatchObject({ state: 'Holding', step: 2, weight: 100 });
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    life.pass(135);
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
  });

  test('that answers otherwise than what serves is never given anything', () => {
    const gates = [{ metric: 'Agreement' as const, min: '98%' }];
    const life = green({ analysis: { gates } }).ask('3').pass(90, { differing: 30 });
    expect(life.status.rollback).toMatchObject({ trigger: 'GateFailed', toRevision: life.nameOf('2') });
  });

  test('that fails once it has everything is taken back at once', () => {
    const life = green().ask('3').pass(75).pass(90, { failed: 30 });
    expect(life.status.rollback).toMatchObject({ trigger: 'GateFailed' });
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.share).toBeUndefined();
  });

  test('waits for a person where the policy says so', () => {
    const life = green({ blueGreen: { hold: 'Manual' } })
      .ask('3')
      .pass(600);
    expect(life.canary).toMatchObject({ step: 1, weight: 0 });
    life.annotate('resume', life.nameOf('3'));
    expect(life.canary).toMatchObject({ step: 2, weight: 100 });
  });
});

describe('a person', () => {
  const manual = () =>
    afterTwo({ canary: { steps: [{ weight: 5, hold: 'Manual' }, ...canarySteps.slice(1)] } }).ask('3');

  test('ends a hold that waits for one, once', () => {
    const life = manual().pass(600);
    expect(life.canary).toMatchObject({ state: 'Holding', step: 1 });
    life.annotate('resume', `${life.nameOf('3')}@1`);
    expect(life.canary).toMatchObject({ step: 2, weight: 50 });
    expect(life.status.commands).toEqual({ resume: `${life.nameOf('3')}@1` });
  });

  test('pauses a canary, and lets it go on', () => {
    const life = afterTwo().ask('3');
    life.annotate('pause', life.nameOf('3')).pass(600);
    expect(life.canary).toMatchObject({ step: 1, weight: 5 });
    expect(life.status.rollout?.message).toBe('canary 5%, paused');
    life.annotate('resume', life.nameOf('3'));
    expect(life.canary).toMatchObject({ step: 2 });
    expect(life.events).toEqual(['RolloutStarted', 'CanaryStep', 'CanaryPaused', 'CanaryResumed', 'CanaryStep']);
  });

  test('a canary that is paused is taken back all the same when it fails', () => {
    const life = afterTwo().ask('3');
    life.annotate('pause', life.nameOf('3')).pass(90, { failed: 10 });
    expect(life.status.rollback).toMatchObject({ trigger: 'GateFailed' });
  });

  test('promotes it at once, and aborts it at once', () => {
    const promoted = afterTwo().ask('3');
    promoted.annotate('promote', promoted.nameOf('3'));
    expect(promoted.running).toEqual([promoted.nameOf('3'), undefined]);
    const aborted = afterTwo().ask('3');
    aborted.annotate('abort', aborted.nameOf('3'));
    expect(aborted.running).toEqual([aborted.nameOf('2'), undefined]);
    expect(aborted.status.rollback).toMatchObject({ trigger: 'Aborted', toRevision: aborted.nameOf('2') });
  });

  test('who names another revision, or no canary that is under way, is told so', () => {
    const life = afterTwo().ask('3');
    life.annotate('promote', life.nameOf('2'));
    expect(life.canary).toMatchObject({ step: 1 });
    expect(life.events.at(-1)).toBe('CommandIgnored');
    const none = afterTwo();
    none.annotate('abort', none.nameOf('2'));
    expect(none.events).toEqual(['CommandIgnored']);
    expect(none.decide().writes).toEqual([]);
  });
});

describe('no canary is tried', () => {
  test.each<[string, () => CanaryLife]>([
    ['of the first version', () => new CanaryLife(afterVersions()).ask('1', canaryPolicy())],
    ['of one that was healthy before', () => afterTwo().ask('1')],
    [
      'beside no pod',
      () =>
        new CanaryLife(settle(asking(afterVersions('1', '2'), '2', { ...canaryPolicy(), replicas: 0 })).state).ask('3'),
    ],
    ['with another strategy', () => afterTwo({ strategy: 'RollingUpdate' }).ask('3')],
  ])('%s', (_, live) => {
    const life = live();
    expect(life.canary).toBeUndefined();
    expect(life.state.canaryDeployment).toBeUndefined();
    expect(life.share).toBeUndefined();
  });
});

describe('another spec while a canary is tried', () => {
  test('begins another canary beside what serves', () => {
    const life = afterTwo().ask('3').pass(90).ask('4');
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('4')]);
    expect(life.canary).toMatchObject({
      revision: life.nameOf('4'),
      stableRevision: life.nameOf('2'),
      step: 1,
      weight: 5,
    });
  });

  test('that asks for what serves ends it', () => {
    const life = afterTwo().ask('3').ask('2');
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.status.rollback).toBeUndefined();
    expect(conditionsOf(life.state.model)).toMatchObject({ Ready: 'True Ready' });
  });

  test('in the midst of a promotion tries the next one beside what served before', () => {
    const life = afterTwo().ask('3');
    life.isStableAble = false;
    life.annotate('promote', life.nameOf('3'));
    expect(life.canary).toMatchObject({ state: 'Promoting' });
    expect(life.running).toEqual([life.nameOf('3'), life.nameOf('3')]);
    life.ask('4');
    life.isStableAble = true;
    life.settle();
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('4')]);
    expect(life.canary).toMatchObject({ stableRevision: life.nameOf('2'), state: 'Holding' });
  });

  test('of which only the policy is another goes on with the canary', () => {
    const life = afterTwo().ask('3').pass(90);
    life.ask('3', canaryPolicy({ revisionHistoryLimit: 5 }));
    expect(life.canary).toMatchObject({ step: 2, weight: 50 });
    life.ask('3', canaryPolicy({ strategy: 'RollingUpdate' }));
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
  });
});

describe('the pods of another canary', () => {
  test('are none of this one: they are not counted, and get none of its requests', () => {
    const life = afterTwo().ask('3');
    const old = life.state.canaryPods;
    life.canaryPodsSeen = old;
    life.ask('4');
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 0 });
    expect(life.share).toMatchObject({ revision: life.nameOf('4'), pods: [] });
    life.canaryPodsSeen = undefined;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 5 });
  });
});

describe('steps that are edited in a hold', () => {
  test('are followed as from one step to the next, with pods for whichever share is larger', () => {
    const life = afterTwo().ask('3').pass(90);
    expect(life.canary).toMatchObject({ step: 2, weight: 50 });
    life.areTablesTaken = false;
    life.ask('3', canaryPolicy({ canary: { steps: [...canarySteps.slice(0, 1), { weight: 6, holdSeconds: 600 }] } }));
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 6 });
    life.areTablesTaken = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 6 });
    expect(replicas(life)).toEqual([4, 1]);
  });

  test('into blue-green, and back: never fewer pods than the share takes', () => {
    const blueGreen = { strategy: 'BlueGreen' as const, canary: undefined, blueGreen: { soakSeconds: 3600 } };
    const life = afterTwo(blueGreen).ask('3').pass(75);
    expect(life.canary).toMatchObject({ weight: 100 });
    life.areTablesTaken = false;
    life.ask('3', canaryPolicy());
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 50 });
    life.areTablesTaken = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 50 });
    expect(replicas(life)).toEqual([4, 2]);
  });
});

describe('a name that is taken', () => {
  const conflict = { kind: 'CanaryDeployment', name: 'iris-canary', owner: 'somebody' } as const;

  test('of the canary keeps that from being tried, and nothing else', () => {
    const life = afterTwo();
    life.state = { ...life.state, canaryConflict: conflict };
    life.ask('3');
    expect(life.canary?.message).toBe(
      'iris-canary is there already and belongs to somebody: remove it, or abort the canary',
    );
    expect(life.state.canaryDeployment).toBeUndefined();
    life.annotate('abort', life.nameOf('3'));
    expect(life.status.rollback).toMatchObject({ trigger: 'Aborted' });
    life.ask('3', { replicas: 7 });
    expect(life.state.deployment?.spec.replicas).toBe(7);
  });

  test('of another child loses no command', () => {
    const life = afterTwo().ask('3');
    life.state = { ...life.state, conflicts: [{ kind: 'PodDisruptionBudget', name: 'iris', owner: 'somebody' }] };
    life.annotate('abort', life.nameOf('3'));
    expect(life.status.commands).toBeUndefined();
    expect(life.canary).toMatchObject({ state: 'Holding' });
    life.state = { ...life.state, conflicts: [] };
    life.settle();
    expect(life.status.rollback).toMatchObject({ trigger: 'Aborted' });
  });
});

describe('with an autoscaler', () => {
  const autoscaling = { minReplicas: 2, maxReplicas: 8, triggers: [{ type: 'Memory' as const, averageValue: '1Gi' }] };

  test('each track has its own, and that of stable keeps the pods that it began with', () => {
    const before = afterVersions('1', '2');
    const { replicas: _, ...rest } = canaryPolicy();
    const life = new CanaryLife(settle(asking(before, '2', { ...rest, autoscaling })).state);
    const { deployment } = life.state;
    if (deployment === undefined) throw new Error('there is no Deployment');
    life.state = {
      ...life.state,
      deployment: { ...deployment, applied: {}, spec: { ...deployment.spec, replicas: 6 } },
    };
    life.ask('3');
    expect(life.canary).toMatchObject({ stableReplicas: 6, step: 1 });
    expect(life.state.autoscaler?.spec).toMatchObject({ minReplicas: 6, maxReplicas: 8 });
    expect(life.state.canaryAutoscaler?.spec).toMatchObject({
      minReplicas: 1,
      maxReplicas: 8,
      scaleTargetRef: { name: 'iris-canary' },
    });
    life.pass(90);
    expect(life.state.canaryAutoscaler?.spec).toMatchObject({ minReplicas: 3 });
    life.pass(135);
    expect(life.state.canaryAutoscaler).toBeUndefined();
    expect(life.state.autoscaler?.spec).toMatchObject({ minReplicas: 2 });
  });
});

describe('a canary of a version that the spec asks for no more', () => {
  const validation = { contract: 'Backward' } as const;

  test('goes at once where the spec asks for what serves, which nobody has to check', () => {
    const life = afterTwo().ask('3').ask('2', { validation });
    expect([life.canary, life.running]).toEqual([undefined, [life.nameOf('2'), undefined]]);
    expect(conditionsOf(life.state.model)).toMatchObject({ Ready: 'True Ready', UpToDate: 'True AllPodsUpdated' });
  });

  test('is given no more while another is checked, and goes on when the spec asks for it again', () => {
    const life = afterTwo().ask('3').ask('4', { validation });
    const held = { revision: life.nameOf('3'), state: 'Holding', weight: 5 };
    expect(conditionsOf(life.state.model)).toMatchObject({ UpToDate: 'False Preflight' });
    life.pass(900);
    expect([life.canary, life.running]).toMatchObject([held, [life.nameOf('2'), life.nameOf('3')]]);
    life.ask('3', { validation }).pass(30);
    expect(life.canary).toMatchObject({ revision: life.nameOf('3'), weight: 50 });
  });

  test('is taken back all the same when it fails', () => {
    const life = afterTwo().ask('3').ask('4', { validation });
    life.pass(120, { failed: 50 });
    expect([life.canary, life.running]).toEqual([undefined, [life.nameOf('2'), undefined]]);
  });
});
