import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { podResource } from '../../operator/src/controller/caches.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { eventually } from '../eventually.ts';
import { type User, userOf } from './fault-scenarios.ts';
import { type InProcessOperator, startInProcessOperator } from './in-process-operator.ts';
import { brokenVersion, startPodLife } from './pod-life.ts';
import { makeNamespace, testClient } from './test-cluster.ts';

/** What the operator does when the world is not as it seems: behind a proxy that hides and refuses. */
const client = testClient();
let podLife: ReturnType<typeof startPodLife>;
let user: User;
let operator: InProcessOperator;
beforeAll(() => {
  podLife = startPodLife();
});
afterAll(() => podLife.stop());
beforeEach(async () => {
  user = userOf(await makeNamespace(client));
  operator = await startInProcessOperator(user.namespace);
});
afterEach(() => operator.stop());

const statusWrites = () => operator.proxy.writes.filter(({ resource }) => resource === 'modeldeployments').length;

test('an undo that the watch has not told of yet is not written over', async () => {
  await user.create({ replicas: 1 });
  await user.running('1');
  await user.change({ model: { version: '2' } });
  await user.running('2');
  await operator.quiet();
  const hidden: string[] = [];
  operator.proxy.passEvent = ({ resource }, line) => {
    if (resource !== 'deployments') return true;
    hidden.push(line);
    return false;
  };
  await user.undoTo('1');
  // Reaches the Deployment, and was decided on a view without the undo.
  await user.change({ rollout: { maxSurge: 2 } });
  await sleep(1500);
  const during = await user.models.requireChild('Deployment', 'iris');
  expect(during.spec.template.metadata.labels['app.kubernetes.io/version']).toBe('1');
  operator.proxy.passEvent = () => true;
  operator.proxy.cutWatches('deployments');
  await eventually(
    () => user.models.get('iris'),
    ({ status }) => status.rollback?.trigger === 'Undo',
  );
  await user.change({ replicas: 2 });
  await operator.quiet();
  const after = await user.models.requireChild('Deployment', 'iris');
  expect(after.spec.template.metadata.labels['app.kubernetes.io/version']).toBe('1');
  expect(after.spec.strategy.rollingUpdate.maxSurge).toBe(2);
});

test('a refusal that is told in other words each time is tried ever more rarely, and nobody else waits', async () => {
  let refusals = 0;
  operator.proxy.decide = ({ method, path }) =>
    method === 'PATCH' && path.endsWith('/deployments/iris')
      ? { kind: 'answer', status: 422, message: `denied, request ${++refusals}` }
      : { kind: 'pass' };
  await user.create();
  const condition = await user.models.condition('iris', 'Stalled', ({ reason }) => reason === 'ApplyRefused');
  expect(condition.message).toContain('denied, request 1');
  await sleep(6000);
  expect(refusals).toBeLessThanOrEqual(5);
  expect(statusWrites()).toBeLessThanOrEqual(8);
  const start = performance.now();
  await user.models.create('other');
  await user.models.settled('other');
  expect(performance.now() - start).toBeLessThan(5000);
});

test('a status that another manager owns a part of is written whole: a hold that has ended does not come back', async () => {
  await user.create({ replicas: 1 });
  await user.running('1');
  await user.change({ model: { version: '2' } });
  await user.running('2');
  await user.undoTo('1');
  const { status } = await eventually(
    () => user.models.get('iris'),
    (model) => model.status.rollback !== undefined,
  );
  await operator.quiet();
  // As a tool that restores a status does.
  await client.call(
    'PATCH',
    `/apis/serving.slipway.dev/v1alpha1/namespaces/${user.namespace}/modeldeployments/iris/status`,
    {
      contentType: 'application/apply-patch+yaml',
      query: { fieldManager: 'restore', force: true },
      body: {
        apiVersion: 'serving.slipway.dev/v1alpha1',
        kind: 'ModelDeployment',
        metadata: { name: 'iris' },
        status: { rollback: status.rollback },
      },
    },
  );
  await user.change({ model: { version: '3' } });
  await user.running('3');
  expect((await user.models.get('iris')).status.rollback).toBeUndefined();
});

