import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { modelDeploymentResource, replicaSetResource } from '../../operator/src/controller/caches.ts';
import { servingChildKinds } from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { desiredReplicasAnnotation } from '../../operator/src/rollout/forgotten-scaling.ts';
import { eventually } from '../eventually.ts';
import type { FaultProxy } from './fault-proxy.ts';
import { type InProcessOperator, startInProcessOperator } from './in-process-operator.ts';
import { modelDeployments } from './model-deployments.ts';
import { operatorSuite } from './operator-suite.ts';
import { startOperator } from './running-operator.ts';
import { type AnyObject, makeNamespace } from './test-cluster.ts';

const { client, namespace, models, operator } = operatorSuite();

const autoscaling = { minReplicas: 2, maxReplicas: 5, triggers: [{ type: 'CPU', averageUtilization: 70 }] };
const resources = { requests: { cpu: '250m' } };

describe('two operators', () => {
  test('never work at once: the second waits, and takes over when the first ends', async () => {
    const second = startOperator();
    await sleep(2000);
    await models.create('handover');
    await models.settled('handover');
    await eventually(
      async () => operator.writesFor('handover'),
      (writes) => writes.includes('create-revision'),
    );
    await operator.replaceBy(second);
    await models.patch('handover', { replicas: 2 });
    await eventually(
      () => models.requireChild('Deployment', 'handover'),
      ({ spec }) => spec.replicas === 2,
    );
    await eventually(
      async () => operator.writesFor('handover'),
      (writes) => writes.includes('apply Deployment'),
    );
  });
});

test('a rollout goes on whose controller takes an old note for a scaling that is still to be done', async () => {
  await models.create('forgotten', { replicas: 1 });
  await models.settled('forgotten');
  const ofModel = async () =>
    (await models.replicaSets()).filter(({ metadata }) => metadata.name.startsWith('forgotten-'));
  const [only] = await eventually(ofModel, ({ length }) => length === 1);
  // As that controller leaves it where a Deployment is scaled down at the right moment of a rollout.
  await client.call('PATCH', pathOf(replicaSetResource, namespace, only?.metadata.name), {
    contentType: 'application/merge-patch+json',
    body: { metadata: { annotations: { [desiredReplicasAnnotation]: '2' } } },
  });
  await models.patch('forgotten', { model: { version: '2' } });
  const found = await eventually(ofModel, (all) => all.some(({ spec }) => spec.replicas === 1) && all.length === 2);
  expect(found.map(({ metadata }) => metadata.annotations?.[desiredReplicasAnnotation])).not.toContain('2');
  await eventually(
    async () => operator.writesFor('forgotten'),
    (writes) => writes.some((write) => write.startsWith('forget-scaling ')),
  );
});

describe('a leader', () => {
  test('that is killed is replaced, and nothing is made twice', async () => {
    await models.create('killed');
    await models.settled('killed');
    const before = await models.requireChild('Deployment', 'killed');
    const second = startOperator();
    await sleep(1000);
    await models.patch('killed', { replicas: 2 });
    await operator.killAndReplaceBy(second);
    await eventually(
      () => models.requireChild('Deployment', 'killed'),
      ({ spec, metadata }) => spec.replicas === 2 && metadata.uid === before.metadata.uid,
    );
    expect(await models.revisions('killed')).toHaveLength(1);
  });

  test.each([
    ['whose lease another has taken', 2000, () => stealLease(own)],
    ['that cannot renew its lease', 13_000, async () => cutLease(leader.proxy)],
  ])('%s writes nothing more', async (_, milliseconds, lose) => {
    own = await makeNamespace(client);
    leader = await startInProcessOperator(own);
    const ownModels = modelDeployments(client, own);
    await ownModels.create('lost');
    await ownModels.settled('lost');
    await leader.quiet();
    await lose();
    await sleep(milliseconds);
    const writes = leader.proxy.writes.length;
    await ownModels.patch('lost', { model: { version: '2' } });
    await sleep(1000);
    expect(leader.proxy.writes).toHaveLength(writes);
    await expect(leader.stop()).rejects.toThrow('the lease was lost');
  });

  test('that loses its lease while it is being ended writes nothing more', async () => {
    own = await makeNamespace(client);
    leader = await startInProcessOperator(own);
    const ownModels = modelDeployments(client, own);
    await ownModels.create('ending');
    await ownModels.settled('ending');
    await leader.quiet();
    // The first write of the pass is held up until the lease is another's; the others would come after it.
    let release: (() => void) | undefined;
    const heldUp = new Promise<void>((resolve) => {
      release = resolve;
    });
    let isHeld = false;
    leader.proxy.decide = async ({ isWrite }) => {
      if (!isWrite || isHeld) return { kind: 'pass' };
      isHeld = true;
      await heldUp;
      return { kind: 'pass' };
    };
    await ownModels.patch('ending', { model: { version: '2' } });
    await eventually(
      async () => isHeld,
      (is) => is,
    );
    const writes = leader.proxy.writes.length;
    const stopped = leader.stop().catch((error: unknown) => String(error));
    await stealLease(own);
    expect(await stopped).toContain('the lease was lost');
    release?.();
    await sleep(500);
    expect(leader.proxy.writes.length).toBeLessThanOrEqual(writes + 1);
  });

  let own: string;
  let leader: InProcessOperator;

  function cutLease(proxy: FaultProxy): void {
    proxy.decide = ({ resource }) => ({ kind: resource === 'leases' ? 'cut' : 'pass' });
  }

  async function stealLease(from: string): Promise<void> {
    await client.call('PATCH', `/apis/coordination.k8s.io/v1/namespaces/${from}/leases/slipway-operator`, {
      contentType: 'application/merge-patch+json',
      body: { spec: { holderIdentity: 'a thief' } },
    });
  }
});

test('an operator starts where a Service is called slipway, whose variables the cluster sets', async () => {
  const second = startOperator({ env: { SLIPWAY_PORT: 'tcp://10.0.0.1:80' } });
  await sleep(1000);
  await operator.replaceBy(second);
});

describe('deleting', () => {
  test('leaves nothing behind', async () => {
    await models.create('gone', { autoscaling, resources });
    await models.settled('gone');
    await models.delete('gone');
    await eventually(
      async () => {
        const children = await Promise.all(servingChildKinds.map((kind) => models.child(kind, 'gone')));
        const rest = [...(await models.replicaSets()), ...(await models.pods())].filter(({ metadata }) =>
          metadata.name.startsWith('gone-'),
        );
        return [...children.filter((child) => child !== undefined), ...rest, ...(await models.revisions('gone'))].map(
          ({ metadata }) => metadata.name,
        );
      },
      (left) => left.length === 0,
    );
  });
});

describe('the examples', () => {
  test.each(['iris.yaml', 'iris-2.yaml', 'digits.yaml'])('%s is accepted as it stands', async (file) => {
    const text = readFileSync(join(import.meta.dirname, '../../examples', file), 'utf8');
    for (const document of text.split(/^---$/m)) {
      const body = load(document) as AnyObject;
      const resource =
        body.kind === 'ConfigMap'
          ? `/api/v1/namespaces/${namespace}/configmaps`
          : pathOf(modelDeploymentResource, namespace);
      await client.call('POST', resource, { body, query: { dryRun: 'All', fieldValidation: 'Strict' } });
    }
  });
});
