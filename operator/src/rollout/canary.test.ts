import { describe, expect, test } from '@jest/globals';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { CanaryLife } from '../testing/canary-life.ts';
import { conditionsOf, settle, undo } from '../testing/simulation.ts';
import { afterVersions, asking } from '../testing/versions.ts';

type Rollout = NonNullable<ModelDeploymentSpec['rollout']>;
const steps: NonNullable<NonNullable<Rollout['canary']>['steps']> = [
  { weight: 5, holdSeconds: 60 },
  { weight: 50, holdSeconds: 120 },
];
const policy = (
  rest: { [field in keyof Rollout]?: Rollout[field] | undefined } = {},
): Partial<ModelDeploymentSpec> => ({
  replicas: 4,
  rollout: JSON.parse(JSON.stringify({ strategy: 'Canary', canary: { steps }, ...rest })),
  validation: { contract: 'Ignore' },
});
/** Versions 1 and 2 were healthy, and 2 runs with four pods. */
const two = (rest: Parameters<typeof policy>[0] = {}) => {
  const before = afterVersions('1', '2');
  return new CanaryLife(settle(asking(before, '2', policy(rest))).state);
};
const replicas = ({ state }: CanaryLife) => [state.deployment?.spec.replicas, state.canaryDeployment?.spec.replicas];

describe('a canary', () => {
  test('that answers well is given more in each step, and takes the place of what served', () => {
    const life = two().ask('3');
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
    const life = two();
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
    const life = two();
    life.areTablesTaken = false;
    life.ask('3').pass(60);
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 5 });
    expect(life.canary?.message).toContain('4 of 4 pods that serve have not taken the share yet');
    life.areTablesTaken = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 5 });
  });

  test('does not rise while a pod that serves is missing', () => {
    const life = two().ask('3');
    life.missStablePod();
    life.pass(90);
    expect(life.canary).toMatchObject({ state: 'Scaling', step: 2, weight: 5 });
    expect(life.canary?.message).toContain('not all pods of the revision that serves');
  });

  test('that fails a gate is taken back within the step, and held back until it is tried again', () => {
    const life = two().ask('3').pass(90, { failed: 10 });
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
    const life = two({ onFailure: 'Pause' }).ask('3').pass(90, { failed: 10 });
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
    const waiting = two().ask('3').pass(300, few);
    expect(waiting.canary).toMatchObject({ state: 'Holding', step: 1, message: 'inconclusive: ErrorRate at most 1%' });
    expect(waiting.status.rollout?.message).toBe('canary 5%, inconclusive');
    expect(
      two({ analysis: { onInconclusive: 'Promote' } })
        .ask('3')
        .pass(300, few).running[1],
    ).toBeUndefined();
    const back = two({ analysis: { onInconclusive: 'Rollback' } })
      .ask('3')
      .pass(300, few);
    expect(back.status.rollback?.message).toMatch(/^ErrorRate at most 1%: inconclusive/);
  });

  test('that has no room for its requests does not rise', () => {
    const life = two().ask('3').pass(300, { saturated: 5 });
    expect(life.canary).toMatchObject({
      state: 'Holding',
      step: 1,
      message: 'the canary has no room for all requests that it is given',
    });
    life.pass(45);
    expect(life.canary).toMatchObject({ step: 2 });
  });

  test('whose pods do not come up misses its deadline', () => {
    const life = two({ progressDeadlineSeconds: 120 });
    life.areCanariesAble = false;
    life.ask('3').pass(135);
    expect(life.status.rollback).toMatchObject({ trigger: 'ProgressDeadline', toRevision: life.nameOf('2') });
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
  });

  test('is judged by latency, its own and beside that of stable', () => {
    const slow = { canaryBucket: 40 };
    const own = two({ analysis: { gates: [{ metric: 'Latency', percentile: 90, maxMilliseconds: 100 }] } });
    expect(own.ask('3').pass(90, slow).status.rollback?.message).toMatch(/^Latency p90 at most 100ms: 100%/);
    const gates = [{ metric: 'LatencyVersusStable' as const, percentile: 90, max: '120%' }];
    const beside = two({ analysis: { gates } }).ask('3').pass(90, slow);
    expect(beside.status.rollback?.message).toMatch(/^Latency p90 at most 120% of stable's: /);
    expect(two({ analysis: { gates } }).ask('3').pass(240).running[1]).toBeUndefined();
  });

  test('is judged by what it answers, beside what stable answers to the same requests', () => {
    const gates = [
      { metric: 'Agreement' as const, min: '98%', outputs: [{ name: 'label', compare: 'Exact' as const }] },
      { metric: 'ErrorRate' as const, max: '1%' },
    ];
    const agreement = { canary: { steps, mirrorPercent: 10 }, analysis: { gates } };
    const life = two(agreement).ask('3');
    expect(life.share).toMatchObject({ mirror: { percent: 10, outputs: [{ name: 'label', compare: 'Exact' }] } });
    life.pass(90, { differing: 20 });
    expect(life.status.rollback?.message).toMatch(/^Agreement at least 98%: 20% of/);
    expect(two(agreement).ask('3').pass(240).running[1]).toBeUndefined();
  });

  test('writes its measures when a verdict changes, and not at each look', () => {
    const life = two({ canary: { steps: [{ weight: 5, holdSeconds: 3600 }] } })
      .ask('3')
      .pass(300);
    const before = life.decisions.length;
    life.pass(600);
    expect(life.decisions.length - before).toBeLessThanOrEqual(1);
    expect(life.canary?.measurements).toEqual([
      expect.objectContaining({ gate: 'ErrorRate at most 1%', verdict: 'Passed', value: '0%' }),
    ]);
    expect(life.decide().requeueAfterMilliseconds).toBe(15_000);
  });
});

