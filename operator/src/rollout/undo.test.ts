import { describe, expect, test } from '@jest/globals';
import { annotations } from '../api/names.ts';
import { decide } from '../controller/decide.ts';
import type { Observed } from '../observed.ts';
import { conditionsOf, kinds, now, pass, perform, policy, settle, undo } from '../testing/simulation.ts';
import { modelDeployment, observed } from '../testing/test-objects.ts';
import { afterVersions, annotate, asking, live, nameOf, reasons, rollbackOf } from '../testing/versions.ts';

/** Version 3 runs, and 1 and 2 ran before. */
const three = afterVersions('1', '2', '3');
const one = nameOf(three, '1');
const two = nameOf(three, '2');
const latest = nameOf(three, '3');

describe('an undo', () => {
  test('is adopted: recorded before the ownership is taken, held, and told of once', () => {
    const decision = pass(undo(three, two));
    expect(kinds(decision)).toEqual(['write-status', 'renumber-revision', 'take-over Deployment', 'apply Deployment']);
    const { state, passes } = settle(undo(three, two));
    expect(live(state)).toBe(two);
    expect(rollbackOf(state)).toEqual({
      fromRevision: latest,
      toRevision: two,
      trigger: 'Undo',
      fieldManager: 'kubectl',
      time: '2026-01-01T00:00:00Z',
    });
    expect(state.model.status).toMatchObject({
      updateRevision: latest,
      currentRevision: two,
      modelVersion: '2',
      rollout: { message: 'rolled back to 2' },
    });
    expect(conditionsOf(state.model)).toMatchObject({
      Ready: 'False RolledBack',
      Available: 'True PodsServe',
      UpToDate: 'False RolledBack',
      Reconciling: 'False Stalled',
      Stalled: 'True RolledBack',
      RolledBack: 'True Undo',
    });
    expect(reasons(passes)).toEqual(['RolledBack']);
    expect(pass(state)).toMatchObject({ writes: [], events: [] });
    expect(pass(state).requeueAfterMilliseconds).toBeUndefined();
  });

  test.each([
    ['its number of pods', { replicas: 3 }],
    ['its policy', { rollout: { maxSurge: 2 } }],
    ['nothing', {}],
  ])('stays adopted when the spec changes %s', (_, rest) => {
    const held = settle(undo(three, two)).state;
    const { state } = settle(asking(held, '3', rest));
    expect(live(state)).toBe(two);
    expect(rollbackOf(state)).toEqual(rollbackOf(held));
  });

  test('ends when the spec asks for another revision, which is rendered anew', () => {
    const held = settle(undo(three, two)).state;
    const { state } = settle(asking(held, '4'));
    expect(live(state)).toBe(nameOf(state, '4'));
    expect(rollbackOf(state)).toBeUndefined();
    expect(conditionsOf(state.model)).toMatchObject({ Ready: 'True Ready', RolledBack: 'False NotRolledBack' });
  });

  test('ends when the spec asks for the very revision that is kept', () => {
    const { state } = settle(asking(settle(undo(three, two)).state, '2'));
    expect([live(state), rollbackOf(state)]).toEqual([two, undefined]);
  });

  test('can be followed by another, to an older revision', () => {
    const { state, passes } = settle(undo(settle(undo(three, two)).state, one));
    expect(live(state)).toBe(one);
    expect(rollbackOf(state)).toMatchObject({ fromRevision: latest, toRevision: one });
    expect(reasons(passes)).toEqual(['RolledBack']);
  });

  test('can be undone: back at the revision of the spec, nothing is held any more', () => {
    const { state, passes } = settle(undo(settle(undo(three, two)).state, latest));
    expect([live(state), rollbackOf(state)]).toEqual([latest, undefined]);
    expect(reasons(passes)).toEqual(['RollbackEnded', 'RolloutComplete']);
  });

  test('that was made before the spec asked for another revision is superseded', () => {
    const { state, passes } = settle(asking(undo(three, two), '4'));
    expect(live(state)).toBe(nameOf(state, '4'));
    expect(reasons(passes)).toEqual(['UndoSuperseded', 'RolloutStarted', 'RolloutComplete']);
  });

  test.each([
    ['it is followed', undo(three, two)],
    ['the spec asks for another revision', asking(three, '4')],
    ['a retry is asked for', annotate(settle(undo(three, two)).state, latest)],
  ])('may be there unseen when %s: the Deployment is looked at before the status says so', (_, state) => {
    expect(pass(state).evidence).toEqual({ deployment: state.deployment });
  });

  test('needs no look at the Deployment where the status says nothing new of it', () => {
    expect(pass(asking(three, '3', { replicas: 5 })).evidence).toBeUndefined();
    expect(pass(three).evidence).toBeUndefined();
  });

  test('that is overruled is not taken for one that came later, when its evidence cannot be taken away', () => {
    const state = asking(undo(three, two), '4');
    const refusal = { message: 'denied', failures: 1, retryAt: now.getTime() + 1000 };
    const decision = pass({ ...state, refusals: new Map([['take-over Deployment', refusal]]) });
    const after = decision.writes.reduce(perform, state);
    expect(after.model.status?.updateRevision).toBe(latest);
    expect(conditionsOf(after.model)).toMatchObject({ Stalled: 'True ApplyRefused' });
    expect(rollbackOf(pass(after).writes.reduce(perform, after))).toBeUndefined();
  });

  test('to a revision that never was healthy is put back, each time with a warning', () => {
    const sick: Observed = {
      ...three,
      revisions: three.revisions.map((revision) =>
        revision.metadata.name === two
          ? { ...revision, metadata: { ...revision.metadata, annotations: {} } }
          : revision,
      ),
    };
    const { state, passes } = settle(undo(sick, two));
    expect([live(state), rollbackOf(state)]).toEqual([latest, undefined]);
    expect(passes.flatMap(({ events }) => events)[0]).toEqual(
      expect.objectContaining({ type: 'Warning', reason: 'UndoPutBack', message: expect.stringContaining('healthy') }),
    );
  });

  test('is put back where the policy says Revert', () => {
    const reverting = settle(asking(three, '3', { rollout: { externalUndo: 'Revert' } })).state;
    const { state, passes } = settle(undo(reverting, two));
    expect([live(state), rollbackOf(state)]).toEqual([latest, undefined]);
    expect(reasons(passes)).toEqual(['UndoPutBack', 'RolloutComplete']);
  });

  test('is told of each time', () => {
    const first = settle(undo(three, two));
    const back = settle(undo(first.state, latest)).state;
    const later = new Date(now.getTime() + 5000);
    const occurrences = [pass(undo(three, two)), decide(undo(back, two), later, policy)].map(({ events }) =>
      events.map(({ reason, occurrence }) => `${reason} ${occurrence}`),
    );
    expect(occurrences).toEqual([['RolledBack 2026-01-01T00:00:00Z'], ['RolledBack 2026-01-01T00:00:05Z']]);
  });

  test('is held by another healthy revision when the record of the held one is deleted', () => {
    const held = settle(undo(three, two)).state;
    const without = { ...held, revisions: held.revisions.filter(({ metadata }) => metadata.name !== two) };
    const { state, passes } = settle(without);
    expect(live(state)).toBe(one);
    expect(rollbackOf(state)).toMatchObject({ fromRevision: latest, toRevision: one, trigger: 'Undo' });
    expect(reasons(passes)).toEqual(['RolledBack']);
  });

  test('is neither forgotten nor answered while a name is taken', () => {
    const conflicts = [{ kind: 'PodDisruptionBudget', name: 'iris', owner: 'somebody' } as const];
    const held = settle(undo(three, two)).state;
    const blocked = { ...undo(held, one), conflicts };
    const decision = pass(blocked);
    expect(decision.events.map(({ reason }) => reason)).toEqual(['NameConflict']);
    expect(rollbackOf(decision.writes.reduce(perform, blocked))).toEqual(rollbackOf(held));
  });

  test('to a template that is no recorded revision is drift', () => {
    const undone = undo(three, two);
    const { state, passes } = settle({
      ...undone,
      revisions: undone.revisions.filter(({ metadata }) => metadata.name !== two),
    });
    expect([live(state), rollbackOf(state)]).toEqual([latest, undefined]);
    expect(reasons(passes)).toEqual(['DriftRepaired', 'RolloutComplete']);
  });

  test.each([
    ['adopted', undo(three, two)],
    ['superseded', asking(undo(three, two), '4')],
    ['undone', undo(settle(undo(three, two)).state, latest)],
    ['superseded while held', asking(undo(settle(undo(three, two)).state, one), '4')],
  ])('that is %s ends the same after a crash behind any of the writes', (_, start) => {
    const whole = settle(start).state;
    const { writes } = pass(start);
    for (let made = 0; made <= writes.length; made++) {
      const { state } = settle(writes.slice(0, made).reduce(perform, start));
      expect([live(state), rollbackOf(state)]).toEqual([live(whole), rollbackOf(whole)]);
      expect(state.model.status).toEqual(whole.model.status);
    }
  });
});

