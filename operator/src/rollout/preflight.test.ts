import { describe, expect, test } from '@jest/globals';
import type { LinkedModel, TensorDescription } from '../../../contract/src/link.ts';
import { noMeasures } from '../../../contract/src/measures.ts';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { decide } from '../controller/decide.ts';
import type { LinkState, Observed } from '../observed.ts';
import { change, conditionsOf, kinds, now, pass, perform, policy, settle, undo } from '../testing/simulation.ts';
import { modelDeployment, observed, pod } from '../testing/test-objects.ts';
import { templateRevision } from './revision.ts';

const validation = { contract: 'Backward' } as const;
const asking = (state: Observed, version: string, rest: Partial<ModelDeploymentSpec> = { validation }) =>
  change(state, { model: { version, uri: 'https://models.example/iris.onnx' }, ...rest });
const run = (state: Observed) => pass(state).writes.reduce(perform, state);
const live = ({ deployment }: Observed) => templateRevision(deployment?.spec.template);

const input = (name: string): TensorDescription => ({ name, datatype: 'FP32', shape: [-1, 4] });
const linked = (inputName: string): LinkState => {
  const signature = { inputs: [input(inputName)], outputs: [input('y')] };
  const model: LinkedModel = {
    name: 'iris',
    version: '1',
    digest: `sha256:${'a'.repeat(64)}`,
    signature,
    resolvedUri: undefined,
    movedTo: undefined,
    signedBy: undefined,
    goldenSet: undefined,
  };
  return {
    kind: 'linked',
    figures: { revision: undefined, model, measures: noMeasures, passedOn: undefined, table: undefined },
  };
};

/** Version 1 serves, and a pod of it tells that it takes X. */
const serving = (() => {
  const { state } = settle(observed({ model: modelDeployment({ validation }) }));
  const one = live(state) ?? '';
  return settle({ ...state, pods: [pod('iris-1', one)], links: new Map([['iris-1', linked('X')]]) }).state;
})();
const one = live(serving);

/** Version 2 is asked for, and its pod has been made. */
const checking = run(asking(serving, '2'));
const [preflight] = checking.preflightPods;
const name = preflight?.metadata.name ?? '';
const told = (inputName: string): Observed => ({
  ...checking,
  links: new Map([...checking.links, [name, linked(inputName)]]),
});

test('one that takes rows no more as the one that serves does is not rolled out', () => {
  const runtimeOf = (name: string) => ({ task: 'Tabular' as const, tabular: { columns: [{ name }] } });
  const runtime = runtimeOf('age');
  const asked = settle(observed({ model: modelDeployment({ validation, runtime }) })).state;
  const first = live(asked) ?? '';
  const links = new Map([['iris-1', linked('X')]]);
  const serves = settle({ ...asked, pods: [pod('iris-1', first)], links }).state;
  const checks = run(asking(serves, '2', { validation, runtime: runtimeOf('years') }));
  const asksOf = checks.preflightPods[0]?.metadata.name ?? '';
  const { state } = settle({ ...checks, links: new Map([...checks.links, [asksOf, linked('X')]]) });
  expect(live(state)).toBe(first);
  expect(state.model.status?.preflight).toMatchObject({
    verdict: 'Failed',
    reason: 'ContractBroken',
    message: expect.stringContaining("the column 'years' is new, and required"),
  });
});

test('a new revision is asked beside the one that serves, which goes on', () => {
  expect(kinds(pass(asking(serving, '2')))).toEqual(['create-revision', 'write-status', 'create-preflight']);
  const pod = pass(asking(serving, '2')).writes.find(({ kind }) => kind === 'create-preflight');
  expect(pod).toMatchObject({
    manifest: {
      metadata: { labels: { 'serving.slipway.dev/track': 'preflight' }, ownerReferences: [{ name: 'iris' }] },
      spec: { restartPolicy: 'Never', activeDeadlineSeconds: 600 },
    },
  });
  expect(live(checking)).toBe(one);
  expect(checking.model.status?.updateRevision).toBe(one);
  expect(conditionsOf(checking.model)).toMatchObject({
    Ready: 'False Preflight',
    Available: 'True PodsServe',
    UpToDate: 'False Preflight',
    Reconciling: 'True Preflight',
    Stalled: 'False NotStalled',
  });
  expect(kinds(pass(checking))).toEqual([]);
  expect(pass(checking).requeueAfterMilliseconds).toBeGreaterThan(0);
});

