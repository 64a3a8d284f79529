import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually, exampleAnswers, predict, type Scenario, startScenario } from './scenario.ts';

/** A revision is asked before it is rolled out (spec.validation.contract: Backward). */
let scenario: Scenario;
let before: string;
beforeAll(async () => {
  scenario = await startScenario({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  // For their ConfigMaps as well.
  await scenario.apply('iris.yaml');
  await scenario.apply('iris-2.yaml');
  await scenario.apply('digits.yaml');
  await scenario.kubectl(['delete', 'mdeploy', '--all']);
  await ask('1', { uri: 'configmap://iris-1/model.onnx' });
  await scenario.waitReady('iris');
  // Those of the example may still be on their way out.
  before = await eventually(pods, (names) => names.trim().split('\n').length === 2);
});
afterAll(() => scenario.end());

async function ask(version: string, source: object): Promise<void> {
  await scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: scenario.namespace },
    spec: {
      model: { version, ...source },
      replicas: 2,
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
      validation: { contract: 'Backward' },
    },
  });
}

const pods = () => scenario.kubectl(['get', 'pods', '-l', 'serving.slipway.dev/track=stable', '-o', 'name']);
const preflights = () => scenario.kubectl(['get', 'pods', '-l', 'serving.slipway.dev/track=preflight', '-o', 'name']);
const condition = (type: string, field: string) =>
  scenario.field('mdeploy/iris', `{.status.conditions[?(@.type=="${type}")].${field}}`);

async function expectUntouched(): Promise<void> {
  expect(await condition('Available', 'status')).toBe('True');
  expect(await pods()).toBe(before);
  await eventually(preflights, (left) => left === '');
  const { inputs, outputs } = exampleAnswers('iris', '1');
  const answer = await predict(scenario, 'iris', inputs);
  expect(answer.model_version).toBe('1');
  expect(answer.outputs.find(({ name }) => name === 'label')?.data).toEqual(outputs['label']);
}

test('a model that old requests may not be sent to is refused by name, and nothing that serves is touched', async () => {
  await ask('2', { uri: 'configmap://digits-1/model.onnx' });
  await eventually(
    () => condition('Ready', 'reason'),
    (reason) => reason === 'ContractBroken',
  );
  expect(await condition('Ready', 'message')).toMatch(/version 2 .* is not rolled out: .*the input 'X'/);
  expect(await scenario.field('mdeploy/iris', '{.status.rollout.message}')).toBe('not rolled out: ContractBroken');
  await expectUntouched();
});

test('a model that is not there is told of, and nothing that serves is touched', async () => {
  await ask('3', { uri: 'configmap://iris-1/other.onnx' });
  await eventually(
    () => condition('Ready', 'reason'),
    (reason) => reason === 'PreflightFailed',
  );
  expect(await condition('Ready', 'message')).toContain('there is no model at');
  await expectUntouched();
});

test('a model that keeps the contract is rolled out', async () => {
  await ask('4', { uri: 'configmap://iris-2/model.onnx' });
  await eventually(
    () => scenario.field('mdeploy/iris', '{.status.modelVersion} {.status.preflight.verdict}'),
    (found) => found === '4 Passed',
    90,
  );
  await scenario.waitReady('iris');
  await eventually(preflights, (left) => left === '');
});

test('also a model of which no pod is asked for is asked first', async () => {
  await scenario.kubectl(['scale', 'mdeploy/iris', '--replicas=0']);
  await eventually(pods, (left) => left === '');
  await scenario.kubectl([
    'patch',
    'mdeploy/iris',
    '--type=merge',
    '-p',
    JSON.stringify({ spec: { model: { version: '5', uri: 'configmap://digits-1/model.onnx' } } }),
  ]);
  await eventually(
    () => condition('Ready', 'reason'),
    (reason) => reason === 'ContractBroken',
  );
  await eventually(preflights, (left) => left === '');
});