describe('blue-green', () => {
  const blueGreen = { mirrorPercent: 20, holdSeconds: 60, soakSeconds: 120 };
  const green = (rest: Partial<Rollout> = {}) => two({ strategy: 'BlueGreen', canary: undefined, blueGreen, ...rest });

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
  const manual = () => two({ canary: { steps: [{ weight: 5, hold: 'Manual' }, ...steps.slice(1)] } }).ask('3');

  test('ends a hold that waits for one, once', () => {
    const life = manual().pass(600);
    expect(life.canary).toMatchObject({ state: 'Holding', step: 1 });
    life.annotate('resume', `${life.nameOf('3')}@1`);
    expect(life.canary).toMatchObject({ step: 2, weight: 50 });
    expect(life.status.commands).toEqual({ resume: `${life.nameOf('3')}@1` });
  });

  test('pauses a canary, and lets it go on', () => {
    const life = two().ask('3');
    life.annotate('pause', life.nameOf('3')).pass(600);
    expect(life.canary).toMatchObject({ step: 1, weight: 5 });
    expect(life.status.rollout?.message).toBe('canary 5%, paused');
    life.annotate('resume', life.nameOf('3'));
    expect(life.canary).toMatchObject({ step: 2 });
    expect(life.events).toEqual(['RolloutStarted', 'CanaryStep', 'CanaryPaused', 'CanaryResumed', 'CanaryStep']);
  });

  test('a canary that is paused is taken back all the same when it fails', () => {
    const life = two().ask('3');
    life.annotate('pause', life.nameOf('3')).pass(90, { failed: 10 });
    expect(life.status.rollback).toMatchObject({ trigger: 'GateFailed' });
  });

  test('promotes it at once, and aborts it at once', () => {
    const promoted = two().ask('3');
    promoted.annotate('promote', promoted.nameOf('3'));
    expect(promoted.running).toEqual([promoted.nameOf('3'), undefined]);
    const aborted = two().ask('3');
    aborted.annotate('abort', aborted.nameOf('3'));
    expect(aborted.running).toEqual([aborted.nameOf('2'), undefined]);
    expect(aborted.status.rollback).toMatchObject({ trigger: 'Aborted', toRevision: aborted.nameOf('2') });
  });

  test('who names another revision, or no canary that is under way, is told so', () => {
    const life = two().ask('3');
    life.annotate('promote', life.nameOf('2'));
    expect(life.canary).toMatchObject({ step: 1 });
    expect(life.events.at(-1)).toBe('CommandIgnored');
    const none = two();
    none.annotate('abort', none.nameOf('2'));
    expect(none.events).toEqual(['CommandIgnored']);
    expect(none.decide().writes).toEqual([]);
  });
});

