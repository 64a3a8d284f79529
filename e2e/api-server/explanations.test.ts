import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { servingChildKinds } from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { revisionResource } from '../../operator/src/rollout/revision.ts';
import { eventually } from '../eventually.ts';
import { modelDeployments } from './model-deployments.ts';
import { operatorSuite } from './operator-suite.ts';
import { makeNamespace } from './test-cluster.ts';

const { client, namespace, models, edit } = operatorSuite();

const policies = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies';
const bindings = `${policies.slice(0, -'policies'.length)}policybindings`;
const groups: Readonly<Record<string, string>> = { deployments: 'apps', poddisruptionbudgets: 'policy' };

/** Denies an object, as a policy of the cluster does. */
async function denying(name: string, resource: string, matches: string, validation: object): Promise<void> {
  const rule = {
    apiGroups: [groups[resource]],
    apiVersions: ['v1'],
    operations: ['CREATE', 'UPDATE'],
    resources: [resource],
  };
  const spec = {
    failurePolicy: 'Fail',
    matchConstraints: { resourceRules: [rule] },
    matchConditions: [{ name: 'one', expression: matches }],
    validations: [validation],
  };
  await client.call('POST', policies, { body: { metadata: { name }, spec } });
  await client.call('POST', bindings, {
    body: { metadata: { name }, spec: { policyName: name, validationActions: ['Deny'] } },
  });
  // Policies take effect a moment later.
  await sleep(1500);
}

describe('what is wrong is explained', () => {
  test('a spec that the API server refuses for a child, which holds up no other child, and a good one recovers', async () => {
    await denying('no-first-version', 'deployments', "object.metadata.name == 'refused'", {
      expression: "object.spec.template.metadata.labels['app.kubernetes.io/version'] != '1'",
      message: 'the first version is denied',
    });
    await models.create('refused', { replicas: 2 });
    const condition = await models.condition('refused', 'Stalled', ({ status }) => status === 'True');
    expect(condition).toMatchObject({
      reason: 'ApplyRefused',
      message: expect.stringContaining('the API server refuses the Deployment'),
    });
    expect(condition.message).toContain('the first version is denied');
    await models.requireChild('Service', 'refused');
    await models.requireChild('PodDisruptionBudget', 'refused');
    await models.patch('refused', { model: { version: '2' } });
    await models.condition('refused', 'Stalled', ({ status }) => status === 'False');
    await models.requireChild('Deployment', 'refused');
  });

  test('a quota on the records of revisions, which then recovers by itself', async () => {
    const small = await makeNamespace(client);
    const quota = `/api/v1/namespaces/${small}/resourcequotas`;
    await client.call('POST', quota, {
      body: { metadata: { name: 'none' }, spec: { hard: { 'count/controllerrevisions.apps': '0' } } },
    });
    await sleep(1000);
    const there = modelDeployments(client, small);
    await there.create('unrecorded');
    const condition = await there.condition('unrecorded', 'Stalled', ({ reason }) => reason === 'ApplyRefused');
    expect(condition.message).toMatch(/refuses the ControllerRevision: .*exceeded quota/);
    expect(await there.child('Deployment', 'unrecorded')).toBeUndefined();
    await client.call('DELETE', `${quota}/none`, { body: {} });
    await there.settled('unrecorded');
    await there.condition('unrecorded', 'Stalled', ({ status }) => status === 'False');
  });

  test('a refusal whose cause a person removes, or makes up for, is told no more', async () => {
    await denying('no-budgets', 'poddisruptionbudgets', "object.metadata.name == 'denied'", {
      expression: 'false',
      message: 'budgets are denied',
    });
    await models.create('denied', { replicas: 2 });
    const condition = await models.condition('denied', 'Stalled', ({ reason }) => reason === 'ApplyRefused');
    expect(condition.message).toContain('budgets are denied');
    await client.call('DELETE', `${bindings}/no-budgets`, { body: {} });
    await models.condition('denied', 'Stalled', ({ status }) => status === 'False');
    await models.requireChild('PodDisruptionBudget', 'denied');
  });

  test('a revision that nobody owns any more is taken over', async () => {
    await models.create('orphan');
    await models.settled('orphan');
    const [revision] = await models.revisions('orphan');
    if (revision === undefined) throw new Error('there is no revision');
    await models.delete('orphan');
    await eventually(
      async () => [
        ...(await models.revisions('orphan')),
        ...(await Promise.all(servingChildKinds.map((kind) => models.child(kind, 'orphan')))),
      ],
      (left) => left.every((object) => object === undefined),
    );
    // As `kubectl delete --cascade=orphan` leaves it.
    const { name, labels } = revision.metadata;
    await client.call('POST', pathOf(revisionResource, namespace), {
      body: { ...revision, metadata: { name, labels } },
    });
    const again = await models.create('orphan');
    await models.settled('orphan');
    const [taken] = await models.revisions('orphan');
    expect(taken?.metadata.name).toBe(name);
    expect(taken?.metadata.ownerReferences?.[0]?.uid).toBe(again.metadata.uid);
  });

  test('pods that a quota forbids', async () => {
    const small = await makeNamespace(client);
    await client.call('POST', `/api/v1/namespaces/${small}/resourcequotas`, {
      body: { metadata: { name: 'none' }, spec: { hard: { pods: '0' } } },
    });
    await sleep(1000);
    const there = modelDeployments(client, small);
    await there.create('quota');
    const condition = await there.condition('quota', 'Ready', ({ reason }) => reason === 'PodsCannotBeCreated');
    expect(condition.message).toMatch(/exceeded quota.*raise the quota of the namespace/);
    await eventually(
      () => there.events('quota'),
      (events) => events.some(({ type, reason }) => `${type} ${reason}` === 'Warning PodsCannotBeCreated'),
    );
  });

  test('pods that Pod Security forbids are none of ours: they are restricted', async () => {
    const restricted = await makeNamespace(client, { 'pod-security.kubernetes.io/enforce': 'restricted' });
    const there = modelDeployments(client, restricted);
    await there.create('restricted');
    await eventually(
      () => there.pods(),
      (pods) => pods.length === 1,
    );
  });

  test('a Deployment that somebody has paused', async () => {
    await models.create('paused');
    await models.settled('paused');
    await edit('Deployment', 'paused', { spec: { paused: true } });
    await models.patch('paused', { model: { version: '2' } });
    const condition = await models.condition('paused', 'Ready', ({ reason }) => reason === 'Paused');
    expect(condition.message).toContain('kubectl rollout resume deployment');
    expect((await models.requireChild('Deployment', 'paused')).spec.paused).toBe(true);
  });
});
