import { describe, expect, test } from '@jest/globals';
import { modelDeploymentResource } from '../../operator/src/controller/caches.ts';
import { childName, childResources, servingChildKinds } from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { revisionResource } from '../../operator/src/rollout/revision.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import type { AnyObject } from './test-cluster.ts';

const { client, namespace, models, operator } = operatorSuite();

const autoscaling = { minReplicas: 2, maxReplicas: 5, triggers: [{ type: 'CPU', averageUtilization: 70 }] };
const resources = { requests: { cpu: '250m' } };

const uids = async (name: string) =>
  Promise.all(servingChildKinds.map(async (kind) => (await models.requireChild(kind, name)).metadata.uid));
const replicaSets = async (name: string) =>
  (await models.replicaSets()).filter(({ metadata }) => metadata.name.startsWith(`${name}-`));
const hasReplicaSets = (name: string, count: number) =>
  eventually(
    () => replicaSets(name),
    (found) => found.length === count,
  );
const isOwnedBy = (uid: string) => (object: AnyObject) => object.metadata.ownerReferences?.[0]?.uid === uid;

/** As `kubectl delete --cascade=orphan` does. */
async function orphan(name: string): Promise<void> {
  await client.call('DELETE', pathOf(modelDeploymentResource, namespace, name), {
    body: { propagationPolicy: 'Orphan' },
  });
  await eventually(
    () =>
      models.get(name).then(
        () => false,
        () => true,
      ),
    (gone) => gone,
  );
}

describe('a ModelDeployment that is deleted without its children', () => {
  test('goes at once, and takes them up again when it is applied again: no pod is replaced, history is kept', async () => {
    // Characters that Go writes in its own way: the record must be text as the API server would write it.
    const pod = { annotations: { 'example.com/note': '<b>&\u2028"\\ é \u{1f6a2}</b>', 'example.com/10': 'x' } };
    await models.create('orphaned', { autoscaling, resources, pod });
    await models.settled('orphaned');
    await hasReplicaSets('orphaned', 1);
    await models.patch('orphaned', { model: { version: '2' } });
    await hasReplicaSets('orphaned', 2);
    await models.settled('orphaned');
    const before = await uids('orphaned');
    await orphan('orphaned');
    for (const kind of servingChildKinds)
      expect((await models.requireChild(kind, 'orphaned')).metadata.ownerReferences ?? []).toEqual([]);

    const model = { version: '2', uri: 'configmap://iris-1/model.onnx', sha256: 'a'.repeat(64) };
    const again = await models.create('orphaned', { autoscaling, resources, pod, model });
    const owned = isOwnedBy(again.metadata.uid);
    await eventually(
      async () => [
        ...(await Promise.all(servingChildKinds.map((kind) => models.requireChild(kind, 'orphaned')))),
        ...(await models.revisions('orphaned')),
      ],
      (objects) => objects.every(owned),
    );
    expect(await uids('orphaned')).toEqual(before);
    expect(await replicaSets('orphaned')).toHaveLength(2);
    expect(await models.revisions('orphaned')).toHaveLength(2);
    await models.condition('orphaned', 'Stalled', ({ status }) => status === 'False');
  });

  test('whose record is of an operator that wrote it in another order is still read', async () => {
    await models.create('unsorted');
    await models.settled('unsorted');
    const [revision] = await models.revisions('unsorted');
    if (revision === undefined) throw new Error('there is no revision');
    await operator.pausedFor(async () => {
      const { name, labels, ownerReferences, annotations } = revision.metadata;
      const { renderVersion, template, inputs } = revision.data as Record<string, unknown>;
      await client.call('DELETE', pathOf(revisionResource, namespace, name), { body: {} });
      await client.call('POST', pathOf(revisionResource, namespace), {
        body: {
          metadata: { name, labels, ownerReferences, annotations },
          revision: 1,
          data: { template, renderVersion, inputs },
        },
      });
    });
    await models.patch('unsorted', { replicas: 2 });
    await eventually(
      () => models.requireChild('Deployment', 'unsorted'),
      ({ spec }) => spec.replicas === 2,
    );
    expect(await replicaSets('unsorted')).toHaveLength(1);
    expect(await models.revisions('unsorted')).toHaveLength(1);
  });
});

describe('a cluster that is restored from a backup', () => {
  test('settles without a rollback or a restart', async () => {
    await models.create('backup', { replicas: 2 });
    await models.settled('backup');
    await hasReplicaSets('backup', 1);
    await models.patch('backup', { model: { version: '2' } });
    await hasReplicaSets('backup', 2);
    await models.settled('backup');
    const saved: [string, AnyObject][] = [];
    const save = async (path: string) => saved.push([path, await client.call('GET', path)]);
    const revisions = await models.revisions('backup');
    for (const { metadata } of revisions) await save(pathOf(revisionResource, namespace, metadata.name));
    for (const kind of ['ConfigMap', 'Service', 'Deployment', 'PodDisruptionBudget'] as const)
      await save(pathOf(childResources[kind], namespace, childName(kind, 'backup')));
    await save(pathOf(modelDeploymentResource, namespace, 'backup'));

    await operator.pausedFor(async () => {
      await models.delete('backup');
      await eventually(
        async () => [...(await replicaSets('backup')), ...(await models.revisions('backup'))],
        (left) => left.length === 0,
      );
      // As a backup tool makes them: no status, new uids, no owners, and everything is owned by the tool.
      for (const [path, { status: _, metadata, ...object }] of saved) {
        const { name, labels, annotations } = metadata;
        const { clusterIP: __, clusterIPs: ___, ...spec } = object.spec ?? {};
        const body = { ...object, metadata: { name, labels, annotations }, ...(object.spec ? { spec } : {}) };
        await client.call('POST', path.slice(0, path.lastIndexOf('/')), {
          body,
          query: { fieldManager: 'velero-server' },
        });
      }
      await hasReplicaSets('backup', 1);
    });
    const restored = await models.get('backup');
    await eventually(() => models.requireChild('Deployment', 'backup'), isOwnedBy(restored.metadata.uid));
    await models.settled('backup');
    await eventually(
      () => models.revisions('backup'),
      (found) => found.length === 2 && found.every(isOwnedBy(restored.metadata.uid)),
    );
    expect(await replicaSets('backup')).toHaveLength(1);
    const { status } = await models.get('backup');
    expect(status.rollback).toBeUndefined();
    expect(status.history).toHaveLength(2);
    expect((await models.requireChild('Deployment', 'backup')).spec.template.metadata.labels).toMatchObject({
      'app.kubernetes.io/version': '2',
    });
  });
});