describe('no canary is tried', () => {
  test.each<[string, () => CanaryLife]>([
    ['of the first version', () => new CanaryLife(afterVersions()).ask('1', policy())],
    ['of one that was healthy before', () => two().ask('1')],
    [
      'beside no pod',
      () => new CanaryLife(settle(asking(afterVersions('1', '2'), '2', { ...policy(), replicas: 0 })).state).ask('3'),
    ],
    ['with another strategy', () => two({ strategy: 'RollingUpdate' }).ask('3')],
  ])('%s', (_, live) => {
    const life = live();
    expect(life.canary).toBeUndefined();
    expect(life.state.canaryDeployment).toBeUndefined();
    expect(life.share).toBeUndefined();
  });
});

describe('another spec while a canary is tried', () => {
  test('begins another canary beside what serves', () => {
    const life = two().ask('3').pass(90).ask('4');
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('4')]);
    expect(life.canary).toMatchObject({
      revision: life.nameOf('4'),
      stableRevision: life.nameOf('2'),
      step: 1,
      weight: 5,
    });
  });

  test('that asks for what serves ends it', () => {
    const life = two().ask('3').ask('2');
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.status.rollback).toBeUndefined();
    expect(conditionsOf(life.state.model)).toMatchObject({ Ready: 'True Ready' });
  });

  test('in the midst of a promotion tries the next one beside what served before', () => {
    const life = two().ask('3');
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
    const life = two().ask('3').pass(90);
    life.ask('3', policy({ revisionHistoryLimit: 5 }));
    expect(life.canary).toMatchObject({ step: 2, weight: 50 });
    life.ask('3', policy({ strategy: 'RollingUpdate' }));
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
  });
});

describe('the pods of another canary', () => {
  test('are none of this one: they are not counted, and get none of its requests', () => {
    const life = two().ask('3');
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

describe('what is no fault of the canary is not held against it', () => {
  test('a pod of the revision that serves that is missing', () => {
    const life = two({ progressDeadlineSeconds: 120 });
    life.missStablePod();
    life.ask('3').pass(900);
    expect(life.canary).toMatchObject({ state: 'Scaling', step: 1, weight: 0 });
  });

  test('a share that is not taken, a pause, a scale to nothing', () => {
    const untaken = two({ progressDeadlineSeconds: 120 });
    untaken.areTablesTaken = false;
    expect(untaken.ask('3').pass(900).canary).toMatchObject({ state: 'Scaling', weight: 5 });
    const paused = two({ progressDeadlineSeconds: 120 });
    paused.areCanariesAble = false;
    paused.ask('3').annotate('pause', paused.nameOf('3')).pass(900);
    paused.annotate('resume', paused.nameOf('3'));
    expect(paused.canary).toMatchObject({ state: 'Scaling' });
    const asleep = two({ progressDeadlineSeconds: 120 }).ask('3');
    asleep.ask('3', { replicas: 0 }).pass(900, { requests: 0 });
    expect(asleep.canary).toMatchObject({ state: 'Holding', step: 1 });
  });

  test('nothing that serves: the new version goes straight there', () => {
    const life = two();
    life.isStableAble = false;
    const { deployment } = life.state;
    if (deployment === undefined) throw new Error('there is no Deployment');
    life.state = {
      ...life.state,
      deployment: { ...deployment, status: { ...deployment.status, availableReplicas: 0 } },
    };
    life.ask('3');
    expect(life.canary).toBeUndefined();
    expect(life.running[0]).toBe(life.nameOf('3'));
  });
});

describe('steps that are edited in a hold', () => {
  test('are followed as from one step to the next, with pods for whichever share is larger', () => {
    const life = two().ask('3').pass(90);
    expect(life.canary).toMatchObject({ step: 2, weight: 50 });
    life.areTablesTaken = false;
    life.ask('3', policy({ canary: { steps: [...steps.slice(0, 1), { weight: 6, holdSeconds: 600 }] } }));
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 6 });
    life.areTablesTaken = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 6 });
    expect(replicas(life)).toEqual([4, 1]);
  });

  test('into blue-green, and back: never fewer pods than the share takes', () => {
    const blueGreen = { strategy: 'BlueGreen' as const, canary: undefined, blueGreen: { soakSeconds: 3600 } };
    const life = two(blueGreen).ask('3').pass(75);
    expect(life.canary).toMatchObject({ weight: 100 });
    life.areTablesTaken = false;
    life.ask('3', policy());
    expect(life.canary).toMatchObject({ state: 'Scaling', weight: 50 });
    life.areTablesTaken = true;
    life.settle();
    expect(life.canary).toMatchObject({ state: 'Holding', weight: 50 });
    expect(replicas(life)).toEqual([4, 2]);
  });
});

