import { describe, expect, test } from '@jest/globals';
import { afterTwo, CanaryLife, canaryPolicy } from '../testing/canary-life.ts';
import { settle, undo } from '../testing/simulation.ts';
import { afterVersions, asking } from '../testing/versions.ts';

test('a promotion alone makes no version healthy', () => {
  const life = afterTwo({ progressDeadlineSeconds: 120 });
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
  const life = afterTwo().ask('3');
  const { status: _, ...model } = life.state.model;
  life.state = { ...life.state, model };
  life.settle();
  expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
  expect(life.canary).toMatchObject({ step: 1, stableRevision: life.nameOf('2') });
});

describe('a canary is not let through', () => {
  test('by another strategy once it has failed', () => {
    const life = afterTwo({ onFailure: 'Pause' }).ask('3').pass(90, { failed: 10 });
    expect(life.canary).toMatchObject({ state: 'Failed' });
    life.ask('3', canaryPolicy({ strategy: 'RollingUpdate', canary: undefined, onFailure: 'Pause' }));
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    expect(life.share).toBeUndefined();
    life.annotate('abort', life.nameOf('3'));
    expect(life.running).toEqual([life.nameOf('2'), undefined]);
  });

  test('because the record of what serves beside it is gone: it is taken back', () => {
    const life = afterTwo().ask('3');
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
        replicas: index + 1 < versions.length ? 0 : 1,
      })),
    };
    return life;
  };
  const undone = (life: CanaryLife, version: string) => {
    life.state = undo(life.state, life.nameOf(version));
    return life.settle();
  };

  test('is answered once, whatever is seen of the Deployment by then', () => {
    const life = numbered(afterTwo().ask('3'), '1', '2');
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
    const life = undone(numbered(afterTwo().ask('3'), '1', '2'), '1');
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
      const life = numbered(afterTwo().ask('3'), '1', '2');
      life.state = undo(life.state, life.nameOf('1'));
      life.step(deaths);
      life.settle();
      expect(life.running).toEqual([life.nameOf('2'), undefined]);
      expect(life.status.rollback).toMatchObject({ trigger: 'Undo', toRevision: life.nameOf('2') });
    }
  });

  test('to another that was healthy takes the canary back, and is adopted', () => {
    const before = afterVersions('1', '2', '3');
    const life = numbered(new CanaryLife(settle(asking(before, '3', canaryPolicy())).state).ask('4'), '1', '2', '3');
    undone(life, '1');
    expect(life.running).toEqual([life.nameOf('1'), undefined]);
    expect(life.status.rollback).toMatchObject({
      trigger: 'Undo',
      fromRevision: life.nameOf('4'),
      toRevision: life.nameOf('1'),
    });
  });

  test('is put back where the policy says Revert, and the canary goes on', () => {
    const life = undone(numbered(afterTwo({ externalUndo: 'Revert' }).ask('3'), '1', '2'), '1');
    expect(life.running).toEqual([life.nameOf('2'), life.nameOf('3')]);
    expect(life.canary).toMatchObject({ step: 1, weight: 5 });
    expect(life.events.at(-1)).toBe('UndoPutBack');
  });

  test('in the midst of a promotion brings back what served', () => {
    const life = afterTwo().ask('3');
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
