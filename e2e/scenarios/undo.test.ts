import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually, exampleAnswers, type Scenario, startScenario } from './scenario.ts';

/** Every row of the table in docs/undo.md, on a Deployment that clients call all the time. */
let scenario: Scenario;
let clients: Scenario;
let load: Awaited<ReturnType<Scenario['startLoad']>>;

const sources = {
  first: {
    uri: 'configmap://iris-1/model.onnx',
    sha256: '178ee5728b26d76dbde8b064ef0bd5258e488394f559fcd3e0acbd7755bb98bb',
  },
  second: {
    uri: 'configmap://iris-2/model.onnx',
    sha256: 'dd8ca639bd842d62a041c5b9685a514897e68aa083e061413e00a5f33b0a12a3',
  },
  broken: { uri: 'configmap://iris-1/model.onnx', sha256: '0'.repeat(64) },
};
const resources = { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } };

/** Asks for a version, as a person or Git does; whatever is not given is not in the spec. */
async function ask(version: string, source: keyof typeof sources, rest: object = { replicas: 2 }): Promise<void> {
  const manifest = {
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris' },
    spec: { model: { version, ...sources[source] }, resources, ...rest },
  };
  await scenario.kubectl(['apply', '-f', '-'], { input: JSON.stringify(manifest) });
}

const status = (field: string) => scenario.field('mdeploy/iris', `{.status.${field}}`);
const condition = (type: string) => status(`conditions[?(@.type=="${type}")].reason`);
const rollout = (...args: string[]) => scenario.kubectl(['rollout', ...args, 'deployment/iris']);
const template = () => scenario.field('deployment/iris', '{.spec.template}');
const liveRevision = () =>
  scenario.field('deployment/iris', '{.spec.template.metadata.annotations.serving\\.slipway\\.dev/revision}');

/** Waits until every pod runs a version, and the status says how things stand. */
async function settled(version: string, message: string): Promise<void> {
  await eventually(
    async () => [await status('modelVersion'), await status('rollout.message')],
    ([live, told]) => live === version && told === message,
    90,
  );
  expect(await rollout('status', '--timeout=90s')).toContain('successfully rolled out');
}

/** The number by which kubectl knows a version. */
async function numberOf(version: string): Promise<string> {
  const history = await rollout('history');
  const line = history.split('\n').find((entry) => entry.includes(`version ${version},`));
  return line?.trim().split(/\s+/)[0] ?? '0';
}

async function eventOf(reason: string, text: string): Promise<void> {
  await eventually(
    () =>
      scenario.kubectl(['get', 'events', `--field-selector=reason=${reason}`, '-o', 'jsonpath={.items[*].message}']),
    (messages) => messages.includes(text),
    30,
  );
}

const operatorReplicas = async (replicas: number) => {
  const system = ['-n', 'slipway-system'];
  await scenario.kubectl([...system, 'scale', 'deployment/slipway-operator', `--replicas=${replicas}`]);
  if (replicas > 0) {
    await scenario.kubectl([...system, 'rollout', 'status', 'deployment/slipway-operator', '--timeout=60s']);
    return;
  }
  await eventually(
    () => scenario.kubectl([...system, 'get', 'pods', '-l', 'app.kubernetes.io/name=slipway', '-o', 'name']),
    (pods) => pods.trim() === '',
  );
};

beforeAll(async () => {
  [scenario, clients] = [await startScenario(), await startScenario()];
  await scenario.apply('iris-2.yaml');
  await scenario.apply('iris.yaml');
  await scenario.kubectl(['delete', 'mdeploy/iris']);
  await ask('1', 'first', { replicas: 2, pod: { env: [{ name: 'ONLY_IN_FIRST', value: 'yes' }] } });
  await scenario.waitReady('iris', 90);
  load = await clients.startLoad('clients', {
    url: `http://iris.${scenario.namespace}.svc.cluster.local/v2/models/iris/infer`,
    body: { inputs: exampleAnswers('iris', '1').inputs },
    connections: 4,
    seconds: 1500,
    pauseMilliseconds: 20,
  });
  await eventually(load.stats, ({ answered }) => answered > 20);
}, 300_000);

