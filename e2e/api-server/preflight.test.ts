import { expect, test } from '@jest/globals';
import { podResource } from '../../operator/src/controller/caches.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';

const { client, namespace, models } = operatorSuite();

const preflights = async () =>
  (await models.pods()).filter(({ metadata }) => metadata.labels?.['serving.slipway.dev/track'] === 'preflight');

/** There are no nodes here, so no pod ever tells anything: scenarios show what comes of that. */
test('a revision is asked by one pod, which goes when nobody asks any more, and nothing else changes', async () => {
  await models.create('asked', { validation: { contract: 'Backward' } });
  await models.settled('asked');
  const before = await models.requireChild('Deployment', 'asked');
  await models.patch('asked', { model: { version: '2' } });
  const [pod] = await eventually(preflights, (found) => found.length === 1);
  expect(pod?.metadata.ownerReferences?.[0]).toMatchObject({ kind: 'ModelDeployment', controller: true });
  expect(pod?.spec).toMatchObject({ restartPolicy: 'Never', activeDeadlineSeconds: 600 });
  const condition = await models.condition('asked', 'Ready', ({ reason }) => reason === 'Preflight');
  expect(condition.message).toContain('version 2');
  // Another version takes its place; a pod that somebody deletes is made again.
  await models.patch('asked', { model: { version: '3' } });
  const [other] = await eventually(
    preflights,
    (found) => found.length === 1 && found[0]?.metadata.name !== pod?.metadata.name,
  );
  await client.call('DELETE', pathOf(podResource, namespace, other?.metadata.name), {
    body: { gracePeriodSeconds: 0 },
  });
  await eventually(preflights, (found) => found.length === 1 && found[0]?.metadata.uid !== other?.metadata.uid);
  expect((await models.requireChild('Deployment', 'asked')).spec.template).toEqual(before.spec.template);

  await models.patch('asked', { model: { version: '1' } });
  await eventually(preflights, (found) => found.length === 0);
  await models.condition('asked', 'UpToDate', ({ reason }) => reason !== 'Preflight');
});
