import { describe, expect, test } from '@jest/globals';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { decide } from '../controller/decide.ts';
import { prefetchName, renderPrefetchPod } from '../desired/prefetch-pod.ts';
import type { LivePod, Observed } from '../observed.ts';
import { change, conditionsOf, kinds, now, pass, perform, policy, settle, undo } from '../testing/simulation.ts';
import { modelDeployment, observed, pod } from '../testing/test-objects.ts';
import { prefetchWriteName } from './prefetch.ts';
import { templateRevision } from './revision.ts';

const sha256 = 'a'.repeat(64);
const rest: Partial<ModelDeploymentSpec> = { runtime: { cache: 'Node' }, rollout: { prefetch: 'Nodes' } };
const modelOf = (version: string) => ({ version, uri: 'https://models.example/iris.onnx', sha256 });
const asking = (state: Observed, version: string) => change(state, { model: modelOf(version), ...rest });
const live = ({ deployment }: Observed) => templateRevision(deployment?.spec.template);
const run = (state: Observed, at = now) => decide(state, at, policy).writes.reduce(perform, state);
const podsOn = (...nodes: readonly (string | undefined)[]): LivePod[] =>
  nodes.map((node, index) => pod(`iris-${index}`, '', {}, { node }));
const ended = (state: Observed, ...phases: readonly string[]): Observed => ({
  ...state,
  prefetchPods: state.prefetchPods.map((each, index) => ({ ...each, phase: phases[index] ?? each.phase })),
});

/** Version 1 serves, with pods on two nodes. */
const serving = (() => {
  const { state } = settle(observed({ model: modelDeployment({ model: modelOf('1'), ...rest }) }));
  return { ...state, pods: podsOn('b', 'a', 'a', undefined) };
})();
const one = live(serving);
/** The pods of the next version are refused on these nodes. */
const refusedOn = (nodes: readonly string[], told: { readonly message: string; readonly failures: number }) =>
  new Map(
    nodes.map((node) => [
      prefetchWriteName(prefetchName(fetching.model.status?.prefetch?.revision ?? '', node)),
      { ...told, retryAt: 0 },
    ]),
  );
const fetching = run(asking(serving, '2'));
const two = (kind: string) => [kind, kind];

