import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually, exampleAnswers, type Scenario, startScenario } from './scenario.ts';

/** Canaries under constant requests: whatever becomes of them, no request fails. */
let scenario: Scenario;
let clients: Scenario;
let load: Awaited<ReturnType<Scenario['startLoad']>>;

const { inputs } = exampleAnswers('iris', '1');
const resources = { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } };
const analysis = { intervalSeconds: 5, minRequests: 50 };

/** Asks for a version that is tried in steps; `uri` is of one of the models in the namespace. */
async function ask(
  version: string,
  model: 'iris-1' | 'iris-2' | 'iris-slow' | 'iris-failing' | 'digits',
  steps: readonly object[],
  rest: object = {},
) {
  await scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: scenario.namespace },
    spec: {
      model: { version, uri: `configmap://${model}/model.onnx` },
      resources,
      replicas: 2,
      rollout: { strategy: 'Canary', canary: { steps }, analysis },
      ...rest,
    },
  });
}

const status = (field: string) => scenario.field('mdeploy/iris', `{.status.${field}}`);
const canary = async () => [await status('rollout.canary.state'), await status('rollout.canary.weight')].join(' ');
const settled = (message: string, seconds = 120) =>
  eventually(
    () => status('rollout.message'),
    (told) => told === message,
    seconds,
  );
/** How many requests each version has answered from now on, once so many were. */
async function answersOf(requests: number): Promise<Readonly<Record<string, number>>> {
  const before = await load.stats();
  const after = await eventually(load.stats, ({ answered }) => answered >= before.answered + requests);
  return Object.fromEntries(
    Object.entries(after.versions).map(([version, count]) => [version, count - (before.versions[version] ?? 0)]),
  );
}
const share = (answers: Readonly<Record<string, number>>, version: string) =>
  (answers[version] ?? 0) / Object.values(answers).reduce((sum, count) => sum + count, 0);

beforeAll(async () => {
  [scenario, clients] = [
    await startScenario({ 'pod-security.kubernetes.io/enforce': 'restricted' }),
    await startScenario(),
  ];
  // For their ConfigMaps as well.
  await scenario.apply('iris.yaml');
  await scenario.apply('iris-2.yaml');
  await scenario.kubectl(['delete', 'mdeploy', '--all']);
  for (const [name, file] of [
    ['digits', 'examples/models/digits/1.onnx'],
    ['iris-slow', 'inference-pod/test/models/iris-slow.onnx'],
    ['iris-failing', 'inference-pod/test/models/iris-failing.onnx'],
  ] as const) {
    const bytes = readFileSync(join(import.meta.dirname, '../..', file)).toString('base64');
    await scenario.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace: scenario.namespace },
      binaryData: { 'model.onnx': bytes },
    });
  }
  await ask('1', 'iris-1', [{ weight: 50, holdSeconds: 5 }]);
  await scenario.waitReady('iris', 120);
  load = await clients.startLoad('clients', {
    url: `http://iris.${scenario.namespace}.svc.cluster.local/v2/models/iris/infer`,
    body: { inputs },
    connections: 8,
    seconds: 1500,
    pauseMilliseconds: 20,
  });
}, 300_000);
afterAll(async () => {
  await Promise.all([scenario.end(), clients.end()]);
});

