import { describe, expect, test } from '@jest/globals';
import type { KubeClient } from '../kube/client.ts';
import type { LiveChild } from '../observed.ts';
import type { LiveRoute } from '../rollout/routes.ts';
import { modelDeployment } from '../testing/test-objects.ts';
import { Caches } from './caches.ts';
import { createExecutor } from './execute.ts';
import { Memory, ModelMemory } from './memory.ts';

const hour = 3_600_000;
const manifest = { spec: { replicas: 2 } };
const answer = (replicas: number, resourceVersion: string): LiveChild<unknown> => ({
  metadata: { name: 'iris', uid: 'u', resourceVersion },
  spec: { replicas },
  applied: undefined,
  intruders: [],
});

describe('an apply to a child that is there', () => {
  test('is counted for as long as the same is applied within an hour', () => {
    const memory = new ModelMemory();
    const repairs = () => memory.attempts.get('Deployment')?.repairs;
    memory.applied('Deployment', manifest, '1', answer(2, '2'), 0);
    memory.applied('Deployment', manifest, '3', answer(2, '4'), 1000);
    expect(repairs()).toBe(2);
    memory.applied('Deployment', { spec: { replicas: 3 } }, '4', answer(3, '5'), 2000);
    expect(repairs()).toBe(1);
    memory.applied('Deployment', { spec: { replicas: 3 } }, '5', answer(3, '6'), 2000 + hour);
    expect(repairs()).toBe(1);
  });

  test('patches of a route are counted for as long as they give it the same share', () => {
    const memory = new ModelMemory();
    const repairs = () => memory.routeRepairs.get('HTTPRoute iris')?.repairs;
    for (const at of [0, 1000]) memory.routePatched('HTTPRoute iris', '20', at);
    expect(repairs()).toBe(2);
    memory.routePatched('HTTPRoute iris', '50', 2000);
    expect(repairs()).toBe(1);
    memory.decidedAnew();
    expect(repairs()).toBeUndefined();
  });

  test('a Gateway is waited for to take a route as it is, and one that stands still not for long', () => {
    const memory = new ModelMemory();
    const route = (generation: number, ...observed: readonly number[]): LiveRoute => ({
      metadata: { name: 'iris', resourceVersion: String(generation), generation },
      status: {
        parents: observed.map((observedGeneration) => ({
          conditions: [{ type: 'Accepted', status: 'True', observedGeneration }],
        })),
      },
    });
    const isWaitedFor = (of: LiveRoute, seconds: number) => memory.isWaitedFor('HTTPRoute iris', of, seconds * 1000);
    expect(isWaitedFor(route(1, 1), 0)).toBe(false);
    // However far behind it is: what it sends requests to must not go.
    expect([isWaitedFor(route(5, 2), 10), isWaitedFor(route(5, 2), 69), isWaitedFor(route(5, 2), 70)]).toEqual([
      true,
      true,
      false,
    ]);
    // One of another Gateway, which is gone, beside one that is there.
    expect([isWaitedFor(route(6, 6, 1), 71), isWaitedFor(route(6, 6, 1), 131)]).toEqual([true, false]);
    expect(isWaitedFor(route(6, 6), 132)).toBe(false);
  });

  test('was resisted when it changed nothing, or was changed back, until the object is another', () => {
    const memory = new ModelMemory();
    const resisted = () => memory.attempts.get('Deployment')?.resisted;
    memory.applied('Deployment', manifest, '1', answer(2, '1'), 0);
    expect(resisted()).toBe(true);
    memory.applied('Deployment', manifest, '1', answer(5, '2'), 0);
    expect(resisted()).toBe(true);
    memory.childChanged('Deployment', answer(5, '3'));
    expect(resisted()).toBe(true);
    memory.childChanged('Deployment', answer(6, '4'));
    expect(resisted()).toBe(false);
    memory.applied('Deployment', manifest, '4', answer(2, '5'), 0);
    expect(resisted()).toBe(false);
  });
});

test('what is decided anew is no quarrel about what was wanted before: undos are answered, however many there were', async () => {
  const memory = new Memory();
  const model = modelDeployment();
  const client: KubeClient = {
    call: async <T>() => ({ metadata: { resourceVersion: '2' } }) as T,
    watch: () => {
      throw new Error('nothing is watched');
    },
  };
  const executor = createExecutor(model, { client, caches: new Caches(), memory, now: () => 0 });
  const repairs = () => memory.of(model).attempts.get('Deployment')?.repairs;
  for (let undo = 0; undo < 9; undo++) memory.of(model).applied('Deployment', manifest, '1', answer(2, '2'), undo);
  expect(repairs()).toBe(9);
  await executor.execute({ kind: 'write-status', status: {} });
  expect(repairs()).toBe(9);
  const time = '2026-01-01T00:00:00Z';
  const rollback = { fromRevision: 'b', toRevision: 'a', trigger: 'Undo' as const, time };
  await executor.execute({ kind: 'write-status', status: { rollback } });
  expect(repairs()).toBeUndefined();
});

test('a refusal is news once, whatever its words, and is tried again after a second, two, ... a minute', () => {
  const memory = new ModelMemory();
  const news = [1, 2, 3].map((request) => memory.refused('apply Service', `denied, request ${request}`, 0));
  expect(news).toEqual([true, false, false]);
  expect(memory.refusals.get('apply Service')).toEqual({ message: 'denied, request 3', failures: 3, retryAt: 4000 });
  for (let more = 0; more < 10; more++) memory.refused('apply Service', 'denied', 0);
  expect(memory.refusals.get('apply Service')?.retryAt).toBe(60_000);
  memory.taken('apply Service');
  expect(memory.refused('apply Service', 'denied', 0)).toBe(true);
});

test('a changed spec makes all of it void; a model that is made anew begins afresh', () => {
  const memory = new Memory();
  const model = modelDeployment();
  memory.of(model).refused('apply Service', 'denied', 0);
  memory.of(model).applied('Deployment', manifest, '1', answer(2, '1'), 0);
  memory.of(model).specChanged();
  expect([memory.of(model).refusals.size, memory.of(model).attempts.size]).toEqual([0, 0]);
  memory.of(model).refused('apply Service', 'denied', 0);
  const anew = { ...model, metadata: { ...model.metadata, uid: 'another' } };
  expect(memory.of(anew).refusals.size).toBe(0);
  memory.forget(model);
  expect(memory.of(model).refusals.size).toBe(0);
});
