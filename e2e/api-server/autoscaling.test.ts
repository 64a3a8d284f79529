import { describe, expect, test } from '@jest/globals';
import { childResources } from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { eventually } from '../eventually.ts';
import { operatorSuite } from './operator-suite.ts';
import type { AnyObject } from './test-cluster.ts';

const { client, namespace, models } = operatorSuite();

const autoscaling = { minReplicas: 2, maxReplicas: 5, triggers: [{ type: 'CPU', averageUtilization: 70 }] };
const resources = { requests: { cpu: '250m' } };

describe('autoscaling', () => {
  test('is turned on without the pods falling to one, and off without their number changing', async () => {
    await models.create('handed', { replicas: 4, resources });
    await models.settled('handed');
    const seen: number[] = [];
    const watch = new AbortController();
    const watching = watchReplicas('handed', seen, watch.signal);
    await models.patch('handed', { replicas: null, autoscaling });
    await models.requireChild('HorizontalPodAutoscaler', 'handed');
    const owners = async () => replicaOwners(await models.requireChild('Deployment', 'handed'));
    expect((await models.requireChild('Deployment', 'handed')).spec.replicas).toBe(4);
    // What the autoscaler sets is its own from then on.
    await client.call('PATCH', pathOf(childResources.Deployment, namespace, 'handed', 'scale'), {
      body: { spec: { replicas: 5 } },
      contentType: 'application/merge-patch+json',
      query: { fieldManager: 'kube-controller-manager' },
    });
    await eventually(owners, (managers) => !managers.includes('slipway'));
    await models.patch('handed', { model: { version: '2' } });
    const { spec } = await eventually(
      () => models.requireChild('Deployment', 'handed'),
      (deployment) => deployment.spec.template.metadata.labels['app.kubernetes.io/version'] === '2',
    );
    expect(spec.replicas).toBe(5);

    await models.patch('handed', { autoscaling: null, replicas: 3 });
    await eventually(
      () => models.child('HorizontalPodAutoscaler', 'handed'),
      (autoscaler) => autoscaler === undefined,
    );
    await eventually(
      () => models.requireChild('Deployment', 'handed'),
      ({ spec }) => spec.replicas === 3,
    );
    expect(await owners()).toContain('slipway');
    watch.abort();
    await watching;
    expect(seen.every((replicas) => replicas >= 3)).toBe(true);
  });

  test('begins with minReplicas', async () => {
    const seen: number[] = [];
    const watch = new AbortController();
    const watching = watchReplicas('begun', seen, watch.signal);
    await models.create('begun', { autoscaling: { ...autoscaling, minReplicas: 3 }, resources });
    await models.settled('begun');
    watch.abort();
    await watching;
    expect(new Set(seen)).toEqual(new Set([3]));
  });

  test('takes a number outside its limits to the nearest', async () => {
    await models.create('clamped', { replicas: 9, resources });
    await models.settled('clamped');
    await models.patch('clamped', { replicas: null, autoscaling });
    await eventually(
      () => models.requireChild('Deployment', 'clamped'),
      ({ spec }) => spec.replicas === 5,
    );
  });

  test('follows its spec: limits, triggers, and a behavior that comes and goes', async () => {
    await models.create('tuned', { autoscaling, resources });
    const behavior = { scaleDown: { stabilizationWindowSeconds: 7 } };
    await models.requireChild('HorizontalPodAutoscaler', 'tuned');
    await models.patch('tuned', {
      autoscaling: { maxReplicas: 6, behavior, triggers: [{ type: 'Memory', averageValue: '1Gi' }] },
    });
    const tuned = await eventually(
      () => models.requireChild('HorizontalPodAutoscaler', 'tuned'),
      ({ spec }) => spec.maxReplicas === 6,
    );
    expect(tuned.spec.behavior.scaleDown.stabilizationWindowSeconds).toBe(7);
    expect(tuned.spec.metrics[0].containerResource).toMatchObject({
      name: 'memory',
      target: { type: 'AverageValue', averageValue: '1Gi' },
    });
    await models.patch('tuned', { autoscaling: { behavior: null } });
    await eventually(
      () => models.requireChild('HorizontalPodAutoscaler', 'tuned'),
      ({ spec }) => spec.behavior?.scaleDown?.stabilizationWindowSeconds !== 7,
    );
  });

  test('without a metrics API says what to install', async () => {
    await models.create('blind', { autoscaling, resources });
    const condition = await models.condition(
      'blind',
      'AutoscalingActive',
      ({ reason }) => reason !== '' && reason !== 'Starting',
    );
    expect(condition).toMatchObject({
      status: 'False',
      reason: 'NoMetricsAPI',
      message: expect.stringContaining('install metrics-server'),
    });
  });

  async function watchReplicas(name: string, seen: number[], signal: AbortSignal): Promise<void> {
    const path = pathOf(childResources.Deployment, namespace);
    try {
      for await (const event of client.watch(path, { fieldSelector: `metadata.name=${name}` }, signal)) {
        seen.push((event as { object: AnyObject }).object.spec.replicas);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  function replicaOwners({ metadata }: AnyObject): string[] {
    const owning = (metadata.managedFields ?? []).filter(
      ({ fieldsV1 }) => fieldsV1?.['f:spec']?.['f:replicas'] !== undefined,
    );
    return owning.map(({ manager }) => manager ?? '');
  }
});
