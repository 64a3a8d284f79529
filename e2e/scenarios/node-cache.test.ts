import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { network } from '../cluster/node.ts';
import { portOf } from '../free-port.ts';
import { setInChart } from './chart-setting.ts';
import { eventually, exampleAnswers, predict, type Scenario, startScenario } from './scenario.ts';

/** Models that the cache of a node keeps, with the chart's own DaemonSet, in namespaces where Pod Security enforces `restricted`. */
const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const daemonSet = ['-n', 'slipway-system', 'rollout', 'status', 'daemonset/slipway-node-cache', '--timeout=120s'];

let scenario: Scenario;
let others: Scenario;
let store: Server;
let asked = 0;
/** The version of the example that the store has. */
let served = '1';
const bytesServed = () => readFileSync(exampleModel('iris', served).path);

beforeAll(async () => {
  store = createServer((_request, response) => {
    asked += 1;
    response.end(bytesServed());
  });
  await new Promise<void>((resolve) => store.listen(0, network.hostAddress, resolve));
  scenario = await startScenario(restricted);
  others = await startScenario(restricted);
  await setInChart(scenario, 'nodeCache.enabled=true');
  await scenario.kubectl(daemonSet);
}, 300_000);
afterAll(async () => {
  store.close();
  await scenario.end();
  await others.end();
  await setInChart(scenario, 'nodeCache.enabled=false');
}, 180_000);

async function ask(
  { apply, namespace }: Scenario,
  version: string,
  replicas: number,
  rollout: object = {},
): Promise<void> {
  await apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace },
    spec: {
      model: {
        version,
        uri: `http://${network.hostAddress}:${portOf(store)}/iris.onnx`,
        sha256: createHash('sha256').update(bytesServed()).digest('hex'),
      },
      replicas,
      runtime: { cache: 'Node' },
      rollout,
      resources: { requests: { cpu: '50m', memory: '128Mi' } },
    },
  });
}

/** What the pods of a model say of where they have it from. */
async function origins({ kubectl }: Scenario, version = '1'): Promise<readonly string[]> {
  const ofVersion = `serving.slipway.dev/model-deployment=iris,app.kubernetes.io/version=${version}`;
  const logs = await kubectl(['logs', '-l', ofVersion, '--tail=-1']);
  return Array.from(logs.matchAll(/"from":"(\w+)"/g), ([, from = '']) => from).sort();
}

const logged = (text: string) =>
  eventually(
    () => scenario.kubectl(['logs', '-l', 'serving.slipway.dev/model-deployment=iris', '--tail=-1']),
    (logs) => logs.includes(text),
  );

test('the second pod of a node has the model from its cache, and asks no store', async () => {
  await ask(scenario, '1', 1);
  await scenario.waitReady('iris');
  await logged('the cache of the node has the model now');
  expect(asked).toBe(1);
  await ask(scenario, '1', 3);
  await eventually(
    () => scenario.field('mdeploy/iris', '{.status.readyReplicas}'),
    (ready) => ready === '3',
  );
  expect(await origins(scenario)).toEqual(['NodeCache', 'NodeCache', 'Store']);
  expect(asked).toBe(1);
  const { inputs, outputs } = exampleAnswers('iris', '1');
  const answer = await predict(scenario, 'iris', inputs);
  expect(answer.outputs.find(({ name }) => name === 'label')?.data).toEqual(outputs['label']);
}, 180_000);

test('a model of another namespace with the same bytes is fetched from its store', async () => {
  await ask(others, '1', 1);
  await others.waitReady('iris');
  expect(await origins(others)).toEqual(['Store']);
  expect(asked).toBe(2);
}, 120_000);

test('a settled model is not written again because of its token', async () => {
  const version = () => scenario.field('deployment/iris', '{.metadata.generation}');
  const before = await version();
  await scenario.kubectl(['annotate', 'mdeploy/iris', 'example.com/touched=yes']);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect(await version()).toBe(before);
});

test('a version that is to be on the nodes before is fetched there, and then rolled out', async () => {
  // Bytes that no cache has yet, so that there is something to fetch.
  served = '2';
  const before = asked;
  await ask(scenario, '2', 2, { prefetch: 'Nodes' });
  await eventually(
    () => scenario.field('mdeploy/iris', '{.status.prefetch.message}'),
    (message) => message === '1 of 1 nodes had the model before the rollout',
  );
  await scenario.waitReady('iris', 120);
  expect(await scenario.field('mdeploy/iris', '{.status.modelVersion}')).toBe('2');
  expect(asked).toBe(before + 1);
  expect(await origins(scenario, '2')).toEqual(['NodeCache', 'NodeCache']);
  expect(await scenario.field('pods', '{.items[*].metadata.name}')).not.toContain('prefetch');
}, 180_000);

test('a cache that is away costs time, and not the start', async () => {
  await scenario.kubectl(['-n', 'slipway-system', 'delete', 'daemonset/slipway-node-cache', '--wait']);
  await ask(scenario, '3', 1);
  await eventually(
    () => scenario.field('mdeploy/iris', '{.status.modelVersion}'),
    (version) => version === '3',
    120,
  );
  await logged('the cache of the node is no help');
  await setInChart(scenario, 'nodeCache.enabled=true');
  await scenario.kubectl(daemonSet);
}, 300_000);
