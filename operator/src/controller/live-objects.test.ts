import { describe, expect, test } from '@jest/globals';
import { keptRevision, liveAutoscaler } from './live-objects.ts';

const metadata = { name: 'iris', namespace: 'n', uid: 'u', resourceVersion: '1' };
const labels = { 'serving.slipway.dev/model-deployment': 'iris' };
const owned = {
  ownerReferences: [{ apiVersion: 'v1', kind: 'ModelDeployment', name: 'iris', uid: 'm', controller: true }],
};

describe('an autoscaler', () => {
  const of = (kind: string, rest: object = {}) =>
    liveAutoscaler({
      kind: 'HorizontalPodAutoscaler',
      metadata: { ...metadata, ...rest },
      spec: { scaleTargetRef: { kind, name: 'iris' }, maxReplicas: 3, metrics: [{}] },
    } as never);

  test('of somebody else is kept if it scales a Deployment, and slim', () => {
    expect(of('Deployment')?.spec).toEqual({ scaleTargetRef: { kind: 'Deployment', name: 'iris' }, maxReplicas: 3 });
    expect(of('StatefulSet')).toBeUndefined();
    expect(of('StatefulSet', { labels })).toBeUndefined();
  });

  test('of ours is kept whole, whatever somebody has made of it', () => {
    expect(of('Deployment', { labels })?.spec.metrics).toEqual([{}]);
    expect(of('StatefulSet', owned)?.spec.metrics).toEqual([{}]);
  });
});

test('a record that is none of ours is left out', () => {
  const record = (data: unknown) => keptRevision({ metadata, revision: 1, data } as never);
  expect(record({ inputs: { model: { version: '1' } }, template: {}, renderVersion: 2 })?.data.renderVersion).toBe(2);
  for (const odd of [undefined, null, 'x', {}, { spec: { template: {} } }, { inputs: {}, template: {} }])
    expect(record(odd)).toBeUndefined();
});