describe('a model that is to be on the nodes before its rollout', () => {
  test('the first version waits for nothing', () => {
    expect(one).toBeDefined();
    expect(serving.model.status?.prefetch).toBeUndefined();
  });

  test('is fetched by a pod on each node that runs the one before, which goes on', () => {
    expect(kinds(pass(asking(serving, '2')))).toEqual([
      'create-revision',
      'write-status',
      'create-prefetch',
      'create-prefetch',
    ]);
    expect(fetching.prefetchPods.map(({ node }) => node)).toEqual(['a', 'b']);
    expect([live(fetching), fetching.model.status?.updateRevision]).toEqual([one, one]);
    expect(conditionsOf(fetching.model)).toMatchObject({
      Ready: 'False Prefetching',
      UpToDate: 'False Prefetching',
      Reconciling: 'True Prefetching',
      Available: expect.any(String),
    });
    expect(fetching.model.status?.rollout?.message).toBe('prefetching 0/2');
    expect(kinds(pass(fetching))).toEqual([]);
  });

  test('is rolled out once every pod has ended, whatever it has come to', () => {
    const half = run(ended(fetching, 'Succeeded'));
    expect([live(half), half.model.status?.rollout?.message]).toEqual([one, 'prefetching 1/2']);
    const { state } = settle(ended(half, 'Succeeded', 'Failed'));
    expect(live(state)).not.toBe(one);
    expect(state.prefetchPods).toEqual([]);
    expect(state.model.status?.prefetch).toMatchObject({
      revision: live(state),
      finishTime: expect.any(String),
      message: '1 of 2 nodes had the model before the rollout',
    });
    expect(kinds(pass(state))).toEqual([]);
  });

  test('is waited for no longer than a rollout may take without progress, and where no pod can be made', () => {
    const late = new Date(now.getTime() + 601_000);
    const state = run(fetching, late);
    expect(live(state)).not.toBe(one);
    expect(state.model.status?.prefetch?.message).toBe('0 of 2 nodes had the model before the rollout');
    const refused = { ...fetching, prefetchPods: [] };
    expect(live(run(refused, late))).not.toBe(one);
  });

  test('what keeps a node from having it is told', () => {
    const waiting = { reason: 'ImagePullBackOff', message: 'no such image' };
    const [first, ...others] = fetching.prefetchPods;
    const stuck = pod(first?.metadata.name ?? '', '', { state: { waiting } }, { node: 'a', phase: 'Pending' });
    const metadata = { ...stuck.metadata, ...first?.metadata };
    const { model } = run({ ...fetching, prefetchPods: [{ ...stuck, metadata }, ...others] });
    const ready = model.status?.conditions?.find(({ type }) => type === 'Ready');
    expect(ready?.message).toContain('0 of 2 are done; pod ');
    expect(ready?.message).toContain('no such image');
  });

  test('is fetched to eight nodes at a time', () => {
    const many = asking({ ...serving, pods: podsOn(...'abcdefghijkl') }, '2');
    const first = run(many);
    expect(first.prefetchPods).toHaveLength(8);
    const next = run(ended(first, 'Succeeded', 'Failed', 'Succeeded'));
    expect(next.prefetchPods).toHaveLength(11);
  });

  test('is not waited for where the namespace takes no such pods, and says why', () => {
    const refusals = refusedOn(['a', 'b'], { message: 'exceeded quota', failures: 3 });
    const state = run({ ...fetching, prefetchPods: [], refusals });
    expect(live(state)).not.toBe(one);
    expect(state.model.status?.prefetch?.message).toBe('0 of 2 nodes had the model before the rollout: exceeded quota');
  });

  test('is waited for where one was refused that may be made already, and not seen yet', () => {
    const refusals = refusedOn(['a', 'b'], { message: 'already exists', failures: 1 });
    const next = pass({ ...fetching, prefetchPods: [], refusals });
    expect(kinds(next)).toContain('create-prefetch');
    expect(kinds(next)).not.toContain('apply Deployment');
  });

  test('is waited for on the other nodes where one is refused, whose turn is over', () => {
    const refusals = refusedOn(['a'], { message: 'exceeded quota', failures: 3 });
    const state = run({ ...fetching, prefetchPods: [], refusals });
    expect(state.prefetchPods.map(({ node }) => node)).toEqual(['b']);
    expect([live(state), state.model.status?.rollout?.message]).toEqual([one, 'prefetching 1/2']);
    const next = run(ended({ ...state, refusals }, 'Succeeded'));
    expect(next.model.status?.prefetch?.message).toBe('1 of 2 nodes had the model before the rollout: exceeded quota');
  });

  test('is not fetched anew to go back to what serves', () => {
    const half = run(ended(fetching, 'Succeeded', 'Succeeded'));
    expect(live(half)).not.toBe(one);
    const back = run(asking(half, '1'));
    expect([live(back), back.prefetchPods.length]).toEqual([one, 0]);
  });

  test('a pod that is being deleted, and one that runs no more, tell nothing', () => {
    const deleted = ended(fetching, 'Failed', 'Failed').prefetchPods.map((each) => ({
      ...each,
      metadata: { ...each.metadata, deletionTimestamp: 'now' },
    }));
    const state = run({ ...fetching, prefetchPods: deleted });
    expect([live(state), state.model.status?.rollout?.message]).toEqual([one, 'prefetching 0/2']);
    const failed = pod('iris-9', '', {}, { node: 'gone', phase: 'Failed' });
    expect(run(asking({ ...serving, pods: [...serving.pods, failed] }, '2')).prefetchPods).toHaveLength(2);
  });

  test('another version in the meantime takes its place, and the same again needs none', () => {
    const asked = asking(fetching, '3');
    expect(kinds(pass(asked)).slice(-4)).toEqual([...two('create-prefetch'), ...two('delete-prefetch')]);
    const { state: third } = settle(ended(run(asked), 'Succeeded', 'Succeeded'));
    expect(third.model.status?.modelVersion).toBe('3');
    expect(third.prefetchPods).toEqual([]);
    const { state: back } = settle(asking(fetching, '1'));
    expect([live(back), back.prefetchPods]).toEqual([one, []]);
  });

  test('an undo in the meantime is adopted, and does not keep it from being rolled out', () => {
    const { state: second } = settle(ended(fetching, 'Succeeded', 'Succeeded'));
    const third = run(asking(second, '3'));
    const undone = run(undo(third, one ?? ''));
    expect(conditionsOf(undone.model)).toMatchObject({ RolledBack: 'True Undo', Reconciling: expect.any(String) });
    expect(live(undone)).toBe(one);
    const { state } = settle(ended(undone, 'Succeeded', 'Succeeded'));
    expect(state.model.status).toMatchObject({ modelVersion: '3', updateRevision: live(state) });
    expect(conditionsOf(state.model)).toMatchObject({ RolledBack: 'False NotRolledBack' });
  });

  test('a model that runs nowhere is rolled out at once', () => {
    const { state } = settle(asking({ ...serving, pods: podsOn(undefined) }, '2'));
    expect(live(state)).not.toBe(one);
    expect(state.model.status?.prefetch?.message).toBe('0 of 0 nodes had the model before the rollout');
  });
});

test('the pod that fetches has its node, little memory, no probes, and nobody is sent to it', () => {
  const { revisions, model } = fetching;
  const template = revisions[1]?.data.template ?? {};
  const manifest = renderPrefetchPod(model, 'iris-x', 'a', template);
  expect(manifest).toMatchObject({
    metadata: { labels: { 'serving.slipway.dev/track': 'prefetch', 'app.kubernetes.io/name': 'slipway-prefetch' } },
    spec: { nodeName: 'a', restartPolicy: 'Never', automountServiceAccountToken: false },
  });
  const [container, ...others] = manifest.spec?.containers ?? [];
  expect(others).toEqual([]);
  expect(container?.env).toContainEqual({ name: 'SLIPWAY_PREFETCH', value: '1' });
  expect(container).toMatchObject({ resources: { limits: { memory: '256Mi' } } });
  expect(container?.resources?.limits).not.toHaveProperty('cpu');
  const [own] = template.spec?.containers ?? [];
  const limited = own === undefined ? [] : [{ ...own, resources: { limits: { cpu: '2', memory: '4Gi' } } }];
  const ofLimited = renderPrefetchPod(model, 'iris-x', 'a', {
    ...template,
    spec: { ...template.spec, containers: limited },
  });
  expect(ofLimited.spec?.containers[0]?.resources?.limits).toEqual({ cpu: '2', memory: '256Mi' });
  expect(container).not.toHaveProperty('readinessProbe');
  expect(container).not.toHaveProperty('livenessProbe');
});
