import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually, exampleAnswers, predict, type Scenario, startScenario } from './scenario.ts';

let scenario: Scenario;
beforeAll(async () => {
  scenario = await startScenario({
    'pod-security.kubernetes.io/enforce': 'restricted',
    'pod-security.kubernetes.io/enforce-version': 'latest',
  });
});
afterAll(() => scenario.end());

const { inputs, outputs } = exampleAnswers('iris', '1');

test('a ModelDeployment is applied, becomes Ready in a restricted namespace, and predicts as scikit-learn', async () => {
  await scenario.apply('iris.yaml');
  await scenario.waitReady('iris');
  const answer = await predict(scenario, 'iris', inputs);
  expect(answer.model_version).toBe('1');
  expect(answer.outputs.find(({ name }) => name === 'label')?.data).toEqual(outputs['label']);
  const columns = await scenario.kubectl(['get', 'mdeploy', 'iris', '-o', 'wide', '--no-headers']);
  expect(columns).toMatch(
    /^iris\s+True\s+1\s+complete\s+2\s+\S+\s+iris-\S+\s+sha256:[a-f0-9]{64}\s+http:\/\/iris\.\S+\.svc\/v2\/models\/iris\s+Ready/,
  );
});

test('the next version takes over under constant requests, and not one of them fails', async () => {
  // Pods of a load client are not restricted; they are in a namespace of their own.
  const clients = await startScenario();
  try {
    const url = `http://iris.${scenario.namespace}.svc.cluster.local/v2/models/iris/infer`;
    const load = await clients.startLoad('clients', {
      url,
      body: { inputs },
      connections: 8,
      seconds: 100,
      pauseMilliseconds: 5,
    });
    await eventually(load.stats, ({ answered }) => answered > 100);
    await scenario.apply('iris-2.yaml');
    expect(await scenario.kubectl(['rollout', 'status', 'deployment/iris', '--timeout=60s'])).toContain(
      'successfully rolled out',
    );
    await scenario.waitReady('iris');
    await eventually(
      () => scenario.kubectl(['get', 'pods', '-o', 'name']),
      (pods) => pods.trim().split('\n').length === 2,
      90,
    );
    const before = await load.stats();
    await eventually(load.stats, ({ versions }) => (versions['2'] ?? 0) > (before.versions['2'] ?? 0) + 100);
    const { answered, failed, failures, versions } = await load.stop();
    expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
    expect(versions['1']).toBeGreaterThan(0);
    expect(versions['2']).toBeGreaterThan(0);
    expect(answered).toBeGreaterThan(500);
  } finally {
    await clients.end();
  }
  expect(await scenario.field('mdeploy/iris', '{.status.modelVersion}')).toBe('2');
}, 180_000);

test('kubectl rollout history tells the versions', async () => {
  const history = await scenario.kubectl(['rollout', 'history', 'deployment/iris']);
  expect(history).toMatch(/1\s+version 1, sha256:[a-f0-9]{12}/);
  expect(history).toMatch(/2\s+version 2, sha256:[a-f0-9]{12}/);
});

test('kubectl rollout restart restarts the pods, and kubectl scale changes their number', async () => {
  const before = await scenario.kubectl(['get', 'pods', '-o', 'name']);
  await scenario.kubectl(['rollout', 'restart', 'deployment/iris']);
  await scenario.kubectl(['rollout', 'status', 'deployment/iris', '--timeout=60s']);
  await eventually(
    () => scenario.kubectl(['get', 'pods', '--field-selector=status.phase=Running', '-o', 'name']),
    (pods) => pods.split('\n').every((pod) => pod === '' || !before.includes(pod)),
    90,
  );
  await scenario.kubectl(['scale', 'mdeploy/iris', '--replicas=3']);
  await eventually(
    () => scenario.field('mdeploy/iris', '{.status.readyReplicas}'),
    (ready) => ready === '3',
  );
  await scenario.waitReady('iris');
  const events = await scenario.kubectl(['get', 'events', '-o', 'jsonpath={.items[*].reason}']);
  expect(events).not.toContain('DriftRepaired');
});

test('deleting it leaves nothing behind', async () => {
  await scenario.kubectl(['delete', 'mdeploy/iris']);
  const kinds = 'deployments,replicasets,pods,services,hpa,pdb,controllerrevisions,mdeploy';
  await eventually(
    () => scenario.kubectl(['get', kinds, '-o', 'name']),
    (left) => left.trim() === '',
    120,
  );
}, 150_000);