test('a canary that answers well is given its shares step by step, and takes the place of what served', async () => {
  await ask('2', 'iris-2', [
    { weight: 10, hold: 'Manual' },
    { weight: 50, holdSeconds: 30 },
  ]);
  await eventually(canary, (state) => state === 'Holding 10', 120);
  expect(Math.abs(share(await answersOf(1000), '2') - 0.1)).toBeLessThan(0.02);
  expect(await status('modelVersion')).toBe('1');
  expect(await scenario.field('mdeploy/iris', '{.status.conditions[?(@.type=="Ready")].reason}')).toBe('Canary');

  // Whoever asks for the canary is answered by it.
  const revision = await status('updateRevision');
  const path = `/api/v1/namespaces/${scenario.namespace}/services/iris:http/proxy/v2/models/iris/versions/2/infer`;
  const asked = await scenario.kubectl(['create', '--raw', path, '-f', '-'], { input: JSON.stringify({ inputs }) });
  expect(JSON.parse(asked)).toMatchObject({ model_version: '2' });

  const shown = await scenario.slipway(['status', 'iris']);
  expect(shown).toMatch(/canary 10%\n {2}stable {2}#{18}\.{2} {2}90 % {2}version 1 .*2 of 2 pods ready/);
  expect(shown).toMatch(/canary {2}#{2}\.{18} {2}10 % {2}version 2 .*1 of 1 pods ready\n {2}step 1 of 2, Holding for/);
  expect(shown).toContain('gate ErrorRate at most 1%');
  expect(shown).toContain('CanaryStep: step 1');
  expect(await scenario.slipway(['resume', 'iris'])).toContain('annotated');
  await eventually(canary, (state) => state === 'Holding 50', 60);
  expect(Math.abs(share(await answersOf(1000), '2') - 0.5)).toBeLessThan(0.05);
  await settled('complete');
  expect(await status('modelVersion')).toBe('2');
  expect(await status('currentRevision')).toBe(revision);
  await eventually(
    () => scenario.kubectl(['get', 'deployments', '-o', 'jsonpath={.items[*].metadata.name}']),
    (names) => names.trim() === 'iris',
  );
  expect(share(await answersOf(300), '2')).toBe(1);
}, 300_000);

test('one that refuses what is asked is taken back by its gate, and nobody has seen it', async () => {
  await ask('3', 'digits', [{ weight: 50, holdSeconds: 600 }], { validation: { contract: 'Ignore' } });
  await settled('rolled back to 2', 180);
  expect(await status('rollback.trigger')).toBe('GateFailed');
  expect(await status('rollback.message')).toMatch(/^ErrorRate at most 1%: 100% of \d+ requests/);
  expect((await load.stats()).versions['3'] ?? 0).toBe(0);
}, 240_000);

test('one that fails at every request is taken back, and nobody has seen it', async () => {
  await ask('3c', 'iris-failing', [{ weight: 50, holdSeconds: 600 }]);
  await settled('rolled back to 2', 180);
  expect(await status('rollback.message')).toMatch(/^ErrorRate at most 1%: 100% of \d+ requests/);
  expect((await load.stats()).versions['3c'] ?? 0).toBe(0);
}, 240_000);

test('one that answers well and slowly is taken back by its latency', async () => {
  const gates = [{ metric: 'Latency', percentile: 50, maxMilliseconds: 8 }];
  const canary = { steps: [{ weight: 10, holdSeconds: 600 }] };
  await ask('3d', 'iris-slow', [], { rollout: { strategy: 'Canary', canary, analysis: { ...analysis, gates } } });
  await settled('rolled back to 2', 180);
  expect(await status('rollback.message')).toMatch(/^Latency p50 at most 8ms: (9[5-9]|100)[.\d]*% of \d+ requests/);
}, 240_000);

test('one that answers every request, and otherwise, is taken back by Agreement alone', async () => {
  await ask('3b', 'iris-1', [], {
    rollout: {
      strategy: 'Canary',
      canary: { steps: [{ weight: 1, holdSeconds: 600 }], mirrorPercent: 50 },
      analysis: {
        ...analysis,
        gates: [
          { metric: 'ErrorRate', max: '1%' },
          { metric: 'Agreement', min: '95%' },
        ],
      },
    },
  });
  await settled('rolled back to 2', 180);
  expect(await status('rollback.message')).toMatch(/^Agreement at least 95%: 100% of \d+ requests/);
}, 240_000);

test('one whose model takes other inputs is not even tried, unless that is asked for', async () => {
  await ask('4', 'digits', [{ weight: 50, holdSeconds: 600 }]);
  await settled('not rolled out: ContractBroken');
}, 180_000);

const killOperators = async () => {
  const system = ['-n', 'slipway-system'];
  const operator = ['-l', 'app.kubernetes.io/name=slipway'];
  await scenario.kubectl([...system, 'delete', 'pod', ...operator, '--force', '--grace-period=0']);
  await scenario.kubectl([...system, 'rollout', 'status', 'deployment/slipway-operator', '--timeout=90s']);
};

test('it goes on when the operator is killed, and an undo takes it back', async () => {
  await ask('5', 'iris-1', [{ weight: 20, holdSeconds: 3600 }]);
  await eventually(canary, (state) => state === 'Holding 20', 120);
  await killOperators();
  await eventually(
    async () => share(await answersOf(200), '5'),
    (part) => part > 0.1,
    90,
  );

  await scenario.kubectl(['rollout', 'undo', 'deployment/iris']);
  await settled('rolled back to 2');
  expect(await status('rollback.trigger')).toBe('Undo');
  expect(share(await answersOf(300), '2')).toBe(1);
}, 300_000);

test('a canary whose pods are killed again and again costs nobody an answer', async () => {
  await ask('5b', 'iris-1', [{ weight: 50, holdSeconds: 3600 }]);
  await eventually(canary, (state) => state === 'Holding 50', 120);
  const pods = ['-l', 'serving.slipway.dev/model-deployment=iris,serving.slipway.dev/track=canary'];
  for (let turn = 0; turn < 3; turn++) {
    await scenario.kubectl(['delete', 'pod', ...pods, '--force', '--grace-period=0']);
    await answersOf(200);
  }
  const { failed, failures } = await load.stats();
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
  await ask('2', 'iris-2', [{ weight: 50, holdSeconds: 3600 }]);
  await settled('complete');
}, 240_000);

test('blue-green stands by whole, is given everything at once, and an undo takes it back at once', async () => {
  const blueGreen = { hold: 'Manual', soakSeconds: 600 };
  await ask('6', 'iris-1', [], { rollout: { strategy: 'BlueGreen', blueGreen, analysis } });
  await eventually(canary, (state) => state === 'Holding 0', 120);
  expect(await scenario.field('deployment/iris-canary', '{.status.availableReplicas}')).toBe('2');
  expect(share(await answersOf(200), '2')).toBe(1);
  await scenario.slipway(['resume', 'iris']);
  await eventually(canary, (state) => state === 'Holding 100', 60);
  expect(share(await answersOf(300), '6')).toBe(1);
  expect(await status('modelVersion')).toBe('2');

  await scenario.slipway(['undo', 'iris']);
  await settled('rolled back to 2');
  expect(share(await answersOf(300), '2')).toBe(1);
}, 300_000);

test('blue-green that soaks well takes the place of what served, though operators are killed meanwhile', async () => {
  const blueGreen = { holdSeconds: 1, soakSeconds: 30 };
  await ask('7', 'iris-1', [], { rollout: { strategy: 'BlueGreen', blueGreen, analysis } });
  await eventually(canary, (state) => state === 'Holding 100', 120);
  await killOperators();
  await eventually(canary, (state) => state === 'Promoting 100', 120);
  await killOperators();
  await settled('complete', 180);
  expect(await status('modelVersion')).toBe('7');
  expect(share(await answersOf(300), '7')).toBe(1);
}, 300_000);

test('the plugin tells the history, and undoes to a version by its name', async () => {
  const history = await scenario.slipway(['history', 'iris']);
  expect(history).toMatch(/^NUMBER {2}VERSION {2}REVISION/);
  expect(history).toMatch(/\n\d+ +7 +iris-\S+ +\d+s ago +serves/);
  await expect(scenario.slipway(['undo', 'iris', '--to-version', 'none'])).rejects.toThrow(
    'no revision of version none',
  );
  await scenario.slipway(['undo', 'iris', '--to-version', '2']);
  await settled('rolled back to 2');
  const told = JSON.parse(await scenario.slipway(['status', 'iris', '-o', 'json']));
  expect(told).toMatchObject({ message: 'rolled back to 2', serving: { version: '2' } });
  await expect(scenario.slipway(['status', 'none'])).rejects.toThrow('"none" not found');
}, 120_000);

test('an autoscaler has each track, and neither is below what it needs, while load rises', async () => {
  const autoscaling = {
    minReplicas: 2,
    maxReplicas: 4,
    triggers: [{ type: 'CPU', averageUtilization: 40 }],
    behavior: { scaleUp: { policies: [{ type: 'Pods', value: 4, periodSeconds: 15 }] } },
  };
  const canarySteps = { steps: [{ weight: 50, hold: 'Manual' }] };
  const common = {
    replicas: undefined,
    autoscaling,
    rollout: { strategy: 'Canary', canary: canarySteps, analysis },
  };
  await ask('8', 'iris-2', [], common);
  await eventually(canary, (state) => state === 'Holding 50', 180);
  const more = await clients.startLoad('more', {
    url: `http://iris.${scenario.namespace}.svc.cluster.local/v2/models/iris/infer`,
    body: { inputs },
    connections: 8,
    seconds: 300,
    pauseMilliseconds: 20,
  });
  const replicasOf = async (name: string) => Number(await scenario.field(`deployment/${name}`, '{.spec.replicas}'));
  const autoscaled = async () => [await replicasOf('iris'), await replicasOf('iris-canary')];
  // Both are as large as they may be, or the load is not enough for that on a quick machine.
  await eventually(autoscaled, ([stable = 0, tried = 0]) => stable >= 3 || tried >= 2, 150);
  expect((await autoscaled()).every((replicas, index) => replicas >= 2 - index)).toBe(true);
  await scenario.slipway(['promote', 'iris']);
  await settled('complete', 180);
  expect(await replicasOf('iris')).toBeGreaterThanOrEqual(2);
  const { failed, failures } = await more.stop();
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
}, 600_000);

test('in all of that, not one request has failed', async () => {
  const { answered, failed, failures } = await load.stop();
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
  expect(answered).toBeGreaterThan(5000);
});
