import { describe, expect, test } from '@jest/globals';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { decide } from '../controller/decide.ts';
import type { Observed } from '../observed.ts';
import { conditionsOf, now, overdue, pass, perform, policy, settle, undo } from '../testing/simulation.ts';
import { completeDeployment, observed } from '../testing/test-objects.ts';
import { afterVersions, annotate, asking, live, nameOf, reasons, rollbackOf } from '../testing/versions.ts';

/** Version 3 runs, and 1 and 2 ran before. */
const three = afterVersions('1', '2', '3');
const one = nameOf(three, '1');
const two = nameOf(three, '2');
const latest = nameOf(three, '3');

describe('a new version that misses its deadline', () => {
  const soon = '2026-01-01T00:00:09Z';
  const rollOut = (state: Observed, version: string, rest: Partial<ModelDeploymentSpec> = {}) =>
    pass(asking(state, version, rest)).writes.reduce(perform, asking(state, version, rest));
  const failed = overdue(rollOut(three, '4'), soon);
  const latestFailed = nameOf(failed, '4');

  test('is rolled back to the newest healthy one, with a warning', () => {
    const { state, passes } = settle(failed);
    expect(live(state)).toBe(latest);
    expect(rollbackOf(state)).toMatchObject({
      fromRevision: latestFailed,
      toRevision: latest,
      trigger: 'ProgressDeadline',
    });
    expect(conditionsOf(state.model)).toMatchObject({ Ready: 'False RolledBack', RolledBack: 'True ProgressDeadline' });
    expect(passes.flatMap(({ events }) => events)).toEqual([
      expect.objectContaining({ type: 'Warning', reason: 'RolledBack' }),
    ]);
  });

  test('is not taken for healthy by the pods of a template that somebody has changed meanwhile', () => {
    const rolling = rollOut(three, '4');
    const { deployment } = rolling;
    if (deployment === undefined) throw new Error('there is no Deployment');
    const template = structuredClone(deployment.spec.template);
    Object.assign(template.spec?.containers[0] ?? {}, { image: 'hotfix:1' });
    const intruders = [{ manager: 'kubectl-set', fields: ['spec.containers[model].image'] }];
    const live = completeDeployment({ ...deployment, spec: { ...deployment.spec, template }, intruders });
    const changed = { ...rolling, deployment: live };
    const repaired = pass(changed).writes.reduce(perform, changed);
    expect(conditionsOf(repaired.model)['Ready']).not.toBe('True Ready');
    expect(repaired.model.status?.currentRevision).toBe(latest);
    expect(rollbackOf(settle(overdue(repaired, soon)).state)).toMatchObject({ trigger: 'ProgressDeadline' });
  });

  test('is left as it is while somebody has paused the Deployment', () => {
    const { deployment } = failed;
    if (deployment === undefined) throw new Error('there is no Deployment');
    const paused = { ...failed, deployment: { ...deployment, spec: { ...deployment.spec, paused: true } } };
    expect(rollbackOf(pass(paused).writes.reduce(perform, paused))).toBeUndefined();
  });

  test('is left as it is where the policy says Pause', () => {
    const paused = overdue(rollOut(three, '4', { rollout: { onFailure: 'Pause' } }), soon);
    const decision = pass(paused);
    const state = decision.writes.reduce(perform, paused);
    expect(live(state)).toBe(latestFailed);
    expect(conditionsOf(state.model)).toMatchObject({ Stalled: 'True ProgressDeadlineExceeded' });
  });

  test('is not gone back to by an undo, nor by a retry more than once', () => {
    const back = settle(failed).state;
    const undone = settle(undo(back, latestFailed));
    expect(live(undone.state)).toBe(latest);
    expect(reasons(undone.passes)).toEqual(['UndoPutBack']);
    const retried = annotate(back, latestFailed);
    const trying = pass(retried).writes.reduce(perform, retried);
    expect(live(trying)).toBe(latestFailed);
    expect(live(settle(overdue(trying, soon)).state)).toBe(latest);
  });

  test('stays held back when an undo chooses still another revision', () => {
    const { state } = settle(undo(settle(failed).state, one));
    expect([live(state), rollbackOf(state)?.trigger]).toEqual([one, 'ProgressDeadline']);
    expect(live(settle(undo(state, latestFailed)).state)).toBe(one);
  });

  test('is given its own time, whatever the Deployment says of an earlier rollout', () => {
    const stale = overdue(rollOut(three, '4'), '2025-12-31T23:00:00Z');
    expect(live(pass(stale).writes.reduce(perform, stale))).toBe(latestFailed);
    const late = decide(stale, new Date(now.getTime() + 600_000), policy);
    expect(live(late.writes.reduce(perform, stale))).toBe(latest);
  });

  test('stops at the older one if that one fails too', () => {
    const back = pass(failed).writes.reduce(perform, failed);
    const worse = overdue(back, soon);
    const state = pass(worse).writes.reduce(perform, worse);
    expect(live(state)).toBe(latest);
    expect(conditionsOf(state.model)).toMatchObject({
      Stalled: 'True ProgressDeadlineExceeded',
      RolledBack: 'True ProgressDeadline',
    });
  });

  test('has nowhere to go when it is the first', () => {
    const first = pass(observed()).writes.reduce(perform, observed());
    const state = pass(overdue(first, soon)).writes.reduce(perform, overdue(first, soon));
    expect(conditionsOf(state.model)).toMatchObject({
      Stalled: 'True ProgressDeadlineExceeded',
      RolledBack: 'False NotRolledBack',
    });
  });

  test('is not left when it was complete while the operator was away, however long', () => {
    const rolling = rollOut(three, '4');
    const rolled = decide(rolling, now, policy).writes.reduce(perform, rolling);
    const { deployment } = rolled;
    if (deployment === undefined) throw new Error('there is no Deployment');
    const back = { ...rolled, deployment: completeDeployment(deployment) };
    const state = decide(back, new Date(now.getTime() + 3_600_000), policy).writes.reduce(perform, back);
    expect([live(state), rollbackOf(state)]).toEqual([nameOf(state, '4'), undefined]);
  });

  test('is not left for a Deployment that was deleted, and is slow to come back', () => {
    const gone = { ...three, deployment: undefined };
    const again = pass(gone).writes.reduce(perform, gone);
    const slow = overdue(again, soon);
    const late = decide(slow, new Date(now.getTime() + 3_600_000), policy).writes.reduce(perform, slow);
    expect([live(late), rollbackOf(late)]).toEqual([latest, undefined]);
  });

  test('is not left when it was complete before: a restart that fails is not its fault', () => {
    const restarted = overdue(three, soon);
    expect(live(pass(restarted).writes.reduce(perform, restarted))).toBe(latest);
    expect(rollbackOf(pass(restarted).writes.reduce(perform, restarted))).toBeUndefined();
  });
});