describe('a leader that has just begun', () => {
  test('does not end a step on what it has not seen', () => {
    const life = two({ canary: { steps: [{ weight: 5, holdSeconds: 120 }] } })
      .ask('3')
      .pass(105);
    const next = new CanaryLife(life.state);
    next.time = life.time;
    next.settle().pass(30);
    expect(next.canary).toMatchObject({ state: 'Holding' });
    next.pass(60);
    expect(next.canary).toBeUndefined();
  });

  test('whose clock is behind judges all the same', () => {
    const life = two().ask('3');
    life.time -= 3_600_000;
    life.settle().pass(120, { failed: 100 });
    expect(life.status.rollback).toMatchObject({ trigger: 'GateFailed' });
  });
});

describe('a name that is taken', () => {
  const conflict = { kind: 'CanaryDeployment', name: 'iris-canary', owner: 'somebody' } as const;

  test('of the canary keeps that from being tried, and nothing else', () => {
    const life = two();
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
    const life = two().ask('3');
    life.state = { ...life.state, conflicts: [{ kind: 'PodDisruptionBudget', name: 'iris', owner: 'somebody' }] };
    life.annotate('abort', life.nameOf('3'));
    expect(life.status.commands).toBeUndefined();
    expect(life.canary).toMatchObject({ state: 'Holding' });
    life.state = { ...life.state, conflicts: [] };
    life.settle();
    expect(life.status.rollback).toMatchObject({ trigger: 'Aborted' });
  });
});

test('a promotion alone makes no version healthy', () => {
  const life = two({ progressDeadlineSeconds: 120 });
  life.areCanariesAble = false;
  life.ask('3');
  life.isStableAble = false;
  life.annotate('promote', life.nameOf('3'));
  expect(life.state.revisions.find(({ metadata }) => metadata.name === life.nameOf('3'))?.metadata.annotations).toBe(
    undefined,
  );
  life.annotate('abort', life.nameOf('3'));
  life.isStableAble = true;
  life.settle().annotate('retry', life.nameOf('3'));
  expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
});

test('a status that somebody has taken away lets no canary through', () => {
  const life = two().ask('3');
  const { status: _, ...model } = life.state.model;
  life.state = { ...life.state, model };
  life.settle();
  expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
  expect(life.canary).toMatchObject({ step: 1, stableRevision: life.nameOf('2') });
});

describe('a canary is not let through', () => {
  test('by another strategy once it has failed', () => {
    const life = two({ onFailure: 'Pause' }).ask('3').pass(90, { failed: 10 });
    expect(life.canary).toMatchObject({ state: 'Failed' });
    life.ask('3', policy({ strategy: 'RollingUpdate', canary: undefined, onFailure: 'Pause' }));
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    expect(life.share).toBeUndefined();
    life.annotate('abort', life.nameOf('3'));
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
  });

  test('because the record of what serves beside it is gone: it is taken back', () => {
    const life = two().ask('3');
    const [one, lost] = [life.nameOf('1'), life.nameOf('2')];
    const revisions = life.state.revisions.filter(({ metadata }) => metadata.name !== lost);
    life.state = { ...life.state, revisions };
    life.settle();
    expect(life.running).toEqual([one, undefined]);
    expect(life.status.rollback).toMatchObject({ trigger: 'Aborted', message: expect.stringContaining(lost) });
  });
});