describe('what cannot get on is overdue', () => {
  test('a version that arrived with no pod and fails when it is scaled up is rolled back', async () => {
    await user.create({ replicas: 1, rollout: { progressDeadlineSeconds: 2 } });
    await user.running('1');
    await user.change({ replicas: 0 });
    await user.change({ model: { version: brokenVersion } });
    await user.models.condition(
      'iris',
      'UpToDate',
      ({ status, reason }) => status === 'True' && reason === 'AllPodsUpdated',
    );
    await operator.quiet();
    await user.change({ replicas: 1 });
    await eventually(
      () => user.models.get('iris'),
      ({ status }) => status.rollback?.trigger === 'ProgressDeadline',
    );
    await eventually(
      () => user.models.requireChild('Deployment', 'iris'),
      ({ spec, status }) =>
        spec.template.metadata.labels['app.kubernetes.io/version'] === '1' && status.availableReplicas === 1,
    );
  });

  /** Version 2 serves, and no pod can be made any more. */
  async function withoutRoom(onFailure: string): Promise<void> {
    await user.create({ replicas: 1, rollout: { progressDeadlineSeconds: 2, onFailure } });
    await user.running('1');
    await user.change({ model: { version: '2' } });
    await user.running('2');
    await client.call('POST', `/api/v1/namespaces/${user.namespace}/resourcequotas`, {
      body: { metadata: { name: 'one' }, spec: { hard: { pods: '1' } } },
    });
    await sleep(1500);
    await user.undoTo('1');
  }

  test('an undo to a ReplicaSet of which no pod can be made', async () => {
    await withoutRoom('Pause');
    const condition = await user.models.condition(
      'iris',
      'Stalled',
      ({ reason }) => reason === 'ProgressDeadlineExceeded',
    );
    expect(condition.message).toMatch(/the rollback to version 1 .*exceeded quota/);
  });

  test('and is given up, where that is the policy', async () => {
    await withoutRoom('Rollback');
    await eventually(
      () => user.models.events('iris'),
      (events) => events.some(({ reason }) => reason === 'UndoFailed'),
    );
    await eventually(
      () => user.models.requireChild('Deployment', 'iris'),
      ({ spec, status }) =>
        spec.template.metadata.labels['app.kubernetes.io/version'] === '2' && status.availableReplicas === 1,
    );
    await user.models.condition('iris', 'Ready', ({ status }) => status === 'True');
  });
});

test('what cannot be found out about a stuck pod fails no pass', async () => {
  await user.create({ replicas: 1, model: { version: brokenVersion, uri: 'configmap://none/model.onnx' } });
  const [pod] = await eventually(
    () => user.models.pods(),
    (pods) => pods.length === 1,
  );
  let asked = 0;
  operator.proxy.decide = ({ method, resource }) => {
    if (resource !== 'events' || method !== 'GET') return { kind: 'pass' };
    asked++;
    return { kind: 'answer', status: 500 };
  };
  const waiting = { name: 'model', image: 'i:1', imageID: '', ready: false, restartCount: 0 };
  await sleep(5500);
  await client.call('PATCH', pathOf(podResource, user.namespace, pod?.metadata.name, 'status'), {
    contentType: 'application/merge-patch+json',
    body: {
      status: {
        conditions: [{ type: 'PodScheduled', status: 'True' }],
        containerStatuses: [{ ...waiting, state: { waiting: { reason: 'ContainerCreating' } } }],
      },
    },
  });
  await eventually(
    async () => asked,
    (count) => count > 0,
  );
  await user.change({ replicas: 2 });
  await eventually(
    () => user.models.requireChild('Deployment', 'iris'),
    ({ spec }) => spec.replicas === 2,
    { seconds: 5 },
  );
  await eventually(
    async () => asked,
    (count) => count >= 2,
  );
  expect(asked).toBeLessThan(10);
});

test('a rollout that was complete while the operator was away for longer than its deadline is not rolled back', async () => {
  await user.create({ replicas: 1, rollout: { progressDeadlineSeconds: 3 } });
  await user.running('1');
  await user.change({ model: { version: '2' } });
  await eventually(
    () => user.models.requireChild('Deployment', 'iris'),
    ({ spec }) => spec.template.metadata.labels['app.kubernetes.io/version'] === '2',
  );
  await operator.crash();
  await eventually(
    () => user.models.requireChild('Deployment', 'iris'),
    ({ spec, status }) =>
      spec.template.metadata.labels['app.kubernetes.io/version'] === '2' &&
      status.updatedReplicas === 1 &&
      status.replicas === 1,
  );
  await sleep(4000);
  operator = await startInProcessOperator(user.namespace);
  await user.running('2');
  await operator.quiet();
  const { status } = await user.models.get('iris');
  expect([status.rollback, status.modelVersion]).toEqual([undefined, '2']);
});

test('a record of somebody else with our label stops nothing', async () => {
  await user.create({ replicas: 1 });
  await user.running('1');
  // As a StatefulSet leaves it that is deleted without what it has made.
  await client.call('POST', `/apis/apps/v1/namespaces/${user.namespace}/controllerrevisions`, {
    body: {
      metadata: {
        name: 'left',
        labels: { 'serving.slipway.dev/model-deployment': 'iris', 'app.kubernetes.io/managed-by': 'slipway' },
      },
      data: { spec: { template: {} } },
      revision: 7,
    },
  });
  await user.change({ model: { version: '2' } });
  await user.running('2');
});

test('keys that cannot be read at first are tried for again, and everything else goes on', async () => {
  await operator.stop();
  let refused = 0;
  operator = await startInProcessOperator(user.namespace, (proxy) => {
    proxy.decide = ({ resource }) =>
      resource === 'secrets' && refused++ === 0 ? { kind: 'answer', status: 500 } : { kind: 'pass' };
  });
  await user.create({ replicas: 1 });
  await user.models.condition('iris', 'Linked', ({ reason }) => reason === 'NoLinkKey');
  await user.models.requireChild('Deployment', 'iris');
  await user.models.condition('iris', 'Linked', ({ reason }) => reason !== 'NoLinkKey');
  await user.models.requireChild('ConfigMap', 'iris');
});
