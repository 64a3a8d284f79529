import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { childResources } from '../../operator/src/desired/children.ts';
import { pathOf, type Resource } from '../../operator/src/kube/objects.ts';
import { revisionResource } from '../../operator/src/rollout/revision.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import type { AnyObject } from './test-cluster.ts';

const { client, namespace, models, operator } = operatorSuite();

const crds: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
};
const crd = load(readFileSync(join(import.meta.dirname, '../../crds/modeldeployments.yaml'), 'utf8')) as AnyObject;

afterAll(() => putCrd(crd.spec));

function putCrd(spec: object): Promise<unknown> {
  const body = { ...crd, spec };
  const query = { fieldManager: 'test', force: true };
  const path = pathOf(crds, undefined, crd.metadata.name);
  return client.call('PATCH', path, { body, query, contentType: 'application/apply-patch+yaml' });
}

const live = (name: string) => models.requireChild('Deployment', name);

const replicaSets = async (name: string) =>
  (await models.replicaSets()).filter(({ metadata }) => metadata.labels?.['app.kubernetes.io/instance'] === name)
    .length;

/** After an upgrade, something is changed that reaches no pod, to see that the operator is at work and restarts none. */
async function expectNoRestart(name: string, upgrade: () => Promise<void>): Promise<void> {
  await eventually(
    () => replicaSets(name),
    (found) => found > 0,
  );
  const [before, count] = [await live(name), await replicaSets(name)];
  await upgrade();
  await models.patch(name, { replicas: 2 });
  await eventually(
    () => live(name),
    ({ spec }) => spec.replicas === 2,
  );
  await sleep(500);
  expect((await live(name)).spec.template).toEqual(before.spec.template);
  expect(await replicaSets(name)).toBe(count);
}

describe('no pod is restarted by', () => {
  test('an operator with another default image', async () => {
    await models.create('image');
    await models.settled('image');
    await expectNoRestart('image', () => operator.restart({ image: 'example/slipway:2' }));
  });

  test('an operator that renders in another way', async () => {
    await models.create('rendered');
    await models.settled('rendered');
    await eventually(
      () => replicaSets('rendered'),
      (count) => count === 1,
    );
    // As an operator would have left it that rendered another grace period, and arguments.
    await operator.pausedFor(async () => {
      const [revision] = await models.revisions('rendered');
      if (revision === undefined) throw new Error('there is no revision');
      const template = structuredClone(revision.data.template) as AnyObject['spec'];
      template.spec.terminationGracePeriodSeconds = 45;
      template.spec.containers[0].args = ['--as-before'];
      await replaceRevision({ ...revision, data: { ...revision.data, template } });
      await applyTemplate(await live('rendered'), template);
      await eventually(
        () => replicaSets('rendered'),
        (count) => count === 2,
      );
    });
    await expectNoRestart('rendered', () => operator.restart());
    expect((await live('rendered')).spec.template.spec.containers[0].args).toEqual(['--as-before']);
  });

  test('an API with a new field that reaches the pod', async () => {
    await models.create('field');
    await models.settled('field');
    await expectNoRestart('field', async () => {
      const spec = structuredClone(crd.spec);
      const { pod } = spec.versions[0].schema.openAPIV3Schema.properties.spec.properties;
      pod.properties.hostNetwork = { type: 'boolean' };
      await putCrd(spec);
      await operator.restart();
    });
  });

  test('an API server that adds a default', async () => {
    await models.create('defaulted');
    await models.settled('defaulted');
    await operator.pausedFor(async () => {
      const path = pathOf(childResources.Deployment, namespace, 'defaulted');
      const patch = (body: object[]): Promise<AnyObject> =>
        client.call('PATCH', path, {
          body,
          query: { fieldManager: 'default' },
          contentType: 'application/json-patch+json',
        });
      await patch([
        { op: 'add', path: '/spec/minReadySeconds', value: 1 },
        { op: 'add', path: '/spec/template/spec/shareProcessNamespace', value: false },
      ]);
      // Nobody owns a default, so what the patch has added is taken out of the record of owners again.
      const disown = async () => {
        const { managedFields, resourceVersion } = (await live('defaulted')).metadata;
        await patch([
          {
            op: 'replace',
            path: '/metadata/managedFields',
            value: managedFields?.filter(({ manager }) => manager !== 'default'),
          },
          { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
        ]);
      };
      await eventually(
        () =>
          disown().then(
            () => true,
            () => false,
          ),
        (done) => done,
      );
    });
    const { metadata } = await live('defaulted');
    await models.patch('defaulted', { replicas: 2 });
    const after = await eventually(
      () => live('defaulted'),
      ({ spec }) => spec.replicas === 2,
    );
    expect(after.metadata.uid).toBe(metadata.uid);
    expect(after.spec).toMatchObject({ minReadySeconds: 1, template: { spec: { shareProcessNamespace: false } } });
    await sleep(500);
    expect((await live('defaulted')).metadata.generation).toBe(after.metadata.generation);
  });
});

/** The data of a ControllerRevision cannot be changed, so another takes its name. */
async function replaceRevision({ metadata, revision, data }: AnyObject & { revision: number; data: object }) {
  const { name, labels, ownerReferences, annotations } = metadata;
  await client.call('DELETE', pathOf(revisionResource, namespace, name), { body: {} });
  const body = { metadata: { name, namespace, labels, ownerReferences, annotations }, revision, data };
  await client.call('POST', pathOf(revisionResource, namespace), {
    body: { apiVersion: 'apps/v1', kind: 'ControllerRevision', ...body },
  });
}

/** Puts a template into a Deployment as the operator does. */
async function applyTemplate({ metadata, spec }: AnyObject, template: object): Promise<void> {
  const { name, labels, ownerReferences } = metadata;
  const { strategy, selector, progressDeadlineSeconds, revisionHistoryLimit, replicas } = spec;
  const cause = 'kubernetes.io/change-cause';
  const manifest = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels, ownerReferences, annotations: { [cause]: metadata.annotations?.[cause] } },
    spec: { strategy, selector, progressDeadlineSeconds, revisionHistoryLimit, replicas, template },
  };
  await client.call('PATCH', pathOf(childResources.Deployment, namespace, name), {
    body: manifest,
    query: { fieldManager: 'slipway', force: true },
    contentType: 'application/apply-patch+yaml',
  });
}
