import { describe, expect, test } from '@jest/globals';
import type { Observed } from '../observed.ts';
import { now, overdue, pass, perform, settle, undo } from '../testing/simulation.ts';
import { afterVersions, annotate, asking, nameOf } from '../testing/versions.ts';
import { revisionName } from './revision.ts';
import { isUndoOverruled, wantedRevision } from './wanted-revision.ts';

/** Version 2 runs, and 1 ran before. */
const two = afterVersions('1', '2');
const held = settle(undo(two, nameOf(two, '1'))).state;
const latest = nameOf(two, '2');
const failing = (() => {
  const rolling = pass(asking(two, '3')).writes.reduce(perform, asking(two, '3'));
  return overdue(rolling, '2026-01-01T00:00:09Z');
})();
const sick: Observed = {
  ...two,
  revisions: two.revisions.map((revision) =>
    revision.metadata.name === latest ? revision : { ...revision, metadata: { ...revision.metadata, annotations: {} } },
  ),
};
const conflicts = [{ kind: 'Service', name: 'iris', owner: 'somebody' } as const];

describe('which revision is wanted', () => {
  test.each<[string, Observed, string, object]>([
    ['nothing has happened', two, '2', { kind: 'forward' }],
    ['a name is taken', { ...undo(two, nameOf(two, '1')), conflicts }, '2', { kind: 'undecided' }],
    ['a name is taken while one is held', { ...held, conflicts }, '1', { kind: 'undecided' }],
    ['a hold is recorded', held, '1', { kind: 'held', lost: undefined }],
    [
      'the record of what is held is gone',
      {
        ...held,
        model: {
          ...held.model,
          status: { ...held.model.status, rollback: { ...rollbackOf(held), toRevision: 'gone' } },
        },
      },
      '1',
      { kind: 'held', lost: 'gone' },
    ],
    ['somebody undoes', undo(two, nameOf(two, '1')), '1', { kind: 'adopted' }],
    ['somebody undoes the undo', undo(held, latest), '2', { kind: 'ended' }],
    [
      'somebody undoes to what never was healthy',
      undo(sick, nameOf(two, '1')),
      '2',
      { kind: 'putBack', why: 'NeverHealthy' },
    ],
    [
      'somebody undoes where that is not allowed',
      undo(settle(asking(two, '2', { rollout: { externalUndo: 'Revert' } })).state, nameOf(two, '1')),
      '2',
      { kind: 'putBack', why: 'RevertPolicy' },
    ],
    [
      'somebody undoes to what has failed',
      undo(settle(failing).state, nameOf(failing, '3')),
      '2',
      { kind: 'putBack', why: 'MissedDeadline' },
    ],
    ['a retry is asked for', annotate(held, latest), '2', { kind: 'retried' }],
    ['a retry names another', annotate(held, 'iris-x'), '1', { kind: 'held', mistakenRetry: 'iris-x' }],
    [
      'a retry names another, and somebody undoes the undo',
      annotate(undo(held, latest), 'iris-x'),
      '2',
      { kind: 'ended', mistakenRetry: 'iris-x' },
    ],
    ['the deadline is missed', failing, '2', { kind: 'rolledBack' }],
  ])('when %s', (_, state, version, expected) => {
    const name = revisionName(state.model, state.revisions);
    const target = state.revisions.find(({ metadata }) => metadata.name === name);
    if (target === undefined) throw new Error('the revision is not recorded');
    const wanted = wantedRevision(state, target, true, now);
    expect(wanted).toMatchObject(expected);
    expect(wanted.revision.data.inputs.model.version).toBe(version);
  });

  test('when the spec asks for another after an undo, that is overruled', () => {
    const undone = undo(two, nameOf(two, '1'));
    const asked = pass(asking(two, '3')).writes.slice(0, 1).reduce(perform, asking(undone, '3'));
    const target = asked.revisions.find(({ data }) => data.inputs.model.version === '3');
    if (target === undefined) throw new Error('the revision is not recorded');
    const wanted = wantedRevision(asked, target, true, now);
    expect([wanted.kind, isUndoOverruled(wanted)]).toEqual(['forward', true]);
  });
});

function rollbackOf({ model }: Observed) {
  const rollback = model.status?.rollback;
  if (rollback === undefined) throw new Error('nothing is held');
  return rollback;
}
