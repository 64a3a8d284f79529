import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonical } from '../canonical.ts';
import { modelDeployment } from '../testing/test-objects.ts';
import { healthyDespiteGoldenSet, prunable, type Revision, renderRevision, revisionName } from './revision.ts';

const goldenSet = { configMapName: 'golden', key: 'golden.json', sha256: 'a'.repeat(64) };

function recorded(version: string, number: number, healthy = false): Revision {
  const model = modelDeployment({ model: { version, uri: 'https://models.example/m.onnx' } });
  const manifest = renderRevision(model, revisionName(model, []), number, 'i:1');
  const annotations = healthy ? { 'serving.slipway.dev/healthy-since': 'then' } : {};
  return { ...manifest, metadata: { ...manifest.metadata, uid: '', resourceVersion: '', annotations } };
}

describe('the name of a revision', () => {
  test('changes with what reaches the pod, and with nothing else', () => {
    const name = (spec: Parameters<typeof modelDeployment>[0]) => revisionName(modelDeployment(spec), []);
    const model = { version: '1', uri: 'https://models.example/iris.onnx' };
    const same = name({});
    expect(same).toMatch(/^iris-[b-z0-9]{10}$/);
    expect(name({ replicas: 5 })).toBe(same);
    expect(name({ rollout: { maxSurge: 1 } })).toBe(same);
    expect(name({ autoscaling: { maxReplicas: 2, triggers: [] } })).toBe(same);
    const others = [
      name({ model: { ...model, version: '2' } }),
      name({ model: { ...model, sha256: 'a' } }),
      name({ resources: { requests: { cpu: '1' } } }),
      name({ runtime: { threads: 2 } }),
      name({ runtime: { handler: {} } }),
      name({ runtime: { handler: { isolation: 'Container' } } }),
      name({ pod: { labels: { a: 'b' } } }),
      name({ validation: { goldenSet } }),
      name({ validation: { goldenSet: { ...goldenSet, sha256: 'b'.repeat(64) } } }),
    ];
    expect(new Set([same, ...others]).size).toBe(10);
    expect(name({ validation: { contract: 'Backward' } })).toBe(same);
    expect(name({ service: { tensorFlowServingPorts: 'Enabled' } })).toBe(same);
  });

  test('is the same for what means the same, however it is written', () => {
    const meant = (spec: Parameters<typeof modelDeployment>[0]) => revisionName(modelDeployment(spec), []);
    const plain = meant({ resources: { requests: { cpu: 1, memory: '1Gi' } } });
    const model = { version: '1', uri: 'https://models.example/iris.onnx', name: 'iris' };
    const others = [
      meant({ resources: { requests: { cpu: '1', memory: '1024Mi' } }, runtime: {} }),
      meant({ resources: { requests: { cpu: '1000m', memory: '1Gi' }, limits: {} }, pod: { labels: {}, env: [] } }),
      meant({ resources: { requests: { cpu: 1, memory: '1Gi' } }, model }),
    ];
    expect(others).toEqual([plain, plain, plain]);
    const handled = (requests: Record<string, string | number>) =>
      meant({ runtime: { handler: { isolation: 'Container', resources: { requests } } } });
    expect(meant({ runtime: { cache: 'None' } })).toBe(meant({}));
    expect(meant({ runtime: { handler: { isolation: 'Process' } } })).toBe(meant({ runtime: { handler: {} } }));
    const ofModels = (...models: string[]) => meant({ runtime: { handler: { models, files: models.toReversed() } } });
    expect(ofModels('a.onnx', 'b.onnx')).toBe(ofModels('b.onnx', 'a.onnx'));
    expect(ofModels('a.onnx')).not.toBe(ofModels('b.onnx'));
    expect(handled({ cpu: 1, memory: '1Gi' })).toBe(handled({ cpu: '1000m', memory: '1024Mi' }));
    expect(meant({ pod: { labels: { a: '' } } })).not.toBe(meant({}));
    const tolerations = [{ key: 'a', value: 'b' }];
    expect(meant({ pod: { tolerations } })).toBe(
      meant({ pod: { tolerations: [{ key: 'a', value: 'b', operator: 'Equal' }] } }),
    );
  });

  test('is the one that it was recorded under, by an operator that hashed the text', () => {
    const old = recorded('1', 1);
    const named = { ...old, metadata: { ...old.metadata, name: 'iris-bcdfghjklm' } };
    expect(
      revisionName(modelDeployment({ model: { version: '1', uri: 'https://models.example/m.onnx' } }), [named]),
    ).toBe('iris-bcdfghjklm');
  });

  test('is another when a different revision has it already', () => {
    const model = modelDeployment();
    const name = revisionName(model, []);
    const manifest = renderRevision(model, name, 1, 'i:1');
    const holder = { ...manifest, metadata: { ...manifest.metadata, uid: '', resourceVersion: '' } };
    expect(revisionName(model, [holder])).toBe(name);
    const other = { ...holder, data: { ...holder.data, inputs: { model: { version: 'x', uri: 'y' } } } };
    expect(revisionName(model, [other])).not.toBe(name);
  });

  test('does not hang on the order of keys', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonical(reversed)).toBe(canonical(value));
      }),
    );
  });
});

test('only revisions that were healthy and have a golden set are told to pods', () => {
  const plain = recorded('1', 1, true);
  const checked = (version: string, healthy: boolean) => {
    const revision = recorded(version, 1, healthy);
    return { ...revision, data: { ...revision.data, inputs: { ...revision.data.inputs, goldenSet } } };
  };
  const healthy = checked('2', true);
  expect(healthyDespiteGoldenSet([plain, healthy, checked('3', false)])).toEqual([healthy.metadata.name]);
});

describe('revisions to forget', () => {
  const all = [recorded('1', 1), recorded('2', 2, true), recorded('3', 3), recorded('4', 4), recorded('5', 5)];
  const names = (revisions: readonly Revision[]) => revisions.map(({ revision }) => revision);

  test('are the oldest above the limit', () => {
    expect(names(prunable(all, new Set(), 2))).toEqual([3, 1]);
    expect(names(prunable(all, new Set(), 10))).toEqual([]);
  });

  test('are never the newest healthy one, nor one in use', () => {
    const inUse = new Set(
      all.filter(({ revision }) => revision === 1 || revision === 5).map(({ metadata }) => metadata.name),
    );
    expect(names(prunable(all, inUse, 1))).toEqual([3]);
    expect(names(prunable(all, inUse, 0))).toEqual([4, 3]);
  });
});
