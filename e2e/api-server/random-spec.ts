import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { load } from 'js-yaml';

/** The part of an OpenAPI schema that values are made from. */
interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
}

/** Values where the schema alone does not say what makes sense, by the end of their path. */
const meaningful: Readonly<Record<string, readonly unknown[]>> = {
  'model.name': [undefined],
  'model.version': ['1', '2', '3'],
  'model.uri': [
    'configmap://iris-1/model.onnx',
    'pvc://models/iris/1.onnx',
    `image://registry.example/iris@sha256:${'c'.repeat(64)}/iris.onnx`,
    'https://models.example/iris.onnx',
    's3://models/iris.onnx',
    'gs://models/iris.onnx',
    'azblob://account/models/iris.onnx',
    'oci://registry.example/iris:1',
    'mlflow://iris@champion/iris.onnx',
    'hf://org/iris@main/iris.onnx',
    'git+https://git.example/iris.git@main/iris.onnx',
  ],
  'model.archivePath': ['model.onnx', 'iris 1/model.onnx'],
  'model.operatorDomains': [undefined, ['com.microsoft'], ['com.microsoft', 'org.example.text']],
  'model.secretName': ['store', 'another.store'],
  // Pods of an unpinned model would be asked what they have loaded, and there are none here.
  'model.sha256': ['a'.repeat(64), 'b'.repeat(64)],
  'signature.publicKey': [
    '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n',
    '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEB\n-----END PUBLIC KEY-----\n',
  ],
  'identity.subject': ['trainer@example.com', 'https://git.example/train'],
  'identity.issuer': [undefined, 'https://accounts.example.com'],
  'identity.authorities': ['-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'],
  'signature.file': ['model.sig', 'signatures/model.sig'],
  'model.maxBytes': ['500Mi', 1_000_000, '0.5Gi'],
  replicas: [0, 1, 2, 3],
  'resources.requests': [{}, { cpu: '100m' }, { cpu: '0.25', memory: '128Mi' }],
  'resources.limits': [{ memory: '1Gi' }, { cpu: 2, memory: '1024Mi' }],
  'runtime.image': ['example/other:1', `example/other@sha256:${'c'.repeat(64)}`],
  'pod.labels': [{}, { team: 'a' }, { team: 'b', 'example.com/tier': '' }],
  'pod.annotations': [{}, { note: 'x' }, { note: '', other: 'y' }],
  'pod.nodeSelector': [{}, { zone: 'a' }, { zone: 'b', disk: '' }],
  'env.name': ['A', 'B', 'C'],
  'env.value': ['', '1', ' two '],
  'env.valueFrom': [
    undefined,
    { secretKeyRef: { name: 's', key: 'k' } },
    { configMapKeyRef: { name: 'c', key: 'k', optional: true } },
  ],
  'tolerations.key': ['gpu', 'example.com/spot'],
  'tolerations.value': ['', 'yes'],
  'tolerations.tolerationSeconds': [undefined],
  'topologySpreadConstraints.topologyKey': ['zone', 'host'],
  'topologySpreadConstraints.maxSkew': [1, 2],
  'pod.serviceAccountName': ['default'],
  'pod.priorityClassName': ['system-cluster-critical', undefined],
  'imagePullSecrets.name': ['one', 'two'],
  'autoscaling.minReplicas': [1, 2],
  'autoscaling.maxReplicas': [2, 5],
  'columns.name': ['age', 'town'],
  'columns.categories': [undefined, ['Ulm', 'Kiel']],
  'classification.pictureHosts': [undefined, ['images.example.com'], ['*.example.com', '*']],
  'detection.pictureHosts': [undefined, ['*']],
  'handler.files': [undefined, ['labels.json'], ['labels.json', 'words.txt']],
  'handler.models': [undefined, ['recognizer.onnx'], ['recognizer.onnx', 'direction.onnx']],
  'zeroShot.hypothesis': ['It is {}.', '{}?'],
  'triggers.averageValue': ['512Mi', 1_000_000],
  'scaleUp.tolerance': ['50m', 0],
  'scaleDown.tolerance': ['0.1'],
  'rollout.maxSurge': [1, '25%', 2],
  'rollout.maxUnavailable': [0, '0%', 1],
  // No pod takes a share here: a canary would be tried for ever.
  'rollout.strategy': ['RollingUpdate'],
  'rollout.canary': [undefined],
  'rollout.blueGreen': [undefined],
  'rollout.analysis': [undefined],
  // Nothing fails here, and nothing may seem to.
  'rollout.progressDeadlineSeconds': [600],
  'rollout.revisionHistoryLimit': [1, 3],
  // No pod can be asked: there are none here.
  'validation.contract': ['Ignore'],
  'goldenSet.configMapName': ['golden', 'iris.golden'],
  'goldenSet.key': ['golden.json'],
  'goldenSet.sha256': ['a'.repeat(64), 'b'.repeat(64)],
};

/** Specs made from the CRD's own schema. Some of them its CEL rules refuse. */
export function randomSpecs(): fc.Arbitrary<object> {
  const file = join(import.meta.dirname, '../../crds/modeldeployments.yaml');
  const crd = load(readFileSync(file, 'utf8')) as {
    spec: { versions: { schema: { openAPIV3Schema: { properties: { spec: Schema } } } }[] };
  };
  const schema = crd.spec.versions[0]?.schema.openAPIV3Schema.properties.spec;
  if (schema === undefined) throw new Error('the CRD has no schema');
  return (arbitraryOf(schema, []) as fc.Arbitrary<Spec>).map(consistent);
}

