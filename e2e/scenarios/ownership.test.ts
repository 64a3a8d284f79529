import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createClient } from '../../operator/src/kube/client.ts';
import { openConnection } from '../../operator/src/kube/kubeconfig.ts';
import { loadLinkKeys } from '../../operator/src/podlink/link-keys.ts';
import { proxiedCall } from '../../operator/src/podlink/pod-calls.ts';
import { createPodLink } from '../../operator/src/podlink/pod-link.ts';
import { kubeconfigFile } from '../cluster/cluster.ts';
import { eventually, type Scenario, startScenario } from './scenario.ts';

/** Whose things are, when others make, leave or restore them. */
let scenario: Scenario;
beforeAll(async () => {
  scenario = await startScenario();
  await scenario.apply('iris.yaml');
  await scenario.waitReady('iris');
});
afterAll(() => scenario.end());

const pods = (name: string) =>
  scenario.kubectl([
    'get',
    'pods',
    '-l',
    `app.kubernetes.io/instance=${name}`,
    '-o',
    'jsonpath={.items[*].metadata.uid}',
  ]);
const condition = (name: string, type: string, field = 'reason') =>
  scenario.field(`mdeploy/${name}`, `{.status.conditions[?(@.type=="${type}")].${field}}`);

const resources = { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } };
const model = (name: string, spec: object) => ({
  apiVersion: 'serving.slipway.dev/v1alpha1',
  kind: 'ModelDeployment',
  metadata: { name, namespace: scenario.namespace },
  spec: { model: { version: '1', uri: 'configmap://iris-1/model.onnx' }, resources, ...spec },
});

test('children that are left behind are taken up again, with the same pods', async () => {
  const before = await pods('iris');
  await scenario.kubectl(['delete', 'mdeploy', 'iris', '--cascade=orphan', '--timeout=30s']);
  expect(await pods('iris')).toBe(before);
  await scenario.apply('iris.yaml');
  await scenario.waitReady('iris');
  const uid = await scenario.field('mdeploy/iris', '{.metadata.uid}');
  await eventually(
    () => scenario.field('deployment/iris', '{.metadata.ownerReferences[0].uid}'),
    (owner) => owner === uid,
  );
  expect(await pods('iris')).toBe(before);
});

test('a namespace that is restored from a backup settles: each object once, and no rollback', async () => {
  await scenario.apply(model('backup', { replicas: 1 }));
  await scenario.waitReady('backup');
  const kinds = ['controllerrevision', 'configmap', 'service', 'deployment', 'mdeploy'];
  const text = await scenario.kubectl([
    'get',
    kinds.join(','),
    '-l',
    'serving.slipway.dev/model-deployment=backup',
    '-o',
    'json',
  ]);
  const own = await scenario.kubectl(['get', 'mdeploy', 'backup', '-o', 'json']);
  const { items }: { items: SavedObject[] } = JSON.parse(text);
  await scenario.kubectl(['delete', 'mdeploy', 'backup', '--cascade=foreground', '--wait']);
  for (const object of [...items, JSON.parse(own) as SavedObject].map(asRestored))
    await scenario.kubectl(['create', '-f', '-', '--field-manager=velero'], { input: JSON.stringify(object) });
  await scenario.waitReady('backup', 90);
  const replicaSets = await scenario.kubectl([
    'get',
    'replicasets',
    '-l',
    'app.kubernetes.io/instance=backup',
    '-o',
    'name',
  ]);
  expect(replicaSets.trim().split('\n')).toHaveLength(1);
  expect(await condition('backup', 'RolledBack')).toBe('NotRolledBack');
});

interface SavedObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: object;
    readonly annotations?: object;
  };
  readonly status?: object;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** Without status, uids and owners, as a backup tool brings objects back. */
function asRestored({ status: _, metadata, ...object }: SavedObject): object {
  const { name, namespace, labels, annotations } = metadata;
  const { clusterIP: __, clusterIPs: ___, ...spec } = object.spec ?? {};
  return {
    ...object,
    metadata: { name, namespace, labels, annotations },
    ...(object.spec === undefined ? {} : { spec }),
  };
}

test('an operator outside the cluster speaks with pods through the API server', async () => {
  const client = createClient({ connection: openConnection({ kubeconfig: kubeconfigFile }), userAgent: 'scenario' });
  const keys = await loadLinkKeys(client, 'slipway-system', Date.now());
  const link = createPodLink({
    call: proxiedCall(client),
    keys: () => keys,
    wake: () => undefined,
    now: () => performance.now(),
    date: Date.now,
    random: Math.random,
    everyMilliseconds: 500,
  });
  const [name = '', uid = ''] = (
    await scenario.kubectl([
      'get',
      'pods',
      '-l',
      'app.kubernetes.io/instance=iris',
      '-o',
      'jsonpath={.items[0].metadata.name} {.items[0].metadata.uid}',
    ])
  ).split(' ');
  const { namespace } = scenario;
  const state = async () => link.follow({ namespace, name, uid, ip: '', key: `${namespace}/iris`, model: 'iris' });
  void link.run();
  try {
    const linked = await eventually(state, ({ kind }) => kind === 'linked', 30);
    expect(linked).toMatchObject({ figures: { model: { name: 'iris', version: '1' } } });
  } finally {
    link.close();
  }
});

describe('an autoscaler of another name', () => {
  test('has the pods, is told of, and is not fought', async () => {
    await scenario.apply(model('scaled', { replicas: 1 }));
    await scenario.waitReady('scaled');
    await scenario.apply({
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'keda-hpa-scaled', namespace: scenario.namespace },
      spec: {
        minReplicas: 2,
        maxReplicas: 3,
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'scaled' },
        metrics: [
          // What a pod computes while it starts on a busy machine is no reason for a third.
          { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 2000 } } },
        ],
      },
    });
    await eventually(
      () => scenario.field('mdeploy/scaled', '{.status.readyReplicas}'),
      (ready) => ready === '2',
      90,
    );
    expect(await condition('scaled', 'AutoscalingActive')).toBe('ForeignAutoscaler');
    const before = await pods('scaled');
    // Several syncs of the autoscaler.
    await new Promise((resolve) => setTimeout(resolve, 20_000));
    expect(await pods('scaled')).toBe(before);
    expect(await condition('scaled', 'Ready', 'status')).toBe('True');
  });
});

test('a version that arrives with no pod and fails when it is scaled up is rolled back', async () => {
  const rollout = { progressDeadlineSeconds: 10 };
  await scenario.apply(model('asleep', { replicas: 1, rollout }));
  await scenario.waitReady('asleep');
  await scenario.apply(
    model('asleep', { replicas: 0, rollout, model: { version: '2', uri: 'configmap://iris-1/none.onnx' } }),
  );
  await eventually(
    () => condition('asleep', 'UpToDate', 'status'),
    (status) => status === 'True',
  );
  await scenario.kubectl(['scale', 'mdeploy/asleep', '--replicas=1']);
  await eventually(
    () => scenario.field('mdeploy/asleep', '{.status.rollback.trigger} {.status.readyReplicas}'),
    (found) => found === 'ProgressDeadline 1',
    90,
  );
});