afterAll(async () => {
  await scenario.end();
  await clients.end();
});

/** No case may cost a request. */
async function expectNoFailure(): Promise<void> {
  const { failed, failures, answered } = await load.stats();
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
  expect(answered).toBeGreaterThan(0);
}

describe('kubectl rollout undo', () => {
  test('is adopted, and held while the spec asks for the same', async () => {
    await ask('2', 'second');
    await settled('2', 'complete');
    const rolledOut = await template();
    expect(rolledOut).not.toContain('ONLY_IN_FIRST');
    await rollout('undo');
    await settled('1', 'rolled back to 1');
    expect(await template()).toContain('ONLY_IN_FIRST');
    expect(await condition('Ready')).toBe('RolledBack');
    expect(await condition('RolledBack')).toBe('Undo');
    expect(JSON.parse(await status('rollback'))).toMatchObject({ trigger: 'Undo', fieldManager: 'kubectl' });
    await eventOf('RolledBack', 'kubectl undid the Deployment: version 1');
    const columns = await scenario.kubectl(['get', 'mdeploy/iris', '--no-headers']);
    expect(columns).toMatch(/^iris\s+False\s+1\s+rolled back to 1\s+2\s/);
    await expectNoFailure();
  }, 240_000);

  test('stays adopted through the same spec from Git, another number of pods, and another policy', async () => {
    await ask('2', 'second');
    await scenario.kubectl(['scale', 'mdeploy/iris', '--replicas=3']);
    await eventually(
      () => status('readyReplicas'),
      (ready) => ready === '3',
    );
    await ask('2', 'second', { replicas: 2, rollout: { maxSurge: 1 } });
    await eventually(
      () => scenario.field('deployment/iris', '{.spec.strategy.rollingUpdate.maxSurge}'),
      (surge) => surge === '1',
    );
    await settled('1', 'rolled back to 1');
    await expectNoFailure();
  }, 240_000);

  test('a second time goes back to the revision of the spec, and ends the hold', async () => {
    await rollout('undo');
    await settled('2', 'complete');
    await scenario.waitReady('iris');
    await eventOf('RollbackEnded', 'which the spec asks for');
    await expectNoFailure();
  }, 240_000);

  test('to a revision by its number is adopted; the next spec goes forward with nothing left of it', async () => {
    await ask('3', 'first');
    await settled('3', 'complete');
    await rollout('undo', `--to-revision=${await numberOf('1')}`);
    await settled('1', 'rolled back to 1');
    await ask('4', 'second');
    await settled('4', 'complete');
    const revision = JSON.parse(
      await scenario.kubectl(['get', 'controllerrevision', await liveRevision(), '-o', 'jsonpath={.data.template}']),
    );
    const live = JSON.parse(await template());
    expect(live).toMatchObject(revision);
    expect(live.spec.containers[0].env).toEqual(revision.spec.containers[0].env);
    await expectNoFailure();
  }, 240_000);

  test('to a number that history has no more is refused by kubectl itself; the spec is the other way', async () => {
    await expect(rollout('undo', '--to-revision=99')).rejects.toThrow(
      'unable to find specified revision 99 in history',
    );
    expect(await status('rollout.message')).toBe('complete');
  });

  test('is followed by a retry when the annotation asks for one', async () => {
    await rollout('undo');
    await settled('1', 'rolled back to 1');
    await scenario.kubectl([
      'annotate',
      '--overwrite',
      'mdeploy/iris',
      `serving.slipway.dev/retry=${await status('updateRevision')}`,
    ]);
    await settled('4', 'complete');
    await expectNoFailure();
  }, 240_000);

  test('while the operator is down is found when it is back; a spec of that time beats it', async () => {
    await operatorReplicas(0);
    await rollout('undo');
    await operatorReplicas(2);
    await settled('1', 'rolled back to 1');
    await operatorReplicas(0);
    await rollout('undo', `--to-revision=${await numberOf('2')}`);
    await ask('5', 'first');
    await operatorReplicas(2);
    await settled('5', 'complete');
    await eventOf('UndoSuperseded', 'going forward');
    await expectNoFailure();
  }, 300_000);

  test('while a rollout is going on goes back to what ran before; the failed one cannot be brought back', async () => {
    await ask('6', 'broken');
    await eventually(
      () => condition('Ready'),
      (reason) => reason === 'ModelDigestMismatch',
      90,
    );
    const broken = await numberOf('6');
    await rollout('undo');
    await settled('5', 'rolled back to 5');
    await ask('7', 'second');
    await settled('7', 'complete');
    await rollout('undo', `--to-revision=${broken}`);
    await eventOf('UndoPutBack', 'it never was healthy');
    await settled('7', 'complete');
    await expectNoFailure();
  }, 300_000);

  test('after a restart goes back to the same revision, and an event names the way to another', async () => {
    await rollout('restart');
    await settled('7', 'complete');
    await eventually(
      () => status('rollout.restartedAt'),
      (at) => at !== '',
    );
    await rollout('undo');
    await eventOf('RestartUndone', `--to-revision=${await numberOf('5')}`);
    await settled('7', 'complete');
    await expectNoFailure();
  }, 240_000);

  test('is put back where the policy is Revert', async () => {
    await ask('7', 'second', { replicas: 2, rollout: { externalUndo: 'Revert' } });
    await eventually(
      () => scenario.field('mdeploy/iris', '{.status.observedGeneration} {.metadata.generation}'),
      (generations) => new Set(generations.split(' ')).size === 1,
    );
    await rollout('undo', `--to-revision=${await numberOf('5')}`);
    await eventOf('UndoPutBack', 'externalUndo is Revert');
    await settled('7', 'complete');
    await expectNoFailure();
  }, 240_000);

  test('with an autoscaler is adopted, and stays so when its limits change', async () => {
    const autoscaling = (maxReplicas: number) => ({
      autoscaling: { minReplicas: 2, maxReplicas, triggers: [{ type: 'CPU', averageUtilization: 90 }] },
    });
    await ask('8', 'first', autoscaling(3));
    await settled('8', 'complete');
    await rollout('undo', `--to-revision=${await numberOf('5')}`);
    await settled('5', 'rolled back to 5');
    await ask('8', 'first', autoscaling(4));
    await eventually(
      () => scenario.field('hpa/iris', '{.spec.maxReplicas}'),
      (most) => most === '4',
    );
    await settled('5', 'rolled back to 5');
    await ask('9', 'second', { replicas: 2 });
    await settled('9', 'complete');
    await expectNoFailure();
  }, 300_000);
});