interface Spec {
  replicas?: number;
  autoscaling?: { triggers: { type: string; averageUtilization?: number; averageValue?: unknown }[] };
  resources?: { requests?: Record<string, unknown> };
  readonly model: { uri?: string; sha256?: string; secretName?: string; signature?: object };
  readonly runtime?: Readonly<Record<string, unknown>>;
  readonly rollout?: object;
  readonly pod?: object;
}

/** Each task has options of its own. */
const taskOptions: Readonly<Record<string, string>> = {
  TextEmbedding: 'embedding',
  TextClassification: 'classification',
  ImageClassification: 'classification',
  ObjectDetection: 'detection',
  TokenClassification: 'entities',
  ZeroShot: 'zeroShot',
  Rerank: 'rerank',
  Tabular: 'tabular',
};

function runtimeOf(runtime: NonNullable<Spec['runtime']>): object {
  const kept = taskOptions[String(runtime['task'])];
  const others = Object.values(taskOptions).filter((name) => name !== kept);
  const refused = runtime['task'] === 'ImageClassification' ? ['maxTokens'] : ['maxPixels', 'pictureHosts'];
  return Object.fromEntries(
    Object.entries(runtime)
      .filter(([name]) => !others.includes(name))
      .map(([name, value]) => [
        name,
        name === 'classification' ? without(value, refused) : name === 'handler' ? handlerOf(value) : value,
      ]),
  );
}

/** Resources are those of its container. */
function handlerOf(handler: unknown): unknown {
  return Object(handler).isolation === 'Container' ? handler : without(handler, ['resources']);
}

/** Of one, or not at all. */
function signedOnce(signature: unknown): object {
  if (signature === undefined) return {};
  const { publicKey, identity, ...rest } = Object(signature);
  if (identity !== undefined) return { signature: { identity, ...rest } };
  return publicKey === undefined ? {} : { signature: { publicKey, ...rest } };
}

function without(options: unknown, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(Object(options)).filter(([each]) => !names.includes(each)));
}

/** What a person would not write, because the API refuses it with a message, is left out. */
function consistent({ replicas, autoscaling, runtime, rollout, ...rest }: Spec): object {
  const isCached = runtime?.['cache'] === 'Node';
  const spec = {
    ...rest,
    // Where no kubelet is, nobody gives pods the account whose token the cache takes.
    ...(isCached ? { pod: { ...rest.pod, serviceAccountName: 'default' } } : {}),
    ...(runtime === undefined ? {} : { runtime: runtimeOf(runtime) }),
    ...(rollout === undefined ? {} : { rollout: isCached ? rollout : without(rollout, ['prefetch']) }),
  };
  const { secretName, signature, ...model } = spec.model;
  const credentials =
    secretName !== undefined && /^(https?|s3|gs|azblob|oci|hf|git\+https?|mlflow):/.test(model.uri ?? '')
      ? { secretName }
      : {};
  const pinned = { sha256: 'a'.repeat(64), ...model, ...credentials, ...signedOnce(signature) };
  // The number is always given: an update that removes autoscaling has to set it.
  if (autoscaling === undefined) return { ...spec, model: pinned, replicas: replicas ?? 1 };
  const triggers = autoscaling.triggers.map(({ type, averageUtilization = 80, averageValue = '1Gi' }) =>
    type === 'CPU' ? { type, averageUtilization } : { type, averageValue },
  );
  const requests = { cpu: '100m', ...spec.resources?.requests };
  return {
    ...spec,
    model: pinned,
    resources: { ...spec.resources, requests },
    autoscaling: { ...autoscaling, triggers },
  };
}

function arbitraryOf(schema: Schema, path: readonly string[]): fc.Arbitrary<unknown> {
  const values = meaningful[path.slice(-2).join('.')];
  if (values !== undefined) return fc.constantFrom(...values);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'object': {
      const fields = Object.entries(schema.properties ?? {});
      const required = new Set(schema.required ?? []);
      const parts = fields.map(([name, inner]) => {
        const value = arbitraryOf(inner, [...path, name]);
        return [name, required.has(name) ? value : fc.option(value, { nil: undefined, freq: 2 })] as const;
      });
      return fc.record(Object.fromEntries(parts)).map(withoutUndefined);
    }
    case 'array': {
      const keys = schema['x-kubernetes-list-map-keys'];
      const items = arbitraryOf(schema.items ?? {}, path);
      const sizes = { minLength: schema.minItems ?? 0, maxLength: 2 };
      if (keys === undefined) return fc.array(items, sizes);
      const selector = (item: unknown) => keys.map((key) => (item as Record<string, unknown>)[key]).join(' ');
      return fc.uniqueArray(items, { ...sizes, selector });
    }
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0, max: Math.min(schema.maximum ?? 100, (schema.minimum ?? 0) + 50) });
    default:
      throw new Error(`no values are known for spec.${path.join('.')}: add some to the meaningful ones`);
  }
}

function withoutUndefined(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
