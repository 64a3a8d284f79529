import { describe, expect, test } from '@jest/globals';
import type { LiveDeployment, LiveReplicaSet } from '../observed.ts';
import { perform, settle } from '../testing/simulation.ts';
import { observed } from '../testing/test-objects.ts';
import { desiredReplicasAnnotation, forgottenScaling } from './forgotten-scaling.ts';

const replicaSet = (name: string, replicas: number, noted: string | undefined): LiveReplicaSet => ({
  metadata: {
    name,
    namespace: 'n',
    uid: name,
    resourceVersion: '7',
    ...(noted === undefined ? {} : { annotations: { [desiredReplicasAnnotation]: noted } }),
  },
  revision: name,
  fingerprint: name,
  isEmpty: replicas === 0,
  replicas,
});

const { state } = settle(observed());
const deploymentOf = (replicas: number, { seen = true, updatedReplicas = 0, paused = false } = {}): LiveDeployment => {
  const { deployment } = state;
  if (deployment === undefined) throw new Error('there is no Deployment');
  const generation = 5;
  return {
    ...deployment,
    metadata: { ...deployment.metadata, generation },
    spec: { ...deployment.spec, replicas, paused },
    status: { ...deployment.status, updatedReplicas, observedGeneration: seen ? generation : generation - 1 },
  };
};
const found = (deployment: LiveDeployment, ...replicaSets: LiveReplicaSet[]) =>
  forgottenScaling(deployment, replicaSets)?.metadata.name;

describe('a scaling that the Deployment\u2019s controller has forgotten', () => {
  test('is one of the only ReplicaSet that has pods, and as many as it should', () => {
    expect(found(deploymentOf(1), replicaSet('old', 1, '2'), replicaSet('new', 0, '2'))).toBe('old');
    expect(found(deploymentOf(2), replicaSet('new', 2, '5'), replicaSet('old', 0, '1'))).toBe('new');
  });

  test.each<[string, LiveDeployment, readonly LiveReplicaSet[]]>([
    ['is noted rightly', deploymentOf(1), [replicaSet('old', 1, '1'), replicaSet('new', 0, '2')]],
    ['is noted nowhere', deploymentOf(1), [replicaSet('old', 1, undefined)]],
    ['is yet to be seen', deploymentOf(1, { seen: false }), [replicaSet('old', 1, '2')]],
    ['matters not, for all is rolled out', deploymentOf(1, { updatedReplicas: 1 }), [replicaSet('new', 1, '2')]],
    ['is not to go on', deploymentOf(1, { paused: true }), [replicaSet('old', 1, '2')]],
    ['is yet to be done', deploymentOf(1), [replicaSet('old', 2, '2')]],
    ['is of two', deploymentOf(1), [replicaSet('old', 1, '2'), replicaSet('new', 1, '2')]],
    ['is of none', deploymentOf(0), [replicaSet('old', 0, '2')]],
  ])('is none where it %s', (_, deployment, replicaSets) => {
    expect(found(deployment, ...replicaSets)).toBeUndefined();
  });

  test('is forgotten, once, for either track', () => {
    const old = replicaSet('old', 1, '3');
    const stuck = { ...state, deployment: deploymentOf(1), replicaSets: [old] };
    const { passes, state: after } = settle(stuck);
    const writes = passes.flatMap((one) => one.writes);
    expect(writes.filter(({ kind }) => kind === 'forget-scaling')).toEqual([
      { kind: 'forget-scaling', name: 'old', resourceVersion: '7' },
    ]);
    expect(after.replicaSets[0]?.metadata.annotations).toEqual({});
    expect(settle(after).passes.flatMap((one) => one.writes)).toEqual([]);
    const ofCanary = { ...stuck, replicaSets: [], canaryDeployment: deploymentOf(1), canaryReplicaSets: [old] };
    expect(
      perform(ofCanary, { kind: 'forget-scaling', name: 'old', resourceVersion: '7' }).canaryReplicaSets[0],
    ).toMatchObject({ metadata: { annotations: {} } });
  });
});
