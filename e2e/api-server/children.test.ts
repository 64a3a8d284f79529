import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { request } from 'undici';
import { modelDeploymentResource } from '../../operator/src/controller/caches.ts';
import { servingChildKinds } from '../../operator/src/desired/children.ts';
import { openConnection } from '../../operator/src/kube/kubeconfig.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import { type AnyObject, testKubeconfig } from './test-cluster.ts';

const { client, namespace, models, operator } = operatorSuite();

const autoscaling = { minReplicas: 2, maxReplicas: 5, triggers: [{ type: 'CPU', averageUtilization: 70 }] };
const resources = { requests: { cpu: '250m' } };

describe('a new ModelDeployment', () => {
  test('gets its children, owned by it, with labels that never change, in eight writes', async () => {
    const model = await models.create('new', { autoscaling, resources });
    await models.settled('new');
    for (const kind of servingChildKinds) {
      const { metadata } = await models.requireChild(kind, 'new');
      expect(metadata.ownerReferences).toEqual([
        {
          apiVersion: 'serving.slipway.dev/v1alpha1',
          kind: 'ModelDeployment',
          name: 'new',
          uid: model.metadata.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ]);
      expect(metadata.labels).toEqual({
        'serving.slipway.dev/model-deployment': 'new',
        'app.kubernetes.io/name': 'slipway-model',
        'app.kubernetes.io/instance': 'new',
        'app.kubernetes.io/managed-by': 'slipway',
      });
    }
    const deployment = await models.requireChild('Deployment', 'new');
    const selector = { 'serving.slipway.dev/model-deployment': 'new', 'serving.slipway.dev/track': 'stable' };
    expect(deployment.spec.selector.matchLabels).toEqual(selector);
    const service = await models.requireChild('Service', 'new');
    expect(service.spec.selector).toEqual(selector);
    expect(service.spec.ports).toEqual([
      { name: 'http', port: 80, protocol: 'TCP', targetPort: 'http' },
      { name: 'grpc', port: 9000, protocol: 'TCP', targetPort: 'grpc', appProtocol: 'kubernetes.io/h2c' },
    ]);
    const autoscaler = await models.requireChild('HorizontalPodAutoscaler', 'new');
    expect(autoscaler.spec.metrics).toEqual([
      {
        type: 'ContainerResource',
        containerResource: { container: 'model', name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } },
      },
    ]);
    const writes = await eventually(
      async () => operator.writesFor('new'),
      (made) => made.includes('apply PodDisruptionBudget'),
    );
    expect(writes.slice(0, 5)).toEqual([
      'create-revision',
      'write-status',
      'apply ConfigMap',
      'apply Service',
      'apply Deployment',
    ]);
    expect(writes.filter((write) => write !== 'write-status')).toHaveLength(6);
  });

  test('has every condition after the first pass, and no column is empty that every model has a value for', async () => {
    await models.create('columns');
    await models.settled('columns');
    const model = await models.get('columns');
    const types = model.status.conditions.map(({ type }: { type: string }) => type);
    expect(types).toEqual([
      'Ready',
      'Available',
      'UpToDate',
      'Reconciling',
      'Stalled',
      'ModelLoaded',
      'RolledBack',
      'AutoscalingActive',
      'Linked',
    ]);
    for (const condition of model.status.conditions) {
      expect(condition).toMatchObject({
        observedGeneration: 1,
        reason: expect.stringMatching(/^[A-Z][A-Za-z]+$/),
        message: expect.stringMatching(/./),
      });
    }
    const table: { columnDefinitions: { name: string }[]; rows: { cells: unknown[] }[] } = await tableOf('columns');
    const names = table.columnDefinitions.map(({ name }) => name);
    expect(names).toEqual([
      'Name',
      'Ready',
      'Version',
      'Rollout',
      'Replicas',
      'Age',
      'Revision',
      'Digest',
      'URL',
      'Reason',
      'Resolved',
    ]);
    // Only a tag or a branch leads to something else.
    for (const cell of table.rows[0]?.cells.slice(0, -1) ?? [])
      expect(String(cell)).not.toMatch(/^(|null|undefined|<none>)$/);
  });

  test('tells its selector to the scale subresource', async () => {
    await models.create('scaled', { replicas: 2 });
    await models.settled('scaled');
    const path = pathOf(modelDeploymentResource, namespace, 'scaled', 'scale');
    await client.call('PATCH', path, { body: { spec: { replicas: 3 } }, contentType: 'application/merge-patch+json' });
    await eventually(
      () => models.child('Deployment', 'scaled'),
      (deployment) => deployment?.spec.replicas === 3,
    );
    const scale: AnyObject = await client.call('GET', path);
    expect(scale.status.selector).toBe('serving.slipway.dev/model-deployment=scaled,serving.slipway.dev/track=stable');
  });
});

/** What kubectl asks for and prints. */
async function tableOf(name: string) {
  const { server, dispatcher } = await openConnection({ kubeconfig: testKubeconfig() })();
  const accept = 'application/json;as=Table;g=meta.k8s.io;v=v1';
  const path = pathOf(modelDeploymentResource, namespace, name);
  const { body } = await request(`${server}${path}?includeObject=None`, { dispatcher, headers: { accept } });
  return (await body.json()) as { columnDefinitions: { name: string }[]; rows: { cells: unknown[] }[] };
}

describe('a settled ModelDeployment', () => {
  test('is not written to, and nothing of it is, also by an operator that was restarted', async () => {
    await models.create('quiet', { autoscaling, resources });
    await models.settled('quiet');
    // The autoscaler has raised the pods to its minimum, and has found that there are no metrics.
    await models.condition('quiet', 'AutoscalingActive', ({ reason }) => reason === 'NoMetricsAPI');
    await eventually(
      () => models.get('quiet'),
      ({ status }) => status.replicas === 2,
    );
    await sleep(1500);
    const versions = async () => {
      const all = [
        await models.get('quiet'),
        ...(await Promise.all(servingChildKinds.map((kind) => models.requireChild(kind, 'quiet')))),
      ];
      return all.map(({ kind, metadata }) => `${kind} ${metadata.resourceVersion}`);
    };
    const before = await versions();
    const writes = operator.writesFor('quiet').filter((write) => write !== 'write-status');
    await operator.restart();
    await sleep(2000);
    expect(operator.writesFor('quiet')).toEqual([]);
    expect(await versions()).toEqual(before);
    expect(writes).toHaveLength(6);
  });

  test('equals what was rendered: the renderer writes every default of this API server', async () => {
    const spec = {
      resources: { requests: { cpu: '250m', memory: '128Mi' }, limits: { memory: '512Mi' } },
      model: { version: '2', uri: 'pvc://models/iris.onnx', maxBytes: '100Mi' },
      pod: {
        env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'c', key: 'k' } } }],
        serviceAccountName: 'default',
        nodeSelector: { a: 'b' },
        tolerations: [{ key: 'a', operator: 'Equal', value: 'b' }],
        topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }],
        imagePullSecrets: [{ name: 'registry' }],
      },
    };
    for (const [name, fields] of Object.entries({ 'rendered-a': {}, 'rendered-b': spec })) {
      await models.create(name, fields);
      await models.settled(name);
      const [revision] = await models.revisions(name);
      const deployment = await models.requireChild('Deployment', name);
      const { creationTimestamp: _, ...metadata } = deployment.spec.template.metadata;
      expect({ ...deployment.spec.template, metadata }).toEqual(revision?.data.template);
    }
  });
});
