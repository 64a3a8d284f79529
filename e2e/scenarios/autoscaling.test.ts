import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually, exampleAnswers, type Scenario, startScenario } from './scenario.ts';

let scenario: Scenario;
beforeAll(async () => {
  scenario = await startScenario();
});
afterAll(() => scenario.end());

const { inputs } = exampleAnswers('digits', '1');

test('pods come with real CPU load, and go with it', async () => {
  await scenario.apply('digits.yaml');
  await scenario.waitReady('digits');
  expect(await scenario.field('mdeploy/digits', '{.status.readyReplicas}')).toBe('1');
  const url = `http://digits.${scenario.namespace}.svc.cluster.local/v2/models/digits/infer`;
  const load = await scenario.startLoad('clients', { url, body: { inputs }, connections: 4, seconds: 150 });
  await eventually(
    () => scenario.field('mdeploy/digits', '{.status.readyReplicas}'),
    (ready) => Number(ready) >= 2,
    120,
  );
  const active = await scenario.field('mdeploy/digits', '{.status.conditions[?(@.type=="AutoscalingActive")].status}');
  expect(active).toBe('True');
  const { failed, failures } = await load.stop();
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
  await eventually(
    () => scenario.field('mdeploy/digits', '{.status.replicas}'),
    (replicas) => replicas === '1',
    150,
  );
}, 360_000);

test('kubectl scale is refused with the way out while the autoscaler has the pods', async () => {
  await expect(scenario.kubectl(['scale', 'mdeploy/digits', '--replicas=2'])).rejects.toThrow(
    'Change spec.autoscaling.minReplicas and maxReplicas',
  );
});
