import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually, exampleAnswers, type Scenario, startScenario } from './scenario.ts';

/** A canary whose requests reach it by the Service alone: nobody passes them on, as for images that are not ours. */
let scenario: Scenario;
let load: Awaited<ReturnType<Scenario['startLoad']>>;
const { inputs } = exampleAnswers('iris', '1');

const ask = (version: string, model: string, rollout: object) =>
  scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: scenario.namespace },
    spec: {
      model: { version, uri: `configmap://${model}/model.onnx` },
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
      replicas: 2,
      rollout,
    },
  });
const status = (field: string) => scenario.field('mdeploy/iris', `{.status.${field}}`);
const canary = async () => [await status('rollout.canary.state'), await status('rollout.canary.weight')].join(' ');
const answersOf = async (requests: number) => {
  const before = await load.stats();
  const after = await eventually(load.stats, ({ answered }) => answered >= before.answered + requests);
  const since = (version: string) => (after.versions[version] ?? 0) - (before.versions[version] ?? 0);
  return Object.fromEntries(Object.keys(after.versions).map((version) => [version, since(version)]));
};
const analysis = { intervalSeconds: 5, minRequests: 20 };

beforeAll(async () => {
  scenario = await startScenario();
  await scenario.apply('iris.yaml');
  await scenario.apply('iris-2.yaml');
  await scenario.kubectl(['delete', 'mdeploy', '--all']);
  await ask('1', 'iris-1', { strategy: 'Canary', canary: { routing: 'Replicas' }, analysis });
  await scenario.waitReady('iris', 120);
  load = await scenario.startLoad('clients', {
    url: `http://iris.${scenario.namespace}.svc.cluster.local/v2/models/iris/infer`,
    body: { inputs },
    connections: 8,
    seconds: 600,
    pauseMilliseconds: 20,
    // A kept connection stays with the pod that it was made to.
    keepsConnections: false,
  });
}, 300_000);
afterAll(() => scenario.end());

test('the Service has the pods of both, and then of the new version alone', async () => {
  const canarySteps = { routing: 'Replicas', steps: [{ weight: 50, hold: 'Manual' }] };
  await ask('2', 'iris-2', { strategy: 'Canary', canary: canarySteps, analysis });
  await eventually(canary, (state) => state === 'Holding 50', 120);
  expect(await scenario.field('deployment/iris-canary', '{.spec.replicas}')).toBe('2');
  await eventually(
    () => answersOf(300),
    (answers) => (answers['1'] ?? 0) > 50 && (answers['2'] ?? 0) > 50,
    60,
  );
  await scenario.slipway(['resume', 'iris']);
  await eventually(
    () => status('rollout.message'),
    (message) => message === 'complete',
    180,
  );
  expect(await answersOf(300)).toMatchObject({ 1: 0 });
}, 400_000);

test('blue-green switches the Service, and an undo switches it back', async () => {
  const blueGreen = { routing: 'Replicas', holdSeconds: 5, soakSeconds: 600 };
  await ask('3', 'iris-1', { strategy: 'BlueGreen', blueGreen, analysis });
  await eventually(canary, (state) => state === 'Holding 100', 120);
  expect(await scenario.field('service/iris', '{.spec.selector.serving\\.slipway\\.dev/track}')).toBe('canary');
  await scenario.slipway(['undo', 'iris']);
  await eventually(
    () => status('rollout.message'),
    (message) => message === 'rolled back to 2',
    120,
  );
  await eventually(
    () => answersOf(100),
    (answers) => answers['3'] === 0,
    60,
  );
}, 400_000);

test('in all of that, not one request has failed', async () => {
  const { failed, failures } = await load.stop();
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
});