describe('an undo while a canary is tried', () => {
  /** ReplicaSets as the Deployment's controller has numbered them. */
  const numbered = (life: CanaryLife, ...versions: string[]) => {
    life.state = {
      ...life.state,
      replicaSets: versions.map((version, index) => ({
        metadata: {
          name: `rs-${version}`,
          namespace: 'n',
          uid: version,
          resourceVersion: '1',
          annotations: { 'deployment.kubernetes.io/revision': String(index + 1) },
        },
        revision: life.nameOf(version),
        fingerprint: version,
        isEmpty: index + 1 < versions.length,
      })),
    };
    return life;
  };
  const undone = (life: CanaryLife, version: string) => {
    life.state = undo(life.state, life.nameOf(version));
    return life.settle();
  };

  test('is answered once, whatever is seen of the Deployment by then', () => {
    const life = numbered(two().ask('3'), '1', '2');
    const before = life.state.deployment;
    life.state = undo(life.state, life.nameOf('1'));
    const after = life.state.deployment;
    // The status is written, and then the operator is gone.
    life.step(1);
    expect(life.status.rollback).toMatchObject({ toRevision: life.nameOf('2'), undone: life.nameOf('1') });
    // Another one sees the Deployment as it was before.
    life.state = { ...life.state, deployment: before };
    life.step(1);
    expect(life.status.rollback).toMatchObject({ toRevision: life.nameOf('2'), undone: life.nameOf('1') });
    life.state = { ...life.state, deployment: after };
    life.settle();
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.status.rollback).toMatchObject({ toRevision: life.nameOf('2') });
    expect(life.status.rollback).not.toHaveProperty('undone');
  });

  test('to what ran before takes the canary back, and keeps what serves', () => {
    const life = undone(numbered(two().ask('3'), '1', '2'), '1');
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.status.rollback).toMatchObject({
      trigger: 'Undo',
      fieldManager: 'kubectl',
      toRevision: life.nameOf('2'),
    });
    expect(life.status.rollback).not.toHaveProperty('undone');
    expect(life.events.at(-1)).toBe('RolledBack');
    expect(life.decide().writes).toEqual([]);
  });

  test('is answered the same however often the operator dies on the way', () => {
    for (let deaths = 0; deaths < 6; deaths++) {
      const life = numbered(two().ask('3'), '1', '2');
      life.state = undo(life.state, life.nameOf('1'));
      life.step(deaths);
      life.settle();
      expect(life.running).toEqual([life.nameOf('2'), undefined]);
      expect(life.status.rollback).toMatchObject({ trigger: 'Undo', toRevision: life.nameOf('2') });
    }
  });

  test('to another that was healthy takes the canary back, and is adopted', () => {
    const before = afterVersions('1', '2', '3');
    const life = numbered(new CanaryLife(settle(asking(before, '3', policy())).state).ask('4'), '1', '2', '3');
    undone(life, '1');
    expect(life.running).toEqual([life.nameOf('1'), undefined]);
    expect(life.status.rollback).toMatchObject({
      trigger: 'Undo',
      fromRevision: life.nameOf('4'),
      toRevision: life.nameOf('1'),
    });
  });

  test('is put back where the policy says Revert, and the canary goes on', () => {
    const life = undone(numbered(two({ externalUndo: 'Revert' }).ask('3'), '1', '2'), '1');
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    expect(life.canary).toMatchObject({ step: 1, weight: 5 });
    expect(life.events.at(-1)).toBe('UndoPutBack');
  });

  test('in the midst of a promotion brings back what served', () => {
    const life = two().ask('3');
    life.isStableAble = false;
    life.annotate('promote', life.nameOf('3'));
    undone(numbered(life, '1', '2', '3'), '2');
    life.isStableAble = true;
    life.settle();
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
    expect(life.status.rollback).toMatchObject({
      trigger: 'Undo',
      fromRevision: life.nameOf('3'),
      toRevision: life.nameOf('2'),
    });
  });
});