test('one that keeps the contract is rolled out, and its pod goes', () => {
  const { state, passes } = settle(told('X'));
  expect(live(state)).not.toBe(one);
  expect(state.preflightPods).toEqual([]);
  expect(state.model.status?.preflight).toMatchObject({ verdict: 'Passed', reason: 'ContractKept' });
  expect(conditionsOf(state.model)).toMatchObject({ Ready: 'True Ready', Stalled: 'False NotStalled' });
  expect(kinds(passes[0]).slice(0, 2)).toEqual(['write-status', 'apply Deployment']);
});

describe('one that breaks the contract', () => {
  const { state, passes } = settle(told('features'));

  test('is not rolled out, is told of by name, and nothing is written any more', () => {
    expect(live(state)).toBe(one);
    expect(state.preflightPods).toEqual([]);
    expect(conditionsOf(state.model)).toMatchObject({
      Ready: 'False ContractBroken',
      Available: 'True PodsServe',
      Stalled: 'True ContractBroken',
      RolledBack: 'False NotRolledBack',
    });
    expect(state.model.status?.preflight?.message).toContain("the input 'X' is gone, or is called 'features' now");
    expect(passes.flatMap(({ events }) => events)).toContainEqual(
      expect.objectContaining({ type: 'Warning', reason: 'ContractBroken' }),
    );
    expect(pass(state).writes).toEqual([]);
  });

  test('goes out when nobody minds any more, or the spec goes back', () => {
    expect(live(settle(asking(state, '2', { validation: { contract: 'Ignore' } })).state)).not.toBe(one);
    const back = settle(asking(state, '1')).state;
    expect([live(back), back.model.status?.preflight]).toEqual([one, undefined]);
    expect(conditionsOf(back.model)).toMatchObject({ Ready: 'True Ready' });
  });

  test('is asked again when that is asked for, once', () => {
    const asked = state.model.status?.preflight?.revision ?? '';
    const metadata = { ...state.model.metadata, annotations: { [annotations.retry]: `${asked}@1` } };
    const again = run({ ...state, model: { ...state.model, metadata } });
    expect(again.preflightPods).toHaveLength(1);
    expect(again.model.status).toMatchObject({ retry: `${asked}@1` });
    expect(run({ ...again, links: serving.links }).preflightPods).toHaveLength(1);
  });

  test('does not keep an undo from being what it is', () => {
    const two = settle({ ...told('X') }).state;
    const blocked = settle({
      ...run(asking({ ...two, pods: [], links: new Map() }, '3')),
      links: new Map([[`${live(two)}-preflight`, linked('Z')]]),
    }).state;
    const undone = settle(undo(blocked, one ?? '')).state;
    expect(live(undone)).toBe(one);
    expect(undone.model.status?.rollback?.trigger).toBe('Undo');
  });
});

test('a pod that cannot load its model changes nothing that serves', () => {
  const terminated = { exitCode: 1, message: '{"reason":"ModelNotFound","message":"there is no model at x"}' };
  const failed = { ...pod(name, 'r', { state: { terminated } } as object), phase: 'Failed' };
  const { state } = settle({ ...checking, preflightPods: [failed] });
  expect(live(state)).toBe(one);
  expect(conditionsOf(state.model)).toMatchObject({ Ready: 'False PreflightFailed', Available: 'True PodsServe' });
  expect(state.model.status?.preflight?.message).toContain('there is no model at x');
});

const ended = (state: Observed, uid: string): Observed => {
  const [last] = state.preflightPods;
  return last === undefined
    ? state
    : { ...state, preflightPods: [{ ...last, metadata: { ...last.metadata, uid }, phase: 'Succeeded' }] };
};

