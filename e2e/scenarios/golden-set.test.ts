import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually, exampleAnswers, predict, type Scenario, startScenario } from './scenario.ts';

/** A pod asks its model what a golden set has before it is ready (spec.validation.goldenSet). */
let scenario: Scenario;
beforeAll(async () => {
  scenario = await startScenario({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  // For their ConfigMaps as well.
  await scenario.apply('iris.yaml');
  await scenario.apply('iris-2.yaml');
  await scenario.kubectl(['delete', 'mdeploy', '--all']);
  const right = await putGoldenSet(answers.outputs['label']);
  await ask('1', { goldenSet: right });
  await scenario.waitReady('iris');
});
afterAll(() => scenario.end());

const answers = exampleAnswers('iris', '1');

/** Writes a set that expects these labels. @returns what the spec says of it */
async function putGoldenSet(labels: unknown) {
  const data = [labels].flat();
  const response = { outputs: [{ name: 'label', datatype: 'INT64', shape: [data.length], data }] };
  const text = JSON.stringify({ requests: [{ name: 'flowers', request: { inputs: answers.inputs }, response }] });
  await scenario.apply({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'iris-golden', namespace: scenario.namespace },
    data: { 'golden.json': text },
  });
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { configMapName: 'iris-golden', key: 'golden.json', sha256 };
}

async function ask(version: string, validation: object): Promise<void> {
  await scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: scenario.namespace },
    spec: {
      model: { version, uri: `configmap://iris-${version}/model.onnx` },
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
      service: { tensorFlowServingPorts: 'Enabled' },
      validation,
    },
  });
}

const condition = (type: string, field: string) =>
  scenario.field('mdeploy/iris', `{.status.conditions[?(@.type=="${type}")].${field}}`);

test('pods of a version that was healthy start with a warning when the set is edited, and serve on', async () => {
  await eventually(
    () => scenario.field('configmap/iris-link', '{.data.healthy-revisions\\.json}'),
    (names) => names.includes('iris-'),
  );
  await putGoldenSet([9, 9]);
  await scenario.kubectl(['delete', 'pod', '-l', 'serving.slipway.dev/track=stable']);
  await scenario.kubectl(['rollout', 'status', 'deployment/iris', '--timeout=60s']);
  const logs = await scenario.kubectl(['logs', 'deployment/iris']);
  expect(logs).toContain('the golden set fails: the revision was healthy once, so it serves all the same');
  await eventually(
    () => condition('ModelLoaded', 'reason'),
    (reason) => reason === 'GoldenSetDiffers',
  );
});

test('a version that answers otherwise never serves, and what it answers is told', async () => {
  const wrong = await putGoldenSet([2, 2, 2]);
  await ask('2', { goldenSet: wrong });
  await eventually(
    () => condition('Ready', 'reason'),
    (reason) => reason === 'GoldenSetFailed',
  );
  expect(await condition('Ready', 'message')).toContain("request 'flowers': output 'label'");
  expect((await predict(scenario, 'iris', answers.inputs)).model_version).toBe('1');
});

test("clients of TensorFlow Serving find the model at that one's port", async () => {
  const [input] = answers.inputs;
  const path = `/api/v1/namespaces/${scenario.namespace}/services/iris:tensorflow-rest/proxy/v1/models/iris:predict`;
  const rows = nested(input);
  const text = await scenario.kubectl(['create', '--raw', path, '-f', '-'], {
    input: JSON.stringify({ instances: rows }),
  });
  const { predictions }: { predictions: { label: number }[] } = JSON.parse(text);
  expect(predictions.map(({ label }) => label)).toEqual(answers.outputs['label']);
  const ports = await scenario.field('service/iris', '{.spec.ports[*].port}');
  expect(ports).toBe('80 9000 8500 8501');
});

/** The rows of a tensor of two dimensions. */
function nested(input: object | undefined): unknown[] {
  const { shape, data }: { shape: number[]; data: unknown[] } = JSON.parse(JSON.stringify(input));
  const [rows = 0, columns = 0] = shape;
  const flat = data.flat();
  return Array.from({ length: rows }, (_, row) => flat.slice(row * columns, (row + 1) * columns));
}
