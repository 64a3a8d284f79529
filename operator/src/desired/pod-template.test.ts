import { describe, expect, test } from '@jest/globals';
import { Deployment } from 'kubernetes-models/apps/v1';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { Service } from 'kubernetes-models/v1';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { modelDeployment } from '../testing/test-objects.ts';
import { renderAutoscaler } from './autoscaler.ts';
import { renderDeployment } from './deployment.ts';
import { renderDisruptionBudget } from './disruption-budget.ts';
import { renderPodTemplate } from './pod-template.ts';
import { renderCanaryService, renderService } from './service.ts';

function render(spec: Partial<ModelDeploymentSpec> = {}) {
  const { metadata, spec: podSpec } = renderPodTemplate(modelDeployment(spec), 'iris-r', 'slipway:1');
  const [container] = podSpec?.containers ?? [];
  const env = Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value]));
  return { metadata, podSpec, container, env };
}

const model = { version: '1', uri: 'https://models.example/iris.onnx' };

describe('a pod template', () => {
  test('holds everything that brings the model back', () => {
    const signature = { publicKey: 'a key', file: 'model.sig' };
    const { metadata, container, env } = render({
      model: {
        ...model,
        archivePath: 'iris/model.onnx',
        sha256: 'f'.repeat(64),
        maxBytes: '1Mi',
        signature,
        operatorDomains: ['com.microsoft', 'org.example'],
      },
    });
    expect(env).toMatchObject({
      SLIPWAY_MODEL_NAME: 'iris',
      SLIPWAY_MODEL_VERSION: '1',
      SLIPWAY_MODEL_URI: model.uri,
      SLIPWAY_MODEL_ARCHIVE_PATH: 'iris/model.onnx',
      SLIPWAY_OPERATOR_DOMAINS: 'com.microsoft,org.example',
      SLIPWAY_MODEL_SHA256: 'f'.repeat(64),
      SLIPWAY_MODEL_SIGNATURE_KEY: 'a key',
      SLIPWAY_MODEL_SIGNATURE_FILE: 'model.sig',
      SLIPWAY_MODEL_MAX_BYTES: '1048576',
      SLIPWAY_REVISION: 'iris-r',
    });
    expect(container?.image).toBe('slipway:1');
    expect(metadata?.annotations).toEqual({ 'serving.slipway.dev/revision': 'iris-r' });
    expect(metadata?.labels).toMatchObject({ 'serving.slipway.dev/track': 'stable', 'app.kubernetes.io/version': '1' });
  });

  test('says what the model is used for', () => {
    const embedding = { pooling: 'LastToken', normalization: 'Disabled', maxTokens: 256 } as const;
    expect(render({ runtime: { task: 'TextEmbedding', embedding } }).env).toMatchObject({
      SLIPWAY_TASK: 'TextEmbedding',
      SLIPWAY_TASK_POOLING: 'LastToken',
      SLIPWAY_TASK_NORMALIZATION: 'Disabled',
      SLIPWAY_TASK_MAX_TOKENS: '256',
    });
    const classification = { scoring: 'Sigmoid', maxTokens: 128 } as const;
    expect(render({ runtime: { task: 'TextClassification', classification } }).env).toMatchObject({
      SLIPWAY_TASK: 'TextClassification',
      SLIPWAY_TASK_SCORING: 'Sigmoid',
      SLIPWAY_TASK_MAX_TOKENS: '128',
    });
    const ofDetector = { task: 'ObjectDetection', detection: { maxPixels: 4096 } } as const;
    expect(render({ runtime: ofDetector }).env).toMatchObject({ SLIPWAY_TASK_MAX_PIXELS: '4096' });
    const ofPictures = { task: 'ImageClassification', classification: { maxPixels: 4096 } } as const;
    expect(render({ runtime: ofPictures }).env).toMatchObject({
      SLIPWAY_TASK: 'ImageClassification',
      SLIPWAY_TASK_MAX_PIXELS: '4096',
    });
    const pictureHosts = ['images.example.com', '*.example.org'];
    expect(render({ runtime: { task: 'ObjectDetection', detection: { pictureHosts } } }).env).toMatchObject({
      SLIPWAY_TASK_PICTURE_HOSTS: 'images.example.com,*.example.org',
    });
    const ofTokens = { task: 'TokenClassification', entities: { aggregation: 'First', maxTokens: 256 } } as const;
    expect(render({ runtime: ofTokens }).env).toMatchObject({
      SLIPWAY_TASK: 'TokenClassification',
      SLIPWAY_TASK_AGGREGATION: 'First',
      SLIPWAY_TASK_MAX_TOKENS: '256',
    });
    expect(render({ runtime: { task: 'ZeroShot', zeroShot: { hypothesis: 'It is {}.' } } }).env).toMatchObject({
      SLIPWAY_TASK: 'ZeroShot',
      SLIPWAY_TASK_HYPOTHESIS: 'It is {}.',
    });
    const tabular = { columns: [{ name: 'age' }, { name: 'town', categories: ['Ulm', 'Kiel'] }] };
    expect(render({ runtime: { task: 'Tabular', tabular } }).env).toMatchObject({
      SLIPWAY_TASK: 'Tabular',
      SLIPWAY_TASK_COLUMNS: '[{"name":"age"},{"name":"town","categories":["Ulm","Kiel"]}]',
    });
    const { env } = render({ runtime: { task: 'Rerank', rerank: { scoring: 'Logits' } } });
    expect(env).toMatchObject({ SLIPWAY_TASK: 'Rerank', SLIPWAY_TASK_SCORING: 'Logits' });
    expect(env).not.toHaveProperty('SLIPWAY_TASK_MAX_TOKENS');
  });

  test('says that there is a handler, and what it reads', () => {
    expect(render({ runtime: { handler: {} } }).env).toMatchObject({ SLIPWAY_HANDLER: 'Enabled' });
    const files = ['labels.json', 'words.txt'];
    const handler = { files, models: ['second.onnx', 'third.onnx'], timeoutMilliseconds: 500 };
    expect(render({ runtime: { handler } }).env).toMatchObject({
      SLIPWAY_HANDLER_FILES: 'labels.json,words.txt',
      SLIPWAY_HANDLER_MODELS: 'second.onnx,third.onnx',
      SLIPWAY_HANDLER_TIMEOUT_MILLISECONDS: '500',
    });
    expect(render().env).not.toHaveProperty('SLIPWAY_HANDLER');
  });

  test('has a container for the handler where that is asked for, which is given nothing else', () => {
    expect(render({ runtime: { handler: {} } }).podSpec).not.toHaveProperty('initContainers');
    const handler = { isolation: 'Container', resources: { limits: { memory: '48Mi' } } } as const;
    const { env, podSpec } = render({ runtime: { handler } });
    expect(env).toMatchObject({ SLIPWAY_HANDLER_SOCKET: '/run/slipway/handler/socket' });
    const [container, ...others] = podSpec?.initContainers ?? [];
    expect(others).toEqual([]);
    expect(container).toMatchObject({
      restartPolicy: 'Always',
      resources: { requests: { cpu: '50m', memory: '48Mi' }, limits: { memory: '48Mi' } },
      volumeMounts: [
        { name: 'work', readOnly: true },
        { name: 'handler', mountPath: '/run/slipway/handler' },
      ],
    });
    expect(container?.env).toBeUndefined();
  });

  test('asks the cache of its node, with a token that is good for nothing else', () => {
    expect(render().env).not.toHaveProperty('SLIPWAY_NODE_CACHE_URL');
    const { env, podSpec, container } = render({ runtime: { cache: 'Node' } });
    expect(env).toMatchObject({ SLIPWAY_NODE_CACHE_URL: 'http://slipway-node-cache.slipway-system.svc:8090' });
    expect(podSpec?.automountServiceAccountToken).toBe(false);
    expect(podSpec?.volumes).toContainEqual({
      name: 'node-cache',
      projected: {
        sources: [{ serviceAccountToken: { audience: 'slipway-node-cache', expirationSeconds: 3600, path: 'token' } }],
        defaultMode: 0o440,
      },
    });
    const mount = { name: 'node-cache', mountPath: '/etc/slipway/node-cache', readOnly: true };
    expect(container?.volumeMounts).toContainEqual(mount);
  });

  test('is hardened, and gets no token', () => {
    const { podSpec, container } = render();
    expect(podSpec).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(podSpec?.securityContext).not.toHaveProperty('runAsUser');
    expect(container?.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    });
  });

  test.each([
    [undefined, undefined, { cpu: '100m', memory: '256Mi' }],
    [{ cpu: '2' }, undefined, { cpu: '2', memory: '256Mi' }],
    [undefined, { memory: '128Mi' }, { cpu: '100m', memory: '128Mi' }],
    [undefined, { cpu: '50m', memory: '1Gi' }, { cpu: '50m', memory: '256Mi' }],
  ])('requests of %j within limits of %j become %j', (requests, limits, expected) => {
    const resources = { ...(requests ? { requests } : {}), ...(limits ? { limits } : {}) };
    expect(render({ resources }).container?.resources?.requests).toEqual(expected);
  });

  test.each([
    [{}, '1'],
    [{ resources: { limits: { cpu: '2500m' } } }, '3'],
    [{ resources: { limits: { cpu: '100m' } } }, '1'],
    [{ resources: { limits: { cpu: 4 } }, runtime: { threads: 2 } }, '2'],
  ])('%j runs with %s threads', (spec, threads) => {
    expect(render(spec).env['SLIPWAY_THREADS']).toBe(threads);
  });

  test('what runs the model is told only if it is set, so that templates from before stay as they are', () => {
    const names = [
      'SLIPWAY_INSTANCES',
      'SLIPWAY_BATCH_MAX_SIZE',
      'SLIPWAY_BATCH_MAX_DELAY_MILLISECONDS',
      'SLIPWAY_MAX_IN_FLIGHT',
      'SLIPWAY_REQUEST_TIMEOUT_MILLISECONDS',
    ];
    const { env } = render({});
    expect(names.map((name) => env[name])).toEqual(names.map(() => undefined));
    const batching = { maxSize: 16, maxDelayMilliseconds: 2 };
    const runtime = { instances: 2, batching, maxInFlight: 9, requestTimeoutMilliseconds: 90_000 };
    const set = render({ runtime, resources: { limits: { cpu: '3' } } });
    expect(names.map((name) => set.env[name])).toEqual(['2', '16', '2', '9', '90000']);
    expect(set.env['SLIPWAY_THREADS']).toBe('2');
  });

  test.each([
    [undefined, 60],
    [40_000, 60],
    [90_000, 110],
  ])('a request timeout of %s ms leaves %s s to end in', (requestTimeoutMilliseconds, seconds) => {
    const runtime = requestTimeoutMilliseconds === undefined ? {} : { requestTimeoutMilliseconds };
    expect(render({ runtime }).podSpec?.terminationGracePeriodSeconds).toBe(seconds);
  });

  test.each([
    ['https://models.example/m.onnx', undefined],
    ['oci://registry.example:99999/iris:1/m.onnx', undefined],
    ['pvc://claim/a/b.onnx', { name: 'source', persistentVolumeClaim: { claimName: 'claim', readOnly: true } }],
    ['configmap://map/m.onnx', { name: 'source', configMap: { name: 'map', defaultMode: 0o444 } }],
    [
      `image://registry.example/iris@sha256:${'a'.repeat(64)}/m.onnx`,
      {
        name: 'source',
        image: { reference: `registry.example/iris@sha256:${'a'.repeat(64)}`, pullPolicy: 'IfNotPresent' },
      },
    ],
  ])('%s is on the volume %j', (uri, volume) => {
    const { podSpec, container } = render({ model: { version: '1', uri } });
    expect(podSpec?.volumes?.find(({ name }) => name === 'source')).toEqual(volume);
    expect(container?.volumeMounts?.some(({ name }) => name === 'source')).toBe(volume !== undefined);
  });

  test("the user's labels and variables do not take the place of ours", () => {
    const pod = { labels: { 'serving.slipway.dev/track': 'canary', team: 'x' }, env: [{ name: 'A', value: '1' }] };
    const { metadata, env } = render({ pod });
    expect(metadata?.labels).toMatchObject({ 'serving.slipway.dev/track': 'stable', team: 'x' });
    expect(env['A']).toBe('1');
  });
});