test('kubectl set env on the Deployment is put back whole', async () => {
  await scenario.kubectl(['set', 'env', 'deployment/iris', 'INTRUDER=yes']);
  await eventOf('DriftRepaired', 'change the ModelDeployment instead');
  await eventually(template, (text) => !text.includes('INTRUDER'));
  await settled('9', 'complete');
  await expectNoFailure();
}, 240_000);

describe('a version that misses its deadline', () => {
  const policy = (onFailure: string) => ({ replicas: 2, rollout: { progressDeadlineSeconds: 15, onFailure } });

  test('is rolled back, not gone back to by an undo, and tried again when asked', async () => {
    await ask('10', 'broken', policy('Rollback'));
    await settled('9', 'rolled back to 9');
    await eventOf('RolledBack', 'made no progress for 15 s');
    expect(await condition('RolledBack')).toBe('ProgressDeadline');
    const failed = await status('updateRevision');
    await rollout('undo', `--to-revision=${await numberOf('10')}`);
    await eventOf('UndoPutBack', 'it missed its deadline; to try it again');
    await settled('9', 'rolled back to 9');
    const before = await status('rollback.time');
    await scenario.kubectl([
      'annotate',
      '--overwrite',
      'mdeploy/iris',
      `serving.slipway.dev/retry=${failed}@${before}`,
    ]);
    await eventOf('Retrying', 'version 10');
    await eventually(
      () => status('rollback.time'),
      (time) => time !== '' && time !== before,
      120,
    );
    await settled('9', 'rolled back to 9');
    await ask('11', 'first');
    await settled('11', 'complete');
    await expectNoFailure();
  }, 400_000);

  test('is left as it is where the policy is Pause', async () => {
    await ask('12', 'broken', policy('Pause'));
    await eventually(
      () => condition('Stalled'),
      (reason) => reason === 'ProgressDeadlineExceeded',
      120,
    );
    expect(await liveRevision()).toBe(await status('updateRevision'));
    await ask('13', 'second');
    await settled('13', 'complete');
    await expectNoFailure();
  }, 300_000);
});

