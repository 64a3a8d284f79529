import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { childName, childResources, servingChildKinds } from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { revisionResource } from '../../operator/src/rollout/revision.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import type { AnyObject } from './test-cluster.ts';

const { client, namespace, models, operator, edit } = operatorSuite();

const autoscaling = { minReplicas: 2, maxReplicas: 5, triggers: [{ type: 'CPU', averageUtilization: 70 }] };
const resources = { requests: { cpu: '250m' } };

describe('drift', () => {
  test('of a child is put back, and a child that is deleted is made again', async () => {
    await models.create('drift', { autoscaling, resources });
    await models.settled('drift');
    await edit('Service', 'drift', { spec: { selector: { 'serving.slipway.dev/track': 'other' } } });
    await edit('HorizontalPodAutoscaler', 'drift', { spec: { maxReplicas: 50 } });
    await edit('PodDisruptionBudget', 'drift', { spec: { maxUnavailable: 2 } }, 'application/merge-patch+json');
    await edit('Deployment', 'drift', {
      spec: { strategy: { rollingUpdate: { maxUnavailable: 1 } } },
      metadata: { labels: { 'app.kubernetes.io/managed-by': 'me' } },
    });
    await eventually(
      async () => {
        const [, service, deployment, autoscaler, budget] = await Promise.all(
          servingChildKinds.map((kind) => models.requireChild(kind, 'drift')),
        );
        return [
          deployment?.spec.strategy.rollingUpdate.maxUnavailable,
          deployment?.metadata.labels?.['app.kubernetes.io/managed-by'],
          service?.spec.selector['serving.slipway.dev/track'],
          autoscaler?.spec.maxReplicas,
          budget?.spec.maxUnavailable,
        ];
      },
      (values) => JSON.stringify(values) === JSON.stringify([0, 'slipway', 'stable', 5, 1]),
    );
    for (const kind of servingChildKinds) {
      const { metadata } = await models.requireChild(kind, 'drift');
      await client.call('DELETE', pathOf(childResources[kind], namespace, childName(kind, 'drift')), { body: {} });
      await eventually(
        () => models.child(kind, 'drift'),
        (child) => child !== undefined && child.metadata.uid !== metadata.uid,
      );
    }
  });

  test("of a child's labels is put back, though the caches lose sight of it", async () => {
    await models.create('unlabelled', { autoscaling, resources });
    await models.settled('unlabelled');
    const label = 'serving.slipway.dev/model-deployment';
    for (const [kind, value] of [
      ['Service', null],
      ['HorizontalPodAutoscaler', null],
      ['Service', 'other'],
    ] as const) {
      await edit(kind, 'unlabelled', { metadata: { labels: { [label]: value } } }, 'application/merge-patch+json');
      await eventually(
        () => models.requireChild(kind, 'unlabelled'),
        ({ metadata }) => metadata.labels?.[label] === 'unlabelled',
      );
    }
  });

  test("of a Service's ports is put back, with a Warning", async () => {
    await models.create('ports', { autoscaling, resources });
    await models.settled('ports');
    const ports = [{ name: 'http', port: 8080, targetPort: 'http', protocol: 'TCP' }];
    await edit('Service', 'ports', { spec: { ports } }, 'application/merge-patch+json');
    await eventually(
      () => models.requireChild('Service', 'ports'),
      ({ spec }) => spec.ports.length === 2 && spec.ports[0].port === 80,
    );
    await eventually(
      () => models.events('ports'),
      (found) => found.some(({ reason, note }) => reason === 'DriftRepaired' && note.includes('the Service')),
    );
  });

  test('of the keys by which pods know the operator is put back, with a Warning', async () => {
    await models.create('keys');
    await models.settled('keys');
    const before = (await models.requireChild('ConfigMap', 'keys')) as AnyObject & { data: object };
    await edit('ConfigMap', 'keys', { data: { 'keys.json': '{"keys":[]}', more: 'x' } });
    await eventually(
      async () => (await models.requireChild('ConfigMap', 'keys')) as AnyObject & { data: object },
      ({ data }) => JSON.stringify(data) === JSON.stringify(before.data),
    );
    await eventually(
      () => models.events('keys'),
      (found) => found.some(({ reason, note }) => reason === 'DriftRepaired' && note.includes('the ConfigMap')),
    );
  });

  test('below the pod template is put back whole, with a Warning, and leaves no ReplicaSet in the history', async () => {
    await models.create('template', { replicas: 0 });
    await models.settled('template');
    const before = (await models.requireChild('Deployment', 'template')).spec.template;
    await edit('Deployment', 'template', {
      spec: {
        template: {
          spec: {
            containers: [{ name: 'model', env: [{ name: 'EXTRA', value: '1' }], image: 'other:1' }],
            hostNetwork: false,
          },
        },
      },
    });
    await eventually(
      () => models.requireChild('Deployment', 'template'),
      ({ spec }) => JSON.stringify(spec.template) === JSON.stringify(before),
    );
    const events = await eventually(
      () => models.events('template'),
      (found) => found.some(({ reason }) => reason === 'DriftRepaired'),
    );
    const warning = events.find(({ reason }) => reason === 'DriftRepaired');
    expect(warning).toMatchObject({ type: 'Warning', note: expect.stringMatching(/kubectl.*EXTRA/) });
    await eventually(
      async () => (await models.replicaSets()).filter(({ metadata }) => metadata.name.startsWith('template-')),
      (found) => found.length === 1,
    );
  });

  test('of the label of a revision is put back, and nothing stands still', async () => {
    await models.create('unmarked');
    await models.settled('unmarked');
    const [revision] = await models.revisions('unmarked');
    const label = 'serving.slipway.dev/model-deployment';
    await client.call('PATCH', pathOf(revisionResource, namespace, revision?.metadata.name), {
      body: { metadata: { labels: { [label]: null } } },
      contentType: 'application/merge-patch+json',
    });
    await eventually(
      () => models.revisions('unmarked'),
      (found) => found.length === 1,
    );
    await models.patch('unmarked', { model: { version: '2' } });
    await eventually(
      () => models.requireChild('Deployment', 'unmarked'),
      ({ spec }) => spec.template.metadata.labels['app.kubernetes.io/version'] === '2',
    );
  });

  test('is not a restart: restartedAt is kept, through new versions as well', async () => {
    await models.create('restarted');
    await models.settled('restarted');
    const restart = {
      spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': 'now' } } } },
    };
    await edit('Deployment', 'restarted', restart);
    await sleep(1000);
    await models.patch('restarted', { model: { version: '2' } });
    const { spec } = await eventually(
      () => models.requireChild('Deployment', 'restarted'),
      (deployment) => deployment.spec.template.metadata.labels['app.kubernetes.io/version'] === '2',
    );
    expect(spec.template.metadata.annotations['kubectl.kubernetes.io/restartedAt']).toBe('now');
    expect((await models.events('restarted')).map(({ reason }) => reason)).not.toContain('DriftRepaired');
  });

  test('of a policy that always changes a field back is reported, not fought', async () => {
    const policy = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingAdmissionPolicy',
      metadata: { name: 'always-five' },
      spec: {
        matchConstraints: {
          resourceRules: [
            {
              apiGroups: ['policy'],
              apiVersions: ['v1'],
              operations: ['CREATE', 'UPDATE'],
              resources: ['poddisruptionbudgets'],
            },
          ],
        },
        matchConditions: [{ name: 'resisting', expression: "object.metadata.name == 'resisting'" }],
        reinvocationPolicy: 'Never',
        mutations: [
          {
            patchType: 'JSONPatch',
            jsonPatch: { expression: '[JSONPatch{op: "replace", path: "/spec/maxUnavailable", value: 5}]' },
          },
        ],
      },
    };
    const binding = {
      apiVersion: policy.apiVersion,
      kind: 'MutatingAdmissionPolicyBinding',
      metadata: policy.metadata,
      spec: { policyName: 'always-five' },
    };
    await client.call('POST', '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies', { body: policy });
    await client.call('POST', '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings', {
      body: binding,
    });
    await sleep(1500);
    await models.create('resisting', { replicas: 2 });
    await eventually(
      () => models.events('resisting'),
      (found) =>
        found.some(
          ({ reason, note }) =>
            reason === 'ApplyResisted' && note.includes('spec.maxUnavailable of the PodDisruptionBudget'),
        ),
    );
    await sleep(1000);
    const applies = operator.writesFor('resisting').filter((write) => write === 'apply PodDisruptionBudget');
    expect(applies.length).toBeLessThanOrEqual(2);
  });
});
