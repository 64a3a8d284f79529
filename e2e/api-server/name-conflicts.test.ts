import { describe, expect, test } from '@jest/globals';
import {
  childName,
  childResources,
  type ServingChildKind,
  servingChildKinds,
} from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import type { AnyObject } from './test-cluster.ts';

const { client, namespace, models, operator } = operatorSuite();

const autoscaling = { minReplicas: 2, maxReplicas: 5, triggers: [{ type: 'CPU', averageUtilization: 70 }] };
const resources = { requests: { cpu: '250m' } };

describe('a name that is taken', () => {
  const foreign: Readonly<Record<ServingChildKind, object>> = {
    ConfigMap: { data: { a: 'b' } },
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

  test.each(servingChildKinds.filter((kind) => kind !== 'ConfigMap'))(
    "by somebody else's %s leaves it untouched, writes nothing more, and recovers",
    async (kind) => {
      const name = `taken-${kind.toLowerCase().slice(0, 10)}`;
      const path = pathOf(childResources[kind], namespace);
      const own = childName(kind, name);
      const body = {
        metadata: { name: own, labels: { 'app.kubernetes.io/managed-by': 'somebody' } },
        ...foreign[kind],
      };
      const theirs: AnyObject = await client.call('POST', path, { body });
      await models.create(name, { autoscaling, resources });
      const condition = await models.condition(name, 'Stalled', ({ status }) => status === 'True');
      expect(condition).toMatchObject({
        reason: 'NameConflict',
        message: expect.stringContaining(`the ${kind} ${own} is there already and belongs to somebody`),
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
      expect(untouched).toMatchObject(foreign[kind]);
      expect(untouched.spec).toEqual(theirs.spec);
      expect(untouched.metadata.managedFields?.map(({ manager }) => manager)).not.toContain('slipway');

      await client.call('DELETE', `${path}/${own}`, { body: {} });
      await models.patch(name, { model: { version: '2' } });
      await models.condition(name, 'Stalled', ({ status }) => status === 'False');
      expect((await models.requireChild(kind, name)).metadata.ownerReferences?.[0]?.kind).toBe('ModelDeployment');
    },
  );
});

test("somebody else's ConfigMap of the link is left as it is, and keeps nothing else from being done", async () => {
  const path = pathOf(childResources.ConfigMap, namespace);
  await client.call('POST', path, { body: { metadata: { name: 'unlinked-link' }, data: { a: 'b' } } });
  await models.create('unlinked');
  const condition = await models.condition('unlinked', 'Linked', ({ reason }) => reason === 'NameConflict');
  expect(condition.message).toContain('the ConfigMap unlinked-link is there already');
  await models.patch('unlinked', { replicas: 2 });
  await eventually(
    () => models.requireChild('Deployment', 'unlinked'),
    ({ spec }) => spec.replicas === 2,
  );
  expect(await models.requireChild('ConfigMap', 'unlinked')).toMatchObject({ data: { a: 'b' } });
  await client.call('DELETE', `${path}/unlinked-link`, { body: {} });
  await models.patch('unlinked', { replicas: 3 });
  await eventually(
    () => models.requireChild('ConfigMap', 'unlinked'),
    ({ metadata }) => metadata.ownerReferences?.[0]?.kind === 'ModelDeployment',
    { seconds: 40 },
  );
});

test.each([
  ['of another name', 'keda-hpa-scaled-a', 'scaled-a'],
  ['of the same name', 'scaled-b', 'scaled-b'],
])("somebody else's autoscaler of the Deployment, %s, has the replicas, and is told of", async (_, name, model) => {
  await models.create(model, { replicas: 1 });
  await models.settled(model);
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: model };
  const path = pathOf(childResources.HorizontalPodAutoscaler, namespace);
  // The controller of autoscalers raises the pods to this minimum, again and again if somebody lowers them.
  const body = { metadata: { name }, spec: { minReplicas: 3, maxReplicas: 5, scaleTargetRef } };
  await client.call('POST', path, { body });
  await models.condition(model, 'AutoscalingActive', ({ reason }) => reason === 'ForeignAutoscaler');
  await eventually(
    () => models.requireChild('Deployment', model),
    ({ spec }) => spec.replicas === 3,
    { seconds: 40 },
  );
  await models.patch(model, { model: { version: '2' } });
  const { spec } = await eventually(
    () => models.requireChild('Deployment', model),
    (deployment) => deployment.spec.template.metadata.labels['app.kubernetes.io/version'] === '2',
  );
  expect(spec.replicas).toBe(3);
  expect((await models.events(model)).map(({ reason }) => reason)).toContain('ForeignAutoscaler');

  await client.call('DELETE', `${path}/${name}`, { body: {} });
  await models.condition(model, 'AutoscalingActive', ({ reason }) => reason === 'NotRequested');
  await eventually(
    () => models.requireChild('Deployment', model),
    (deployment) => deployment.spec.replicas === 1,
  );
});
