import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually, type Scenario, startScenario } from './scenario.ts';

let scenario: Scenario;
beforeAll(async () => {
  scenario = await startScenario();
  await scenario.apply('iris.yaml');
});
afterAll(() => scenario.end());

const model = { version: '1', uri: 'configmap://iris-1/model.onnx' };

describe('what is wrong is explained within seconds', () => {
  test.each<[string, object, string, string]>([
    [
      'image',
      { model, runtime: { image: 'registry.invalid/slipway:1' } },
      'ImageCannotBePulled',
      'check spec.runtime.image',
    ],
    [
      'crash',
      { model, pod: { env: [{ name: 'NODE_OPTIONS', value: '--require=/none' }] } },
      'CrashLoop',
      'see kubectl logs --previous',
    ],
    [
      'digest',
      { model: { ...model, sha256: '0'.repeat(64) } },
      'ModelDigestMismatch',
      'correct spec.model.sha256 or restore the file',
    ],
    ['large', { model: { ...model, maxBytes: 100 } }, 'ModelTooLarge', 'raise spec.model.maxBytes'],
    ['key', { model: { ...model, uri: 'configmap://iris-1/other.onnx' } }, 'ModelNotFound', 'there is no model at'],
    [
      'invalid',
      { model: { ...model, uri: 'configmap://kube-root-ca.crt/ca.crt' } },
      'ModelInvalid',
      'not an ONNX model',
    ],
    [
      'unreachable',
      { model: { ...model, uri: 'http://models.invalid/model.onnx' } },
      'ModelFetchFailed',
      'could not be read',
    ],
    ['metadata', { model: { ...model, uri: 'http://169.254.169.254/model.onnx' } }, 'ModelFetchFailed', 'link-local'],
    [
      'unpinned-missing',
      { model: { ...model, uri: 'configmap://none/model.onnx' } },
      'VolumeCannotBeMounted',
      '"none" not found',
    ],
    [
      'claim',
      { model: { ...model, uri: 'pvc://none/model.onnx' } },
      'Unschedulable',
      'persistentvolumeclaim "none" not found',
    ],
    ['big', { model, resources: { requests: { cpu: '500' } } }, 'Unschedulable', 'Insufficient cpu'],
    [
      'secret',
      { model, pod: { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'none', key: 'k' } } }] } },
      'ContainerCannotStart',
      '"none" not found',
    ],
    [
      'account',
      { model, pod: { serviceAccountName: 'none' } },
      'PodsCannotBeCreated',
      'serviceaccount "none" not found',
    ],
  ])('%s', async (name, spec, reason, message) => {
    await scenario.apply({
      apiVersion: 'serving.slipway.dev/v1alpha1',
      kind: 'ModelDeployment',
      metadata: { name },
      spec,
    });
    const ready = async () =>
      JSON.parse((await scenario.field(`mdeploy/${name}`, '{.status.conditions[?(@.type=="Ready")]}')) || '{}') as {
        reason?: string;
        message?: string;
        status?: string;
      };
    const condition = await eventually(ready, (found) => found.reason === reason, 60);
    expect(condition.status).toBe('False');
    expect(condition.message).toContain(message);
    const described = await scenario.kubectl(['describe', 'mdeploy', name]);
    expect(described).toContain(reason);
    await eventually(
      () => scenario.kubectl(['get', 'events', '--field-selector', `involvedObject.name=${name},type=Warning`]),
      (events) => events.includes(reason),
      20,
    );
    expect(await scenario.field(`mdeploy/${name}`, '{.status.rollout.message}')).toContain(reason);
    await scenario.kubectl(['delete', 'mdeploy', name, '--wait=false']);
  });

  test('a version that cannot be loaded leaves the one before serving, and a good one recovers', async () => {
    await scenario.waitReady('iris');
    await scenario.kubectl([
      'patch',
      'mdeploy/iris',
      '--type=merge',
      '-p',
      JSON.stringify({ spec: { model: { version: '9', sha256: '0'.repeat(64) } } }),
    ]);
    await eventually(
      () => scenario.field('mdeploy/iris', '{.status.rollout.message}'),
      (text) => text === 'stuck: ModelDigestMismatch',
    );
    const conditions = '{range .status.conditions[*]}{.type}={.status} {end}';
    expect(await scenario.field('mdeploy/iris', conditions)).toMatch(
      /Ready=False Available=True UpToDate=False .*ModelLoaded=False/,
    );
    expect(await scenario.field('mdeploy/iris', '{.status.modelVersion}')).toBe('1');
    await scenario.apply('iris-2.yaml');
    await scenario.waitReady('iris');
    expect(await scenario.field('mdeploy/iris', '{.status.modelVersion}')).toBe('2');
  });

  test('an unpinned model shows the digest that its pods report', async () => {
    await scenario.apply({
      apiVersion: 'serving.slipway.dev/v1alpha1',
      kind: 'ModelDeployment',
      metadata: { name: 'unpinned' },
      spec: { model },
    });
    await scenario.waitReady('unpinned');
    await eventually(
      () => scenario.field('mdeploy/unpinned', '{.status.modelDigest}'),
      (digest) => /^sha256:[a-f0-9]{64}$/.test(digest),
      30,
    );
    expect(await scenario.field('mdeploy/unpinned', '{.status.conditions[?(@.type=="ModelLoaded")].reason}')).toBe(
      'Unpinned',
    );
  });
});