test('a behavior that says nothing is none', () => {
  const autoscaling = { maxReplicas: 3, triggers: [], behavior: {} };
  expect(renderAutoscaler(modelDeployment({ autoscaling }))?.spec).not.toHaveProperty('behavior');
});

test('every child is valid under the schema of Kubernetes', () => {
  const autoscaling = {
    minReplicas: 2,
    maxReplicas: 3,
    triggers: [
      { type: 'CPU' as const, averageUtilization: 70 },
      { type: 'Memory' as const, averageValue: '1Gi' },
    ],
  };
  const owner = modelDeployment({ autoscaling });
  const template = renderPodTemplate(owner, 'iris-r', 'slipway:1');
  const [autoscaler, budget] = [renderAutoscaler(owner), renderDisruptionBudget(owner)];
  if (autoscaler === undefined || budget === undefined) throw new Error('nothing was rendered');
  new Deployment(renderDeployment(owner, template, 'version 1', 2)).validate();
  new Service(renderService(owner, 'both')).validate();
  new Service(renderCanaryService(owner)).validate();
  new HorizontalPodAutoscaler(autoscaler).validate();
  new PodDisruptionBudget(budget).validate();
});

test('a Service has the ports of TensorFlow Serving where they are asked for', () => {
  const portsOf = (spec: object) => renderService(modelDeployment(spec), 'stable').spec?.ports?.map(({ port }) => port);
  expect(portsOf({})).toEqual([80, 9000]);
  expect(portsOf({ service: { tensorFlowServingPorts: 'Disabled' } })).toEqual([80, 9000]);
  expect(portsOf({ service: { tensorFlowServingPorts: 'Enabled' } })).toEqual([80, 9000, 8500, 8501]);
});