describe('a retry', () => {
  const held = settle(undo(three, two)).state;

  test('goes forward to the revision that was held back, and is dealt with once', () => {
    const { state, passes } = settle(annotate(held, latest));
    expect([live(state), rollbackOf(state)]).toEqual([latest, undefined]);
    expect(reasons(passes)).toEqual(['Retrying', 'RolloutComplete']);
    const again = settle(undo(state, two)).state;
    expect(live(again)).toBe(two);
    expect(live(settle(annotate(again, `${latest}@2`)).state)).toBe(latest);
  });

  test('that names another revision is told of, and changes nothing', () => {
    const { state, passes } = settle(annotate(held, 'iris-other'));
    expect([live(state), rollbackOf(state)]).toEqual([two, rollbackOf(held)]);
    expect(reasons(passes)).toEqual(['RetryIgnored']);
  });

  test('that was there before anything was held back is no request', () => {
    const annotated = settle(annotate(three, latest)).state;
    expect(live(settle(undo(annotated, two)).state)).toBe(two);
  });
});

test('an undo after a restart, which goes back to the same revision, is told of', () => {
  const restart = (state: Observed, at: string | undefined): Observed => {
    const { deployment } = state;
    if (deployment === undefined) throw new Error('there is no Deployment');
    const { template } = deployment.spec;
    const { [annotations.restartedAt]: _, ...others } = template.metadata?.annotations ?? {};
    const marks = at === undefined ? others : { ...others, [annotations.restartedAt]: at };
    return {
      ...state,
      deployment: {
        ...deployment,
        spec: { ...deployment.spec, template: { ...template, metadata: { ...template.metadata, annotations: marks } } },
      },
    };
  };
  const first = settle(observed({ model: modelDeployment() })).state;
  const restarted = settle(restart(first, '2026-01-01T00:00:05Z')).state;
  expect(restarted.model.status?.rollout?.restartedAt).toBe('2026-01-01T00:00:05.000Z');
  // Later, though not as text: kubectl writes the time of its own zone.
  expect(reasons(settle(restart(restarted, '2026-01-01T00:00:01-02:00')).passes)).toEqual([]);
  const { passes } = settle(restart(restarted, undefined));
  expect(reasons(passes)).toEqual(['RestartUndone']);
});
