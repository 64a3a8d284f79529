import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { GoldenVerdict } from '../../../contract/src/link.ts';
import { noMeasures } from '../../../contract/src/measures.ts';
import { environment } from '../../../contract/src/settings.ts';
import { fingerprintOf } from '../../../contract/src/signed-model.ts';
import { decide } from '../controller/decide.ts';
import type { LinkState, LiveDeployment, Observed } from '../observed.ts';
import type { Revision } from '../rollout/revision.ts';
import { change, kinds, now, pass, perform, policy, settle } from '../testing/simulation.ts';
import { modelDeployment, observed, pod } from '../testing/test-objects.ts';
import { modelFinding } from './findings.ts';

const model = { version: '1', uri: 'https://models.example/iris.onnx' };

describe('the conditions', () => {
  const conditionsOf = (state: Observed) => {
    const { status } = settle(state).state.model;
    return Object.fromEntries(
      (status?.conditions ?? []).map(({ type, status: value, reason }) => [type, `${value} ${reason}`]),
    );
  };

  test('of one that serves', () => {
    expect(conditionsOf(observed())).toMatchObject({
      Ready: 'True Ready',
      Available: 'True PodsServe',
      UpToDate: 'True AllPodsUpdated',
      Reconciling: 'False Settled',
      Stalled: 'False NotStalled',
      ModelLoaded: 'True Unpinned',
    });
  });

  describe('of one with a golden set', () => {
    const goldenSet = { configMapName: 'golden', key: 'golden.json', sha256: 'a'.repeat(64) };
    const { state } = settle(observed({ model: modelDeployment({ validation: { goldenSet } }) }));
    const linked = (verdict: GoldenVerdict | undefined): LinkState => {
      const signature = { inputs: [], outputs: [] };
      const model = {
        name: 'iris',
        version: '1',
        digest: `sha256:${'a'.repeat(64)}`,
        signature,
        resolvedUri: undefined,
        movedTo: undefined,
        signedBy: undefined,
        goldenSet: verdict,
      };
      return {
        kind: 'linked',
        figures: { revision: undefined, model, measures: noMeasures, passedOn: undefined, table: undefined },
      };
    };
    const told = (...verdicts: (GoldenVerdict | undefined)[]) => {
      const revision = state.model.status?.currentRevision ?? '';
      const pods = verdicts.map((_, index) => pod(`iris-${index}`, revision));
      const links = new Map(verdicts.map((verdict, index) => [`iris-${index}`, linked(verdict)]));
      const { status } = settle({ ...state, pods, links }).state.model;
      return status?.conditions?.find(({ type }) => type === 'ModelLoaded');
    };

    test('that every pod answers as', () => {
      expect(told('Passed', 'Passed')).toMatchObject({ status: 'True', reason: 'Unpinned' });
    });

    test('that one of them does not', () => {
      const message = expect.stringContaining('iris-1 does not answer as the golden set says');
      expect(told('Passed', 'Failed', undefined)).toMatchObject({
        status: 'True',
        reason: 'GoldenSetDiffers',
        message,
      });
    });

    test('that an old image knows nothing of', () => {
      const message = expect.stringContaining('iris-0, iris-2 does not tell that it has checked the golden set');
      expect(told(undefined, 'Passed', undefined)).toMatchObject({ reason: 'GoldenSetUnchecked', message });
    });

    test.each<[string, LinkState]>([
      ['was not called yet by a new leader', { kind: 'pending' }],
      ['cannot be reached', { kind: 'unlinked', why: 'Unreachable' }],
    ])('that the only pod fails, which %s: what is known of it stays', (_, link) => {
      const pods = [pod('iris-0', state.model.status?.currentRevision ?? '')];
      const known = settle({ ...state, pods, links: new Map([['iris-0', linked('Failed')]]) }).state;
      const unknown = settle({ ...known, links: new Map([['iris-0', link]]) }).state;
      const of = ({ model }: Observed) => model.status?.conditions?.find(({ type }) => type === 'ModelLoaded');
      expect(of(unknown)).toEqual(of(known));
      const passed = settle({ ...unknown, links: new Map([['iris-0', linked('Passed')]]) }).state;
      expect(of(passed)).toMatchObject({ reason: 'Unpinned' });
    });
  });

  describe('of one that has to be signed', () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const fingerprint = fingerprintOf(publicKey);
    const signature = { publicKey: publicKey.export({ format: 'pem', type: 'spki' }).toString() };
    const asked = modelDeployment();
    const spec = { ...asked.spec, model: { ...asked.spec.model, signature } };
    const { state } = settle(observed({ model: { ...asked, spec } }));
    const linked = (signedBy: string | undefined): LinkState => {
      const model = {
        name: 'iris',
        version: '1',
        digest: `sha256:${'a'.repeat(64)}`,
        signature: { inputs: [], outputs: [] },
        resolvedUri: undefined,
        movedTo: undefined,
        signedBy,
        goldenSet: undefined,
      };
      const figures = { revision: undefined, model, measures: noMeasures, passedOn: undefined, table: undefined };
      return { kind: 'linked', figures };
    };
    const withPods = (before: Observed, ...links: readonly LinkState[]) => {
      const pods = links.map((_, index) => pod(`iris-${index}`, state.model.status?.currentRevision ?? ''));
      const known = new Map(links.map((link, index) => [`iris-${index}`, link]));
      return settle({ ...before, pods, links: known }).state;
    };
    const loaded = ({ model }: Observed) => model.status?.conditions?.find(({ type }) => type === 'ModelLoaded');

    test('by the key that has', () => {
      expect(loaded(withPods(state, linked(fingerprint), { kind: 'pending' }))).toMatchObject({
        status: 'True',
        message: expect.stringContaining(`the model is loaded, signed by the key ${fingerprint}`),
      });
    });

    test('which nobody has told yet, or another key has', () => {
      for (const link of [{ kind: 'pending' }, { kind: 'unlinked', why: 'Unreachable' }] as const)
        expect(loaded(withPods(state, link))?.message).not.toContain('signed by');
      expect(loaded(withPods(state, linked('f'.repeat(64))))).toMatchObject({ reason: 'SignatureUnchecked' });
    });

    test('by pods that have not looked, which stays known', () => {
      const unchecked = withPods(state, linked(fingerprint), linked(undefined), { kind: 'unlinked', why: 'NoLink' });
      expect(loaded(unchecked)).toMatchObject({
        status: 'False',
        reason: 'SignatureUnchecked',
        message: expect.stringContaining('iris-1, iris-2 does not tell that its signature was checked'),
      });
      expect(loaded(withPods(unchecked, linked(fingerprint), { kind: 'pending' }))).toEqual(loaded(unchecked));
      expect(loaded(withPods(unchecked, linked(fingerprint)))).toMatchObject({ status: 'True' });
    });

    test('which is told before anything of its golden set', () => {
      const goldenSet = { configMapName: 'golden', key: 'golden.json', sha256: 'a'.repeat(64) };
      const both = settle(observed({ model: { ...asked, spec: { ...spec, validation: { goldenSet } } } })).state;
      const pods = [pod('iris-0', both.model.status?.currentRevision ?? '')];
      const of = (link: LinkState) => loaded(settle({ ...both, pods, links: new Map([['iris-0', link]]) }).state);
      expect(of(linked(undefined))).toMatchObject({ status: 'False', reason: 'SignatureUnchecked' });
      expect(of(linked(fingerprint))).toMatchObject({ status: 'True', reason: 'GoldenSetUnchecked' });
    });

    test.each([
      ['asked to', () => true, 'set spec.runtime.image to a newer one'],
      [
        'asked to by the template of an operator that knew nothing of it',
        (name: string) => name !== environment.modelSignatureKey,
        'ask for another spec.model.version',
      ],
    ])('and what to do where pods do not look, being %s', (_, isRendered, advice) => {
      const [revision] = state.revisions;
      if (revision === undefined) throw new Error('there is no revision');
      const { template } = revision.data;
      const containers = (template.spec?.containers ?? []).map((container) => ({
        ...container,
        env: (container.env ?? []).filter(({ name }) => isRendered(name)),
      }));
      const changed = { ...template, spec: { ...template.spec, containers } };
      const old: Revision = { ...revision, data: { ...revision.data, template: changed } };
      const pods = [pod('iris-0', revision.metadata.name)];
      const seen = { ...state, pods, links: new Map([['iris-0', linked(undefined)]]) };
      const { message } = modelFinding(seen, old, { kind: 'complete', wanted: 1 });
      expect(message).toContain(advice);
    });
  });

  test('of one whose pods are loading', () => {
    const starting = pass(observed()).writes.reduce(perform, observed());
    const loading = new Map([
      ['iris-1', { stage: 'opening' as const, bytes: 5, totalBytes: 5, seconds: 12, startTime: 0 }],
    ]);
    const [revision] = starting.revisions;
    const pods = [pod('iris-1', revision?.metadata.name ?? '')];
    const { writes } = pass({ ...starting, pods, loading });
    const status = writes.find(({ kind }) => kind === 'write-status');
    const conditions = status?.kind === 'write-status' ? (status.status.conditions ?? []) : [];
    const told = Object.fromEntries(conditions.map(({ type, reason, message }) => [type, `${reason}: ${message}`]));
    const busy = 'pod iris-1 opens the model, which it began to load at 00:00:00';
    expect(told).toMatchObject({
      ModelLoaded: `Loading: no pod has loaded the model yet: ${busy}`,
      Ready: `RollingOut: version 1 is being rolled out: 0 of 1 pods: ${busy}`,
    });
  });

  test('of one that is scaled to zero', () => {
    expect(conditionsOf(observed({ model: modelDeployment({ replicas: 0 }) }))).toMatchObject({
      Ready: 'False ScaledToZero',
      Available: 'False ScaledToZero',
      UpToDate: 'True AllPodsUpdated',
    });
  });

  test('of one that scales: it is up to date, and ready as long as a pod serves', () => {
    const { state } = settle(observed({ model: modelDeployment({ replicas: 4 }) }));
    const scaled = (available: number): Observed => {
      const progressing = { type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable' };
      const status = { ...state.deployment?.status, availableReplicas: available, conditions: [progressing] };
      return { ...state, deployment: { ...state.deployment, status } as LiveDeployment };
    };
    const of = (available: number) => {
      const write = pass(scaled(available)).writes.find(({ kind }) => kind === 'write-status');
      const conditions = write?.kind === 'write-status' ? (write.status.conditions ?? []) : [];
      return Object.fromEntries(conditions.map(({ type, status: value, reason }) => [type, `${value} ${reason}`]));
    };
    expect(of(2)).toMatchObject({
      Ready: 'True Ready',
      Available: 'True PodsServe',
      UpToDate: 'True AllPodsUpdated',
      Reconciling: 'True Scaling',
    });
    expect(of(0)).toMatchObject({
      Ready: 'False NoPodServes',
      Available: 'False NoPodServes',
      UpToDate: 'True AllPodsUpdated',
    });
    expect(pass(scaled(2)).events).toEqual([]);
  });

  test('of one whose name is taken for an autoscaler while it serves', () => {
    const { state } = settle(observed());
    const conflicts = [{ kind: 'HorizontalPodAutoscaler', name: 'iris', owner: 'somebody' } as const];
    const decision = pass({ ...state, conflicts });
    const [write] = decision.writes;
    const conditions = write?.kind === 'write-status' ? (write.status.conditions ?? []) : [];
    const summary = Object.fromEntries(conditions.map(({ type, status: value }) => [type, value]));
    expect(summary).toMatchObject({ Ready: 'False', Available: 'True', Stalled: 'True' });
  });

  test('of one that the API server refuses, which is tried again in a while', () => {
    const refusal = { message: 'spec is invalid', failures: 1, retryAt: now.getTime() + 1000 };
    const decision = pass(observed({ refusals: new Map([['apply Deployment', refusal]]) }));
    expect(decision.requeueAfterMilliseconds).toBe(1000);
    expect(kinds(decision)).toEqual(['create-revision', 'write-status', 'apply ConfigMap', 'apply Service']);
    const [, write] = decision.writes;
    const conditions = write?.kind === 'write-status' ? (write.status.conditions ?? []) : [];
    expect(conditions.find(({ type }) => type === 'Stalled')).toMatchObject({
      status: 'True',
      reason: 'ApplyRefused',
      message: expect.stringContaining('the API server refuses the Deployment: spec is invalid'),
    });
  });

  test('of one whose revision cannot be recorded: nothing else is done, and the status says so', () => {
    const refusal = { message: 'exceeded quota', failures: 2, retryAt: now.getTime() + 1000 };
    const settled = settle(observed()).state;
    const state = change(settled, { model: { ...model, version: '2' } });
    const decision = pass({ ...state, refusals: new Map([['create-revision', refusal]]) });
    expect(kinds(decision)).toEqual(['write-status']);
    const [write] = decision.writes;
    expect(write?.kind === 'write-status' && write.status.updateRevision).toBe(settled.model.status?.updateRevision);
    expect(write?.kind === 'write-status' && write.status.conditions).toContainEqual(
      expect.objectContaining({ reason: 'ApplyRefused', message: expect.stringContaining('ControllerRevision') }),
    );
  });

  test('tell of no refusal of what is not wanted any more', () => {
    const { state } = settle(observed());
    const refusal = { message: 'spec is invalid', failures: 9, retryAt: now.getTime() + 60_000 };
    expect(pass({ ...state, refusals: new Map([['apply Deployment', refusal]]) }).writes).toEqual([]);
  });

  test('keep the time of their transition for as long as their status is the same', () => {
    const { state } = settle(observed());
    const later = decide(
      change(state, { replicas: 1, rollout: { maxSurge: 2 } }),
      new Date('2026-02-01T00:00:00Z'),
      policy,
    );
    const [write] = later.writes;
    const times =
      write?.kind === 'write-status'
        ? (write.status.conditions ?? []).map(({ lastTransitionTime }) => lastTransitionTime)
        : [];
    expect(new Set(times)).toEqual(new Set(['2026-01-01T00:00:00Z']));
  });

  test('say what a revision of an older operator cannot do, and restart nothing', () => {
    const { state } = settle(observed());
    const revisions = state.revisions.map((revision) => ({
      ...revision,
      data: { ...revision.data, renderVersion: 1 },
    }));
    const decision = pass({ ...state, revisions });
    expect(kinds(decision)).toEqual(['write-status']);
    const [write] = decision.writes;
    expect(write?.kind === 'write-status' && write.status.conditions).toContainEqual(
      expect.objectContaining({ type: 'UpToDate', status: 'True', message: expect.stringContaining('no link') }),
    );
  });
});