describe('an undo to what cannot serve any more', () => {
  const adopted = pass(undo(three, two)).writes.reduce(perform, undo(three, two));
  const failed = overdue(adopted, '2026-01-01T00:00:09Z');

  test('is given up after its deadline, for what the spec asks for, with a warning', () => {
    const { state, passes } = settle(failed);
    expect([live(state), rollbackOf(state)]).toEqual([latest, undefined]);
    expect(reasons(passes)).toEqual(['UndoFailed', 'RolloutComplete']);
  });

  test('stays where the policy is Pause, and where the spec asks for what never was healthy', () => {
    const paused = {
      ...failed,
      model: { ...failed.model, spec: { ...failed.model.spec, rollout: { onFailure: 'Pause' as const } } },
    };
    const sick = {
      ...failed,
      revisions: failed.revisions.map((revision) =>
        revision.metadata.name === latest
          ? { ...revision, metadata: { ...revision.metadata, annotations: {} } }
          : revision,
      ),
    };
    for (const state of [paused, sick]) {
      const after = pass(state).writes.reduce(perform, state);
      expect([live(after), rollbackOf(after)?.trigger]).toEqual([two, 'Undo']);
      expect(conditionsOf(after.model)).toMatchObject({ Stalled: 'True ProgressDeadlineExceeded' });
    }
  });

  test('leads nowhere twice: what the spec asks for fails as well', () => {
    const back = pass(failed).writes.reduce(perform, failed);
    const worse = overdue(back, '2026-01-01T00:00:19Z');
    const held = pass(worse).writes.reduce(perform, worse);
    const worst = overdue(held, '2026-01-01T00:00:29Z');
    const end = pass(worst).writes.reduce(perform, worst);
    expect(rollbackOf(end)?.trigger).toBe('ProgressDeadline');
    expect(conditionsOf(end.model)).toMatchObject({ Stalled: 'True ProgressDeadlineExceeded' });
  });
});
