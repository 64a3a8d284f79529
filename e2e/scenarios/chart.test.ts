import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadAll } from 'js-yaml';
import { installChart } from '../cluster/install.ts';
import { localTools } from '../cluster/tools.ts';
import { eventually, type Scenario, startScenario, testImage } from './scenario.ts';

const chart = join(import.meta.dirname, '../../charts/slipway');
let scenario: Scenario;
beforeAll(async () => {
  scenario = await startScenario();
});
afterAll(() => scenario.end());

interface Rendered {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
  };
  readonly rules?: readonly { readonly apiGroups: string[]; readonly resources: string[]; readonly verbs: string[] }[];
  // biome-ignore lint/suspicious/noExplicitAny: many kinds of objects
  readonly spec?: any;
}

async function render(...values: string[]): Promise<Rendered[]> {
  const text = await scenario.helm([
    'template',
    'slipway',
    chart,
    '-n',
    'slipway-system',
    '--kube-version',
    '1.37.2',
    ...values,
  ]);
  return (loadAll(text) as (Rendered | null)[]).filter((object) => object !== null);
}

describe('the chart', () => {
  test('passes helm lint', async () => {
    expect(await scenario.helm(['lint', '--strict', chart])).toContain('0 chart(s) failed');
  });

  test('has the one CRD, kept when the release goes, and no wildcard in its roles', async () => {
    const objects = await render();
    const crd = objects.find(({ kind }) => kind === 'CustomResourceDefinition');
    expect(crd?.metadata).toMatchObject({
      name: 'modeldeployments.serving.slipway.dev',
      annotations: { 'helm.sh/resource-policy': 'keep' },
    });
    expect(crd?.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.model.required).toEqual([
      'version',
      'uri',
    ]);
    const rules = objects.flatMap(({ rules: own = [] }) => own);
    expect(rules.length).toBeGreaterThan(10);
    for (const { apiGroups, resources, verbs } of rules)
      expect([...apiGroups, ...resources, ...verbs]).not.toContain('*');
    const secrets = rules.filter(({ resources }) => resources.includes('secrets'));
    expect(secrets).toEqual([
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['slipway-link-keys'], verbs: ['get', 'patch'] },
    ]);
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(
      expect.arrayContaining([
        'ClusterRole slipway-view',
        'ClusterRole slipway-edit',
        'PodDisruptionBudget slipway-operator',
      ]),
    );
  });

  test('gives an operator that watches one namespace rights in that alone', async () => {
    const objects = await render('--set', 'operator.watchNamespace=models', '--set', 'aggregateRoles=false');
    expect(objects.filter(({ kind }) => kind.startsWith('ClusterRole'))).toEqual([]);
    const roles = objects.filter(({ kind }) => kind === 'Role' || kind === 'RoleBinding');
    expect(roles.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`).sort()).toEqual([
      'Role models/slipway-operator-models',
      'Role slipway-system/slipway-operator',
      'RoleBinding models/slipway-operator-models',
      'RoleBinding slipway-system/slipway-operator',
    ]);
    const everywhere = (await render()).find(({ kind }) => kind === 'ClusterRole');
    expect(roles.find(({ metadata }) => metadata.namespace === 'models')?.rules).toEqual(everywhere?.rules);
  });

  test('hardens the operator, and gives it an image that does not change', async () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const deployment = (await render('--set', `image.digest=${digest}`)).find(({ kind }) => kind === 'Deployment');
    const pod = deployment?.spec.template.spec;
    expect(deployment?.spec.replicas).toBe(2);
    expect(pod.enableServiceLinks).toBe(false);
    expect(pod.containers[0].image).toBe(`slipway@${digest}`);
    expect(pod.containers[0].env).toContainEqual({ name: 'SLIPWAY_INFERENCE_IMAGE', value: `slipway@${digest}` });
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod.containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    });
  });

  test.each([
    [['--set', 'image.tag=latest'], "at '/image/tag'"],
    [['--set', 'operator.replicas=0'], "at '/operator/replicas'"],
    [['--set', 'operator.logLevel=loud'], "at '/operator/logLevel'"],
    [['--set', 'operatr.replicas=2'], "'operatr' not allowed"],
  ])('refuses %j', async (values, message) => {
    await expect(render(...values)).rejects.toThrow(message);
  });

  test('is refused in another namespace, and a second time', async () => {
    await expect(scenario.helm(['template', 'x', chart, '-n', 'other', '--kube-version', '1.37.2'])).rejects.toThrow(
      'install the chart with --namespace slipway-system',
    );
    await expect(scenario.helm(['install', 'second', chart, '-n', 'slipway-system'])).rejects.toThrow(
      /invalid ownership metadata|exists and cannot be imported/,
    );
  });
});

describe('the release', () => {
  test('is two operators, of which one leads', async () => {
    const holder = await scenario.kubectl([
      '-n',
      'slipway-system',
      'get',
      'lease',
      'slipway-operator',
      '-o',
      'jsonpath={.spec.holderIdentity}',
    ]);
    const pods = await scenario.kubectl([
      '-n',
      'slipway-system',
      'get',
      'pods',
      '-l',
      'app.kubernetes.io/name=slipway',
      '-o',
      'jsonpath={.items[*].metadata.name}',
    ]);
    expect(pods.split(' ').length).toBeGreaterThanOrEqual(2);
    expect(pods).toContain(holder.split('_')[0]);
  });

  test('lets the user roles view and edit ModelDeployments', async () => {
    const can = async (role: string, ...what: string[]) => {
      const account = `system:serviceaccount:${scenario.namespace}:${role}`;
      await scenario
        .kubectl([
          'create',
          'rolebinding',
          role,
          `--clusterrole=${role}`,
          `--serviceaccount=${scenario.namespace}:${role}`,
        ])
        .catch(() => undefined);
      return (await scenario.kubectl(['auth', 'can-i', ...what, '--as', account]).catch(() => 'no')).trim();
    };
    await eventually(
      () => can('view', 'get', 'modeldeployments'),
      (answer) => answer === 'yes',
      20,
    );
    expect(await can('view', 'create', 'modeldeployments')).toBe('no');
    expect(await can('edit', 'create', 'modeldeployments')).toBe('yes');
    expect(await can('edit', 'patch', 'modeldeployments', '--subresource=scale')).toBe('yes');
    expect(await can('edit', 'patch', 'modeldeployments', '--subresource=status')).toBe('no');
  });

  test('upgrades the API and the operator with the chart, and restarts no model', async () => {
    await scenario.apply('iris.yaml');
    await scenario.waitReady('iris');
    const running = () =>
      scenario.kubectl([
        'get',
        'pods',
        '-l',
        'app.kubernetes.io/instance=iris',
        '-o',
        'jsonpath={.items[*].metadata.uid}',
      ]);
    const before = await running();
    const restarted = ['--set-string', 'operator.podAnnotations.upgraded=yes'];
    const folder = await mkdtemp(join(tmpdir(), 'slipway-chart-'));
    const columns = () =>
      scenario.field(
        'crd/modeldeployments.serving.slipway.dev',
        '{.spec.versions[0].additionalPrinterColumns[*].name}',
      );
    const upgrade = (what: string) =>
      scenario.helm(['upgrade', 'slipway', what, '-n', 'slipway-system', '--reuse-values', '--wait', ...restarted]);
    try {
      await cp(chart, folder, { recursive: true });
      const file = join(folder, 'files/modeldeployments.yaml');
      const crd = await readFile(file, 'utf8');
      await rm(file); // a link to the file of crds/, which must not be written through
      await writeFile(
        file,
        crd.replace(
          'additionalPrinterColumns:\n',
          'additionalPrinterColumns:\n        - {name: Newer, type: string, jsonPath: .spec.model.uri}\n',
        ),
      );
      await upgrade(folder);
      expect(await columns()).toMatch(/^Newer Ready /);
      await upgrade(chart);
      expect(await columns()).toMatch(/^Ready /);
      await scenario.kubectl(['scale', 'mdeploy/iris', '--replicas=3']);
      await eventually(
        () => scenario.field('mdeploy/iris', '{.status.readyReplicas}'),
        (ready) => ready === '3',
      );
      expect((await running()).split(' ')).toEqual(expect.arrayContaining(before.split(' ')));
      await scenario.kubectl(['delete', 'mdeploy/iris']);
      await eventually(running, (left) => left === '');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('is uninstalled without touching the models, and installed again takes them up', async () => {
    await scenario.apply('iris.yaml');
    await scenario.waitReady('iris');
    const pods = () =>
      scenario.kubectl(['get', 'pods', '-l', 'serving.slipway.dev/model-deployment=iris', '-o', 'name']);
    const before = await pods();
    expect(await scenario.helm(['uninstall', 'slipway', '-n', 'slipway-system', '--wait'])).toContain(
      'These resources were kept due to the resource policy',
    );
    expect(await scenario.field('mdeploy/iris', '{.status.readyReplicas}')).toBe('2');
    expect(await pods()).toBe(before);

    const keyOf = () => scenario.field('configmap/iris-link', '{.data.keys\\.json}');
    const linked = () => scenario.field('mdeploy/iris', '{.status.conditions[?(@.type=="Linked")].status}');
    expect(await linked()).toBe('True');
    const key = await keyOf();
    await installChart(await localTools(), testImage());
    // With another key, which the pods that go on learn by their mount.
    await eventually(keyOf, (current) => current !== key);
    await eventually(linked, (status) => status === 'False', 60);
    await eventually(linked, (status) => status === 'True', 180);
    expect(await pods()).toBe(before);
    await scenario.kubectl(['scale', 'mdeploy/iris', '--replicas=3']);
    await eventually(
      () => scenario.field('mdeploy/iris', '{.status.readyReplicas}'),
      (ready) => ready === '3',
    );
    for (const pod of before.trim().split('\n')) expect(await pods()).toContain(pod);
  });
});
