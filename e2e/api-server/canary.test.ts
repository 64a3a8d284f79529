import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import { startPodLife } from './pod-life.ts';

const { models, operator, edit } = operatorSuite();
let podLife: ReturnType<typeof startPodLife>;
beforeAll(async () => {
  podLife = startPodLife();
  await models.create('iris', {
    replicas: 4,
    rollout: { strategy: 'Canary', canary: { steps: [{ weight: 30, holdSeconds: 60 }] } },
    validation: { contract: 'Ignore' },
    pod: {
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }],
    },
  });
  await models.condition('iris', 'Ready', ({ status }) => status === 'True');
  await models.patch('iris', { model: { version: '2' } });
}, 120_000);
afterAll(() => podLife.stop());

const rolloutOf = async () => (await models.get('iris')).status?.rollout;

test('a canary has a Deployment of its own, on a track that no Service selects', async () => {
  const deployment = await models.requireChild('CanaryDeployment', 'iris');
  const track = { 'serving.slipway.dev/track': 'canary' };
  expect(deployment.spec.selector.matchLabels).toMatchObject(track);
  expect(deployment.spec.template.metadata.labels).toMatchObject({ ...track, 'app.kubernetes.io/version': '2' });
  expect(deployment.spec.template.spec.topologySpreadConstraints[0].labelSelector.matchLabels).toMatchObject(track);
  expect(deployment.spec.replicas).toBe(2);
  expect(deployment.metadata.ownerReferences?.[0]).toMatchObject({ kind: 'ModelDeployment', controller: true });
  const service = await models.requireChild('Service', 'iris');
  expect(service.spec.selector).toMatchObject({ 'serving.slipway.dev/track': 'stable' });
  const stable = await models.requireChild('Deployment', 'iris');
  expect(stable.spec.template.metadata.labels).toMatchObject({ 'app.kubernetes.io/version': '1' });
});

test('it waits for pods to take its share, and writes nothing meanwhile', async () => {
  await eventually(rolloutOf, (rollout) => rollout?.canary?.message?.includes('have not taken the share') === true);
  // The line about a write comes after what it wrote can be read.
  await sleep(1000);
  const before = operator.writesFor('iris').length;
  await sleep(3000);
  expect(operator.writesFor('iris').slice(before)).toEqual([]);
});

test('what somebody changes of it is put back', async () => {
  const env = [{ name: 'ADDED', value: 'x' }];
  await edit('CanaryDeployment', 'iris', { spec: { template: { spec: { containers: [{ name: 'model', env }] } } } });
  await eventually(
    () => models.requireChild('CanaryDeployment', 'iris'),
    ({ spec }) => !JSON.stringify(spec.template).includes('ADDED'),
  );
  await edit('CanaryDeployment', 'iris', { spec: { replicas: 1 } });
  await eventually(
    () => models.requireChild('CanaryDeployment', 'iris'),
    ({ spec }) => spec.replicas === 2,
  );
  const events = await models.events('iris');
  expect(events.map(({ reason }) => reason)).toContain('DriftRepaired');
});

test('it goes when the spec asks for what serves', async () => {
  await models.patch('iris', { model: { version: '1' } });
  await eventually(
    () => models.child('CanaryDeployment', 'iris'),
    (deployment) => deployment === undefined || deployment.metadata.deletionTimestamp !== undefined,
  );
  expect((await rolloutOf())?.canary).toBeUndefined();
});
