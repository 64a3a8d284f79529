import { describe, expect, test } from '@jest/globals';
import { decide } from '../controller/decide.ts';
import type { LiveDeployment, Observed } from '../observed.ts';
import { change, kinds, now, pass, policy, settle } from '../testing/simulation.ts';
import { modelDeployment, observed } from '../testing/test-objects.ts';

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