test('an undo to a version whose bytes are gone is told of, given up after the deadline, and costs no request', async () => {
  const { binaryData } = JSON.parse(await scenario.kubectl(['get', 'configmap/iris-1', '-o', 'json']));
  const name = 'transient';
  await scenario.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, binaryData });
  const rest = { replicas: 2, rollout: { progressDeadlineSeconds: 15 } };
  const manifest = (version: string, model: object) => ({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris' },
    spec: { model: { version, ...model }, resources, ...rest },
  });
  const put = (version: string, model: object) =>
    scenario.kubectl(['apply', '-f', '-'], { input: JSON.stringify(manifest(version, model)) });
  await put('14', { ...sources.first, uri: `configmap://${name}/model.onnx` });
  await settled('14', 'complete');
  await put('15', sources.second);
  await settled('15', 'complete');
  await scenario.kubectl(['delete', 'configmap', name]);
  await rollout('undo');
  await eventually(
    () => condition('Ready'),
    (reason) => reason === 'VolumeCannotBeMounted',
    60,
  );
  expect(await condition('Available')).toBe('PodsServe');
  await eventOf('UndoFailed', 'version 15');
  await settled('15', 'complete');
  await expectNoFailure();
}, 300_000);

test('a rollback stops when the older version fails as well', async () => {
  // A model of its own: this one is down in the end.
  const { binaryData } = JSON.parse(await scenario.kubectl(['get', 'configmap/iris-1', '-o', 'json']));
  await scenario.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'fleeting' }, binaryData });
  const lonely = (version: string, model: object) =>
    scenario.apply({
      apiVersion: 'serving.slipway.dev/v1alpha1',
      kind: 'ModelDeployment',
      metadata: { name: 'lonely' },
      spec: {
        model: { version, ...model },
        resources,
        rollout: { maxSurge: 0, maxUnavailable: 1, progressDeadlineSeconds: 10 },
      },
    });
  await lonely('1', { ...sources.first, uri: 'configmap://fleeting/model.onnx' });
  await scenario.waitReady('lonely', 90);
  await scenario.kubectl(['delete', 'configmap/fleeting']);
  await lonely('2', sources.broken);
  const conditionOf = (type: string) =>
    scenario.field('mdeploy/lonely', `{.status.conditions[?(@.type=="${type}")].reason}`);
  await eventually(
    () => conditionOf('RolledBack'),
    (reason) => reason === 'ProgressDeadline',
    90,
  );
  const rollback = await scenario.field('mdeploy/lonely', '{.status.rollback}');
  await eventually(
    () => conditionOf('Stalled'),
    (reason) => reason === 'ProgressDeadlineExceeded',
    90,
  );
  expect(await scenario.field('mdeploy/lonely', '{.status.rollback}')).toBe(rollback);
  await scenario.kubectl(['delete', 'mdeploy/lonely']);
}, 240_000);

test('kubectl rollout history tells every version that ran', async () => {
  const history = await rollout('history');
  expect(history).toMatch(/version 11, sha256:[a-f0-9]{12}/);
  expect(history).toMatch(/version 13, sha256:[a-f0-9]{12}/);
  // As many old ReplicaSets are kept as the policy says.
  expect(history).not.toMatch(/version 3,/);
  await expect(rollout('undo', '--to-revision=2')).rejects.toThrow('unable to find specified revision 2 in history');
  const { answered, failed, failures } = await load.stop();
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
  expect(answered).toBeGreaterThan(1000);
});