test('credentials for the store are mounted, and no more of them is in the template than a name', () => {
  const model = { version: '1', uri: 's3://models/iris.onnx', secretName: 'store' };
  const { spec } = renderPodTemplate(modelDeployment({ model }), 'iris-r', 'slipway:1');
  const credentials = { name: 'credentials', mountPath: '/etc/slipway/credentials', readOnly: true };
  expect(spec?.containers[0]?.volumeMounts).toContainEqual(credentials);
  expect(spec?.volumes).toContainEqual({ name: 'credentials', secret: { secretName: 'store', defaultMode: 0o440 } });
  const plain = renderPodTemplate(modelDeployment(), 'iris-r', 'slipway:1');
  expect(JSON.stringify(plain)).not.toContain('credentials');
});

test('a golden set is mounted, and its pods start without the ConfigMap', () => {
  const goldenSet = { configMapName: 'iris-golden', key: 'golden.json', sha256: 'a'.repeat(64) };
  const { spec } = renderPodTemplate(modelDeployment({ validation: { goldenSet } }), 'iris-r', 'slipway:1');
  const [container] = spec?.containers ?? [];
  const variables = container?.env?.filter(({ name }) => name.startsWith('SLIPWAY_GOLDEN'));
  expect(variables).toEqual([
    { name: 'SLIPWAY_GOLDEN_SET', value: '/etc/slipway/golden/golden.json' },
    { name: 'SLIPWAY_GOLDEN_SET_SHA256', value: goldenSet.sha256 },
  ]);
  expect(container?.volumeMounts).toContainEqual({ name: 'golden', mountPath: '/etc/slipway/golden', readOnly: true });
  expect(spec?.volumes).toContainEqual({
    name: 'golden',
    configMap: {
      name: 'iris-golden',
      items: [{ key: 'golden.json', path: 'golden.json' }],
      defaultMode: 0o444,
      optional: true,
    },
  });
});

test.each([
  [{}, false],
  [{ replicas: 1 }, false],
  [{ replicas: 2 }, true],
  [{ autoscaling: { minReplicas: 1, maxReplicas: 2, triggers: [] } }, true],
  [{ autoscaling: { minReplicas: 1, maxReplicas: 1, triggers: [] } }, false],
])('%j has a disruption budget: %s', (spec, has) => {
  expect(renderDisruptionBudget(modelDeployment(spec)) !== undefined).toBe(has);
});
