import { describe, expect, test } from '@jest/globals';
import { afterTwo, CanaryLife } from '../testing/canary-life.ts';

describe('what is no fault of the canary is not held against it', () => {
  test('a pod of the revision that serves that is missing', () => {
    const life = afterTwo({ progressDeadlineSeconds: 120 });
    life.missStablePod();
    life.ask('3').pass(900);
    expect(life.canary).toMatchObject({ state: 'Scaling', step: 1, weight: 0 });
  });

  test('a share that is not taken, a pause, a scale to nothing', () => {
    const untaken = afterTwo({ progressDeadlineSeconds: 120 });
    untaken.areTablesTaken = false;
    expect(untaken.ask('3').pass(900).canary).toMatchObject({ state: 'Scaling', weight: 5 });
    const paused = afterTwo({ progressDeadlineSeconds: 120 });
    paused.areCanariesAble = false;
    paused.ask('3').annotate('pause', paused.nameOf('3')).pass(900);
    paused.annotate('resume', paused.nameOf('3'));
    expect(paused.canary).toMatchObject({ state: 'Scaling' });
    const asleep = afterTwo({ progressDeadlineSeconds: 120 }).ask('3');
    asleep.ask('3', { replicas: 0 }).pass(900, { requests: 0 });
    expect(asleep.canary).toMatchObject({ state: 'Holding', step: 1 });
  });

  test('nothing that serves: the new version goes straight there', () => {
    const life = afterTwo();
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

describe('a leader that has just begun', () => {
  test('does not end a step on what it has not seen', () => {
    const life = afterTwo({ canary: { steps: [{ weight: 5, holdSeconds: 120 }] } })
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
    const life = afterTwo().ask('3');
    life.time -= 3_600_000;
    life.settle().pass(120, { failed: 100 });
    expect(life.status.rollback).toMatchObject({ trigger: 'GateFailed' });
  });
});

test('a canary that turns everything away has no errors, and is taken back when it goes on', () => {
  const life = afterTwo({ progressDeadlineSeconds: 120 }).ask('3').pass(105, { saturated: 100 });
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
  const life = afterTwo();
  life.areTablesTaken = false;
  life.ask('3').pass(900);
  expect(life.canary).toMatchObject({ state: 'Scaling', weight: 5 });
  // What it is given is judged, once in an interval.
  expect(life.decide().requeueAfterMilliseconds).toBe(15_000);
  const paused = afterTwo();
  paused.areCanariesAble = false;
  paused.ask('3').annotate('pause', paused.nameOf('3')).pass(900);
  expect(paused.decide().requeueAfterMilliseconds).toBeUndefined();
});

describe('a step is judged by what can be counted in it', () => {
  test('however few requests there are: they are kept for as long as a step may last', () => {
    const slow = { steps: [{ weight: 50, holdSeconds: 60 }] };
    const life = afterTwo({ canary: slow, analysis: { minRequests: 100, intervalSeconds: 3600 } }).ask('3');
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
    const life = afterTwo({ strategy: 'BlueGreen', canary: undefined, blueGreen, analysis: { gates: [...gates] } });
    life.ask('3').pass(300);
    expect(life.canary).toBeUndefined();
    expect(life.running).toEqual([life.nameOf('3'), undefined]);
  });

  test.each(['Rollback', 'Promote'] as const)(
    'a step lasts until its gates can tell anything, with onInconclusive %s',
    (onInconclusive) => {
      const short = { steps: [{ weight: 50, holdSeconds: 30 }] };
      const good = afterTwo({ canary: short, analysis: { onInconclusive } }).ask('3').pass(150);
      expect(good.running).toEqual([good.nameOf('3'), undefined]);
      const bad = afterTwo({ canary: short, analysis: { onInconclusive } }).ask('3').pass(150, { failed: 100 });
      expect(bad.status.rollback?.trigger).toBe('GateFailed');
    },
  );

  test('a leader that has just begun lets no step end by what it has not counted', () => {
    const life = afterTwo({
      canary: { steps: [{ weight: 50, holdSeconds: 60 }] },
      analysis: { onInconclusive: 'Promote' },
    });
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
      const life = afterTwo({
        canary: { steps: [{ weight: 50, holdSeconds: 120 }] },
        analysis: { onInconclusive },
      }).ask('3');
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
    const life = afterTwo({ canary: { steps: [{ weight: 50, holdSeconds: 3600 }] } })
      .ask('3')
      .pass(1500);
    expect(life.canary).toMatchObject({ state: 'Holding' });
    life.pass(75, { failed: 100 });
    expect(life.status.rollback?.message).toMatch(/^ErrorRate at most 1%: 25% of 1600 requests/);
  });
});