describe('with an autoscaler', () => {
  const autoscaling = { minReplicas: 2, maxReplicas: 8, triggers: [{ type: 'Memory' as const, averageValue: '1Gi' }] };

  test('each track has its own, and that of stable keeps the pods that it began with', () => {
    const before = afterVersions('1', '2');
    const { replicas: _, ...rest } = policy();
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

test('a canary that turns everything away has no errors, and is taken back when it goes on', () => {
  const life = two({ progressDeadlineSeconds: 120 }).ask('3').pass(105, { saturated: 100 });
  expect(life.canary).toMatchObject({
    state: 'Holding',
    message: 'the canary has no room for all requests that it is given',
  });
  expect(life.canary?.measurements?.[0]).toMatchObject({ verdict: 'Inconclusive', requests: 0 });
  life.pass(60, { saturated: 100 });
  expect(life.status.rollback).toMatchObject({
    trigger: 'ProgressDeadline',
    message: 'it had no room for most of the requests that it was given in 120 s',
  });
});

test('nobody looks at a canary again and again that waits for others, or is paused', () => {
  const life = two();
  life.areTablesTaken = false;
  life.ask('3').pass(900);
  expect(life.canary).toMatchObject({ state: 'Scaling', weight: 5 });
  // What it is given is judged, once in an interval.
  expect(life.decide().requeueAfterMilliseconds).toBe(15_000);
  const paused = two();
  paused.areCanariesAble = false;
  paused.ask('3').annotate('pause', paused.nameOf('3')).pass(900);
  expect(paused.decide().requeueAfterMilliseconds).toBeUndefined();
});

describe('a step is judged by what can be counted in it', () => {
  test('however few requests there are: they are kept for as long as a step may last', () => {
    const slow = { steps: [{ weight: 50, holdSeconds: 60 }] };
    const life = two({ canary: slow, analysis: { minRequests: 100, intervalSeconds: 3600 } }).ask('3');
    for (let hour = 0; hour < 30; hour++) life.pass(3600, { requests: 1 }, 3600);
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
  });

  const gates = [
    { metric: 'ErrorRate', max: '1%' },
    { metric: 'Agreement', min: '98%' },
    { metric: 'LatencyVersusStable', percentile: 95, max: '150%' },
  ] as const;

  test('with all requests, nothing is compared with what the old version answers: it answers none', () => {
    const blueGreen = { mirrorPercent: 20, holdSeconds: 120, soakSeconds: 120 };
    const life = two({ strategy: 'BlueGreen', canary: undefined, blueGreen, analysis: { gates: [...gates] } });
    life.ask('3').pass(300);
    expect(life.canary).toBeUndefined();
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
  });

  test.each(['Rollback', 'Promote'] as const)(
    'a step lasts until its gates can tell anything, with onInconclusive %s',
    (onInconclusive) => {
      const short = { steps: [{ weight: 50, holdSeconds: 30 }] };
      const good = two({ canary: short, analysis: { onInconclusive } }).ask('3').pass(150);
      expect(good.running).toEqual([good.nameOf('3'), undefined]);
      const bad = two({ canary: short, analysis: { onInconclusive } }).ask('3').pass(150, { failed: 100 });
      expect(bad.status.rollback?.trigger).toBe('GateFailed');
    },
  );

  test('a leader that has just begun lets no step end by what it has not counted', () => {
    const life = two({ canary: { steps: [{ weight: 50, holdSeconds: 60 }] }, analysis: { onInconclusive: 'Promote' } });
    life.ask('3').pass(45, { failed: 100 });
    life.state = { ...life.state, countedSince: life.time };
    life.pass(30, { failed: 100 });
    expect(life.canary).toMatchObject({ state: 'Holding' });
    life.pass(60, { failed: 100 });
    expect(life.status.rollback?.trigger).toBe('GateFailed');
  });

  // In the first interval in which it fails: the four last ones are enough.
  test.each(['Rollback', 'Promote'] as const)(
    'nor by what it has not begun to count, with onInconclusive %s',
    (onInconclusive) => {
      const life = two({ canary: { steps: [{ weight: 50, holdSeconds: 120 }] }, analysis: { onInconclusive } }).ask(
        '3',
      );
      life.pass(105);
      life.time += 60_000;
      life.state = { ...life.state, countedSince: undefined };
      life.settle();
      expect(life.canary).toMatchObject({ state: 'Holding', step: 1 });
      // It sees few requests of the step.
      life.state = { ...life.state, countedSince: life.time };
      life.pass(75, { requests: 1 });
      expect(life.canary).toMatchObject({ state: 'Holding', step: 1 });
      life.pass(60);
      expect(life.running).toEqual([life.nameOf('3'), undefined]);
    },
  );

  test('one that dies after a long while is taken back at once, by what it gave since', () => {
    const life = two({ canary: { steps: [{ weight: 50, holdSeconds: 3600 }] } })
      .ask('3')
      .pass(1500);
    expect(life.canary).toMatchObject({ state: 'Holding' });
    life.pass(75, { failed: 100 });
    expect(life.status.rollback?.message).toMatch(/^ErrorRate at most 1%: 25% of 1600 requests/);
  });
});
