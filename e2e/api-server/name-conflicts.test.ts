import { describe, expect, test } from '@jest/globals';
import { type ChildKind, childKinds, childResources } from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import type { AnyObject } from './test-cluster.ts';

const { client, namespace, models, operator } = operatorSuite();

const autoscaling = { minReplicas: 2, maxReplicas: 5, triggers: [{ type: 'CPU', averageUtilization: 70 }] };
const resources = { requests: { cpu: '250m' } };

describe('a name that is taken', () => {
  const foreign: Readonly<Record<ChildKind, object>> = {
    Deployment: {
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i:1' }] } },
      },
    },
    Service: { spec: { ports: [{ port: 80, name: 'http' }] } },
    HorizontalPodAutoscaler: {
      spec: { maxReplicas: 2, scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'x' } },
    },
    PodDisruptionBudget: { spec: { maxUnavailable: 1, selector: { matchLabels: { a: 'b' } } } },
  };

  test.each(childKinds)(
    "by somebody else's %s leaves it untouched, writes nothing more, and recovers",
    async (kind) => {
      const name = `taken-${kind.toLowerCase().slice(0, 10)}`;
      const path = pathOf(childResources[kind], namespace);
      const body = { metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'somebody' } }, ...foreign[kind] };
      const theirs: AnyObject = await client.call('POST', path, { body });
      await models.create(name, { autoscaling, resources });
      const condition = await models.condition(name, 'Stalled', ({ status }) => status === 'True');
      expect(condition).toMatchObject({
        reason: 'NameConflict',
        message: expect.stringContaining(`the ${kind} ${name} is there already and belongs to somebody`),
      });
      const writes = operator.writesFor(name);
      await models.patch(name, { autoscaling: { maxReplicas: 6 } });
      await models.condition(name, 'Stalled', ({ observedGeneration }) => observedGeneration === 2);
      expect(
        operator
          .writesFor(name)
          .slice(writes.length)
          .filter((write) => write !== 'write-status'),
      ).toEqual([]);
      const untouched = await models.requireChild(kind, name);
      expect(untouched.metadata.ownerReferences).toBeUndefined();
      expect(untouched.spec).toMatchObject(theirs.spec);
      expect(untouched.metadata.managedFields?.map(({ manager }) => manager)).not.toContain('slipway');

      await client.call('DELETE', `${path}/${name}`, { body: {} });
      await models.patch(name, { model: { version: '2' } });
      await models.condition(name, 'Stalled', ({ status }) => status === 'False');
      expect((await models.requireChild(kind, name)).metadata.ownerReferences?.[0]?.kind).toBe('ModelDeployment');
    },
  );
});

test("somebody else's autoscaler of the Deployment is told of, and not fought", async () => {
  await models.create('scaled', { replicas: 1 });
  await models.settled('scaled');
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'scaled' };
  const path = pathOf(childResources.HorizontalPodAutoscaler, namespace);
  const body = { metadata: { name: 'scaled' }, spec: { minReplicas: 3, maxReplicas: 5, scaleTargetRef } };
  await client.call('POST', path, { body });
  await client.call('PATCH', `${pathOf(childResources.Deployment, namespace, 'scaled')}/scale`, {
    body: { spec: { replicas: 3 } },
    contentType: 'application/merge-patch+json',
  });
  await models.condition('scaled', 'Stalled', ({ reason }) => reason === 'NameConflict');
  expect((await models.requireChild('Deployment', 'scaled')).spec.replicas).toBe(3);

  await client.call('DELETE', `${path}/scaled`, { body: {} });
  await models.patch('scaled', { replicas: 2 });
  await models.condition('scaled', 'Stalled', ({ status }) => status === 'False');
  // The status is written before the Deployment.
  await eventually(
    () => models.requireChild('Deployment', 'scaled'),
    ({ spec }) => spec.replicas === 2,
  );
});