test('a pod that has ended without a word is asked again, since the operator may have been away, but not for ever', () => {
  let state: Observed = checking;
  for (const attempts of [1, 2]) {
    const lost = ended(state, `uid-${attempts}`);
    expect(kinds(pass(lost))).toEqual(['write-status', 'delete-preflight']);
    // Not counted twice, though it is still seen.
    const counted = pass(lost).writes.slice(0, 1).reduce(perform, lost);
    expect(kinds(pass(counted))).toEqual(['delete-preflight']);
    state = run(run(lost));
    expect(state.preflightPods).toHaveLength(1);
    expect(state.model.status?.preflight).toMatchObject({ verdict: 'Pending', attempts });
  }
  const { state: end } = settle(ended(state, 'uid-3'));
  expect(conditionsOf(end.model)).toMatchObject({ Stalled: 'True PreflightFailed' });
  expect(end.preflightPods).toEqual([]);
});

test('a pod that fits on no node is given up after the deadline', () => {
  const [waiting] = checking.preflightPods;
  if (waiting === undefined) throw new Error('there is no pod');
  const old = {
    ...waiting,
    metadata: { ...waiting.metadata, creationTimestamp: '2025-12-31T23:00:00Z' },
    phase: 'Pending',
  };
  const { state } = settle({ ...checking, preflightPods: [old] });
  expect(conditionsOf(state.model)).toMatchObject({ Stalled: 'True PreflightFailed' });
});

test('where the pods that serve are about to be asked, the verdict waits for them', () => {
  const revisions = checking.revisions.map((revision) => ({
    ...revision,
    metadata: { ...revision.metadata, annotations: { [annotations.healthySince]: 'then' } },
  }));
  const waiting = {
    ...told('X'),
    revisions,
    links: new Map([
      ['iris-1', { kind: 'pending' } as LinkState],
      [name, linked('X')],
    ]),
  };
  expect(pass(waiting).writes.reduce(perform, waiting).model.status?.preflight).toBeUndefined();
  expect(waiting.preflightPods).toHaveLength(1);
});

test('where nothing has ever served, no client minds', () => {
  const first = run(observed({ model: modelDeployment({ validation }) }));
  const fixed = run(asking(first, '2'));
  const [asked] = fixed.preflightPods;
  const { state } = settle({ ...fixed, links: new Map([[asked?.metadata.name ?? '', linked('X')]]) });
  expect(live(state)).toBe(fixed.revisions.find(({ data }) => data.inputs.model.version === '2')?.metadata.name);
});

test('without a key to speak to pods with, no pod is made', () => {
  const decision = decide(asking(serving, '2'), now, { ...policy, publicKeys: undefined });
  expect(kinds(decision)).not.toContain('create-preflight');
});

test('where nothing is known of the serving model, nothing is rolled out blindly', () => {
  const revisions = checking.revisions.map((revision) => ({
    ...revision,
    metadata: { ...revision.metadata, annotations: { [annotations.healthySince]: 'then' } },
  }));
  const { state } = settle({ ...told('X'), revisions, pods: [], links: new Map([[name, linked('X')]]) });
  expect(conditionsOf(state.model)).toMatchObject({ Stalled: 'True ContractUnknown' });
});

test('the first revision, and every one where the contract is ignored, is not asked', () => {
  expect(kinds(pass(observed({ model: modelDeployment({ validation }) })))).not.toContain('create-preflight');
  expect(kinds(pass(asking(serving, '2', {})))).toEqual(['create-revision', 'write-status', 'apply Deployment']);
});

test('whatever is interrupted, the end is the same', () => {
  const whole = settle(told('X')).state;
  const { writes } = pass(told('X'));
  for (let made = 0; made <= writes.length; made++) {
    const { state } = settle(writes.slice(0, made).reduce(perform, told('X')));
    expect([live(state), state.model.status?.updateRevision]).toEqual([live(whole), live(whole)]);
  }
});
