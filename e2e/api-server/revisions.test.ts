import { describe, expect, test } from '@jest/globals';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';

const { models, operator } = operatorSuite();

describe('revisions', () => {
  const version = (number: string) => ({ model: { version: number } });

  test('are made for what reaches the pod, and for nothing else', async () => {
    await models.create('revised', { replicas: 1 });
    await models.settled('revised');
    await models.patch('revised', { replicas: 2, rollout: { maxSurge: 1 } });
    await eventually(
      () => models.child('Deployment', 'revised'),
      (deployment) => deployment?.spec.replicas === 2 && deployment.spec.strategy.rollingUpdate.maxSurge === 1,
    );
    expect(await models.revisions('revised')).toHaveLength(1);
    await models.patch('revised', version('2'));
    const revisions = await eventually(
      () => models.revisions('revised'),
      (found) => found.length === 2,
    );
    expect(revisions.map(({ revision }) => revision).sort()).toEqual([1, 2]);
  });

  test('are not made for what means the same, however it is written', async () => {
    await models.create('meant', { resources: { requests: { cpu: 1 } } });
    await models.settled('meant');
    const before = await models.requireChild('Deployment', 'meant');
    await models.patch('meant', {
      resources: { requests: { cpu: '1000m' }, limits: {} },
      runtime: {},
      pod: { env: [] },
    });
    await models.settled('meant');
    await models.patch('meant', { replicas: 2 });
    await eventually(
      () => models.requireChild('Deployment', 'meant'),
      ({ spec }) => spec.replicas === 2,
    );
    expect(await models.revisions('meant')).toHaveLength(1);
    expect((await models.requireChild('Deployment', 'meant')).spec.template).toEqual(before.spec.template);
  });

  test('that never were healthy are not kept beyond the limit, however often a failing spec is followed by another', async () => {
    await models.create('churned', { replicas: 0, rollout: { revisionHistoryLimit: 1 } });
    await models.settled('churned');
    for (let number = 2; number <= 8; number++) {
      await models.patch('churned', version(String(number)));
      await eventually(
        () => models.child('Deployment', 'churned'),
        (deployment) => deployment?.spec.template.metadata.labels['app.kubernetes.io/version'] === String(number),
      );
    }
    await eventually(
      () => models.revisions('churned'),
      (found) => found.length <= 2,
    );
  });

  test('are recorded in status before their template is in the Deployment', async () => {
    await models.create('ordered');
    await models.settled('ordered');
    const before = operator.writesFor('ordered').length;
    await models.patch('ordered', version('2'));
    await eventually(
      () => models.child('Deployment', 'ordered'),
      (deployment) => deployment?.metadata.annotations?.['kubernetes.io/change-cause']?.includes('version 2') === true,
    );
    const made = await eventually(
      async () => {
        const writes = operator.writesFor('ordered').slice(before);
        return writes.slice(writes.indexOf('create-revision'));
      },
      // The log tells of a write a moment after it was made.
      (writes) => writes.includes('apply Deployment'),
    );
    // A status that somebody else has written in between is written again.
    const steps = made.filter((write, index) => write !== made[index - 1]);
    expect(steps.slice(0, 3)).toEqual(['create-revision', 'write-status', 'apply Deployment']);
    const model = await models.get('ordered');
    const deployment = await models.requireChild('Deployment', 'ordered');
    expect(deployment.spec.template.metadata.annotations['serving.slipway.dev/revision']).toBe(
      model.status.updateRevision,
    );
  });

  test('become the newest again when they are wanted again, with the template that they had', async () => {
    await models.create('again');
    await models.settled('again');
    const [first] = await models.revisions('again');
    for (const [number, numbers] of [
      ['2', [1, 2]],
      ['1', [2, 3]],
    ] as const) {
      await models.patch('again', version(number));
      await eventually(
        () => models.revisions('again'),
        (found) => JSON.stringify(found.map(({ revision }) => revision).sort()) === JSON.stringify(numbers),
      );
    }
    const newest = (await models.revisions('again')).find(({ revision }) => revision === 3);
    expect(newest?.metadata.name).toBe(first?.metadata.name);
    await eventually(
      () => models.child('Deployment', 'again'),
      (deployment) =>
        deployment?.spec.template.metadata.annotations['serving.slipway.dev/revision'] === first?.metadata.name,
    );
  });

  test('are forgotten above the limit, but never those that a ReplicaSet still names', async () => {
    await models.create('pruned', { rollout: { revisionHistoryLimit: 1 } });
    await models.settled('pruned');
    for (const number of ['2', '3', '4', '5']) {
      await models.patch('pruned', version(number));
      await eventually(
        () => models.child('Deployment', 'pruned'),
        (deployment) => deployment?.spec.template.metadata.labels['app.kubernetes.io/version'] === number,
      );
    }
    await eventually(
      async () => {
        const named = (await models.replicaSets())
          .map(({ spec }) => spec.template.metadata.annotations['serving.slipway.dev/revision'])
          .filter((name: string) => name.startsWith('pruned-'));
        const revisions = (await models.revisions('pruned')).map(({ metadata }) => metadata.name);
        return { named, revisions };
      },
      // One old revision is spare; every other one runs in some ReplicaSet.
      ({ named, revisions }) =>
        named.every((name) => revisions.includes(name)) && revisions.length <= new Set(named).size + 2,
    );
  });

  test('keep their image when the default of the operator changes', async () => {
    await models.create('kept');
    await models.settled('kept');
    await operator.restart({ image: 'example/slipway:2' });
    await models.patch('kept', { replicas: 2 });
    const deployment = await eventually(
      () => models.requireChild('Deployment', 'kept'),
      ({ spec }) => spec.replicas === 2,
    );
    expect(deployment.spec.template.spec.containers[0].image).toBe('example/slipway:1');
    await models.patch('kept', version('2'));
    await eventually(
      () => models.requireChild('Deployment', 'kept'),
      ({ spec }) => spec.template.spec.containers[0].image === 'example/slipway:2',
    );
  });
});
