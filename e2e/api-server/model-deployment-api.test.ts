import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { canaryDefaults, rolloutDefaults } from '../../operator/src/api/model-deployment.ts';
import { modelDeploymentResource } from '../../operator/src/controller/caches.ts';
import { ApiError } from '../../operator/src/kube/errors.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { type AnyObject, makeNamespace, testClient } from './test-cluster.ts';

const client = testClient();
let namespace: string;
beforeAll(async () => {
  namespace = await makeNamespace(client);
});

const certificate = '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n';
const model = { version: '1', uri: 'https://models.example/iris/1/model.onnx' };
const signingKey = generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString();
const cpu = { type: 'CPU', averageUtilization: 70 };
const autoscaling = { maxReplicas: 3, triggers: [{ type: 'Memory', averageValue: '512Mi' }] };

function manifest(spec: object, name = 'iris') {
  return { apiVersion: 'serving.slipway.dev/v1alpha1', kind: 'ModelDeployment', metadata: { name }, spec };
}

/** Sends a manifest as `kubectl apply` with strict validation would; nothing is stored. */
function dryRun(body: object): Promise<AnyObject> {
  return client.call('POST', pathOf(modelDeploymentResource, namespace), {
    body,
    query: { dryRun: 'All', fieldValidation: 'Strict' },
  });
}

async function refusal(send: Promise<unknown>): Promise<string> {
  const error: unknown = await send.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw new Error('it was accepted');
  return error.message;
}

const withModel = (fields: object) => ({ model: { ...model, ...fields } });
const withUri = (uri: string) => withModel({ uri });
const withPod = (pod: object) => ({ model, pod });
const withRollout = (rollout: object) => ({ model, rollout });
const withSteps = (...steps: object[]) => withRollout({ strategy: 'Canary', canary: { steps } });
const withGates = (...gates: object[]) => withRollout({ strategy: 'Canary', analysis: { gates } });
const withAutoscaling = (fields: object) => ({ model, autoscaling: { ...autoscaling, ...fields } });

describe('bad manifests are refused with a message that names the field and the way out', () => {
  test.each<[string, object, readonly string[]]>([
    ['no model', {}, ['spec.model', 'Required value']],
    ['no version', { model: { uri: model.uri } }, ['spec.model.version', 'Required value']],
    ['no uri', { model: { version: '1' } }, ['spec.model.uri', 'Required value']],
    [
      'a version that is no label',
      withModel({ version: 'v 1' }),
      ['spec.model.version', 'must be a valid label value'],
    ],
    ['a version that is a number', withModel({ version: 1 }), ['spec.model.version', 'must be of type string']],
    ['a version that is too long', withModel({ version: 'v'.repeat(64) }), ['spec.model.version', 'Too long']],
    ['a model name with a slash', withModel({ name: 'a/b' }), ['spec.model.name', 'because it is a part of URLs']],
    ['an empty model name', withModel({ name: '' }), ['spec.model.name', 'should be at least 1 chars long']],
    [
      'a uri of an unknown scheme',
      withUri('ftp://models.example/m.onnx'),
      [
        'spec.model.uri',
        'must start with https://, http://, s3://, gs://, azblob://, oci://, hf://, git+https://, git+http://, mlflow://, pvc://, image:// or configmap://',
      ],
    ],
    [
      'a uri of Git without HTTP',
      withUri('git+ssh://models.example/iris.git'),
      ['spec.model.uri', 'must start with https://'],
    ],
    ['a plain path', withUri('/models/m.onnx'), ['spec.model.uri', 'must start with https://']],
    [
      'a uri without a path',
      withUri('https://models.example'),
      ['spec.model.uri', 'must be a URL with a host and a path'],
    ],
    ['a uri without a host', withUri('https:///m.onnx'), ['spec.model.uri', 'must be a URL with a host and a path']],
    [
      'a uri with a password',
      withUri('https://user:secret@models.example/m.onnx'),
      ['spec.model.uri', 'must not hold a user name or password'],
    ],
    [
      'a signed uri',
      withUri('https://models.example/m.onnx?X-Amz-Signature=abc'),
      ['spec.model.uri', 'must not hold a signature or token'],
    ],
    [
      'a uri with a token',
      withUri('https://models.example/m.onnx?v=1&token=abc'),
      ['spec.model.uri', 'Give the plain URL'],
    ],
    [
      'a uri with a fragment',
      withUri('https://models.example/m.onnx#latest'),
      ['spec.model.uri', 'must not hold a fragment'],
    ],
    ['a bucket without a key', withUri('s3://models'), ['spec.model.uri', 'must be s3://BUCKET/KEY']],
    ['a prefix of keys', withUri('s3://models/iris/'), ['spec.model.uri', 'not a prefix']],
    ['a bucket that cannot be', withUri('s3://My_Models/iris.onnx'), ['spec.model.uri', 'must be s3://BUCKET/KEY']],
    [
      'a key with a step',
      withUri('s3://models/../others/m.onnx'),
      ['spec.model.uri', "must not hold a '.' or '..' step"],
    ],
    ['an object without a name', withUri('gs://models/'), ['spec.model.uri', 'must be gs://BUCKET/OBJECT']],
    ['a container without a blob', withUri('azblob://account/models'), ['spec.model.uri', 'must be azblob://ACCOUNT']],
    [
      'an account with a domain',
      withUri('azblob://account.blob.core.windows.net/models/m.onnx'),
      ['spec.model.uri', 'the name alone, without a domain'],
    ],
    [
      'an artifact without a tag',
      withUri('oci://registry.example/iris'),
      ['spec.model.uri', 'must be oci://REGISTRY/'],
    ],
    [
      'a model without a version',
      withUri('mlflow://iris/m.onnx'),
      ['spec.model.uri', 'must be mlflow://MODEL/VERSION'],
    ],
    ['a revision with a step', withUri('hf://org/iris@a%2F../m.onnx'), ['spec.model.uri', 'must be hf://ORG/NAME@REV']],
    [
      'a path that leads back',
      withUri('https://models.example/a/../m.onnx'),
      ['spec.model.uri', "must not hold a '.' or '..' step"],
    ],
    [
      'a repository without a revision',
      withUri('hf://org/iris/m.onnx'),
      ['spec.model.uri', 'must be hf://ORG/NAME@REV'],
    ],
    [
      'a repository of Git without a revision',
      withUri('git+https://git.example/iris.git/m.onnx'),
      ['spec.model.uri', 'must be git+https://HOST/REPOSITORY@REVISION/PATH'],
    ],
    [
      'a file of an image with a slash before it',
      withUri('oci://registry.example/iris:1//models/m.onnx'),
      ['spec.model.uri', "must not hold an empty step ('//')"],
    ],
    [
      'a repository of Git with a password',
      withUri('git+https://user:secret@git.example/iris.git@v1/m.onnx'),
      ['spec.model.uri', 'without a user'],
    ],
    [
      'credentials for a volume',
      withModel({ uri: 'pvc://models/m.onnx', secretName: 'store' }),
      ['spec.model.secretName', 'secretName goes only with a uri that is fetched over the network'],
    ],
    ['a line break in a path', withUri('pvc://models/a\nb.onnx'), ['spec.model.uri', 'control characters']],
    ['a line separator in a path', withUri('s3://models/a\u2028b.onnx'), ['spec.model.uri', 'line separators']],
    ['a claim without a path', withUri('pvc://models'), ['spec.model.uri', 'must be pvc://CLAIM/PATH']],
    ['a claim with a folder', withUri('pvc://models/iris/'), ['spec.model.uri', 'PATH is a file']],
    ['a path that leaves its claim', withUri('pvc://models/../secret'), ['spec.model.uri', "no '.' or '..' step"]],
    [
      'an image by its tag',
      withUri('image://registry.example/iris:1/model.onnx'),
      ['spec.model.uri', 'must be image://REGISTRY/REPOSITORY@sha256:DIGEST/PATH', 'could bring another image back'],
    ],
    [
      'credentials for an image that the node pulls',
      withModel({ uri: `image://registry.example/iris@sha256:${'a'.repeat(64)}/m.onnx`, secretName: 'store' }),
      ['spec.model.secretName', 'secretName goes only with a uri that is fetched over the network'],
    ],
    ['a ConfigMap without a key', withUri('configmap://iris'), ['spec.model.uri', 'must be configmap://NAME/KEY']],
    [
      'a ConfigMap key with a slash',
      withUri('configmap://iris/a/b'),
      ['spec.model.uri', 'must be configmap://NAME/KEY'],
    ],
    [
      'an upper-case digest',
      withModel({ sha256: 'A'.repeat(64) }),
      ['spec.model.sha256', '64 lower-case hexadecimal digits'],
    ],
    ...['MCowBQYDK2VwAyEA', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'].map(
      (publicKey): [string, object, readonly string[]] => [
        `a signature by ${publicKey.slice(0, 20)}`,
        withModel({ signature: { publicKey } }),
        ['spec.model.signature.publicKey', 'must be a public key in PEM'],
      ],
    ),
    [
      'a signature without a key',
      withModel({ signature: { file: 'x' } }),
      ['spec.model.signature', 'set publicKey, or identity, and not both'],
    ],
    ...['../model.sig', '/model.sig', 'a//b', 'a b', './x'].map((file): [string, object, readonly string[]] => [
      `the signature file ${file}`,
      withModel({ signature: { publicKey: signingKey, file } }),
      ['spec.model.signature.file', 'must be the name of a file beside the model file'],
    ]),
    ...[
      ['embedding', 'TextEmbedding', 'Rerank'],
      ['classification', 'TextClassification', 'ZeroShot'],
      ['entities', 'TokenClassification', 'TextClassification'],
      ['zeroShot', 'ZeroShot', undefined],
      ['rerank', 'Rerank', 'TextEmbedding'],
    ].map(([options = '', task, other]): [string, object, readonly string[]] => [
      `options of the task ${task} ${other === undefined ? 'without it' : `with ${other}`}`,
      { model, runtime: { ...(other === undefined ? {} : { task: other }), [options]: { maxTokens: 64 } } },
      [`spec.runtime.${options}`, `${options} is of the task`, ' alone'],
    ]),
    ...(['TextClassification', 'ImageClassification'] as const).map((task): [string, object, readonly string[]] => {
      const options = task === 'TextClassification' ? { maxPixels: 4096 } : { maxTokens: 64 };
      const [name = ''] = Object.keys(options);
      return [
        `${name} for ${task}`,
        { model, runtime: { task, classification: options } },
        [`spec.runtime.classification.${name}`, 'alone: leave it out'],
      ];
    }),
    [
      'hosts of pictures for texts',
      { model, runtime: { task: 'TextClassification', classification: { pictureHosts: ['images.example.com'] } } },
      ['spec.runtime.classification.pictureHosts', 'pictureHosts is of pictures alone'],
    ],
    ...['https://images.example.com', 'images.example.com:8080', 'a b', '*.*', 'Images.example.com'].map(
      (host): [string, object, readonly string[]] => [
        `${host} for a host of pictures`,
        { model, runtime: { task: 'ObjectDetection', detection: { pictureHosts: [host] } } },
        ['spec.runtime.detection.pictureHosts[0]', 'must be a host in lower case without scheme and port'],
      ],
    ),
    [
      'pixels of a detector for a classifier',
      { model, runtime: { task: 'ImageClassification', detection: { maxPixels: 4096 } } },
      ['spec.runtime.detection', 'detection is of the task ObjectDetection alone'],
    ],
    [
      'a file of the handler in another folder',
      { model, runtime: { handler: { files: ['../secret'] } } },
      ['spec.runtime.handler.files[0]'],
    ],
    ['a domain that is none', withModel({ operatorDomains: ['a,b'] }), ['spec.model.operatorDomains[0]']],
    [
      'a model of the handler in another folder',
      { model, runtime: { handler: { models: ['a.onnx', '/b.onnx'] } } },
      ['spec.runtime.handler.models[1]'],
    ],
    [
      'a key and an identity',
      withModel({ signature: { publicKey: signingKey, identity: { subject: 'a', authorities: certificate } } }),
      ['spec.model.signature', 'set publicKey, or identity, and not both'],
    ],
    [
      'authorities that are none',
      withModel({ signature: { identity: { subject: 'a', authorities: signingKey } } }),
      ['spec.model.signature.identity.authorities', 'must be certificates in PEM'],
    ],
    [
      'a cache without a digest',
      { model: { version: '1', uri: model.uri }, runtime: { cache: 'Node' } },
      ['spec.model.sha256 must be set for spec.runtime.cache Node'],
    ],
    [
      'a fetch to nodes that have no cache',
      { model: { ...model, sha256: 'a'.repeat(64) }, rollout: { prefetch: 'Nodes' } },
      ['spec.runtime.cache must be Node for spec.rollout.prefetch Nodes'],
    ],
    [
      'a folder of MLflow that is to be fetched to nodes',
      {
        model: { ...model, uri: 's3://models/iris/MLmodel', sha256: 'a'.repeat(64) },
        runtime: { cache: 'Node' },
        rollout: { prefetch: 'Nodes' },
      },
      ['spec.model.uri must name the model itself'],
    ],
    [
      'resources of a handler without a container',
      { model, runtime: { handler: { resources: { limits: { memory: '64Mi' } } } } },
      ['spec.runtime.handler.resources', 'set isolation to Container'],
    ],
    [
      'a file of the handler that is named twice',
      { model, runtime: { handler: { files: ['a.json', 'a.json'] } } },
      ['spec.runtime.handler.files[1]', 'Duplicate value'],
    ],
    [
      'columns for texts',
      { model, runtime: { task: 'Rerank', tabular: { columns: [{ name: 'a' }] } } },
      ['spec.runtime.tabular', 'tabular is of the task Tabular alone'],
    ],
    [
      'a column twice',
      { model, runtime: { task: 'Tabular', tabular: { columns: [{ name: 'a' }, { name: 'a' }] } } },
      ['spec.runtime.tabular.columns[1]', 'Duplicate value'],
    ],
    [
      'a category twice',
      { model, runtime: { task: 'Tabular', tabular: { columns: [{ name: 'a', categories: ['b', 'b'] }] } } },
      ['spec.runtime.tabular.columns[0].categories[1]', 'Duplicate value'],
    ],
    [
      'a column whose name has an end of a line in it',
      { model, runtime: { task: 'Tabular', tabular: { columns: [{ name: 'a\nb' }] } } },
      ['spec.runtime.tabular.columns[0].name'],
    ],
    [
      'more categories than a template holds',
      {
        model,
        runtime: {
          task: 'Tabular',
          tabular: {
            columns: ['a', 'b', 'c'].map((name) => ({
              name,
              categories: Array.from({ length: 256 }, (_, at) => `${at}`.padStart(100, name)),
            })),
          },
        },
      },
      ['spec.runtime.tabular.columns', 'at most 130000 bytes together'],
    ],
    [
      'a hypothesis about nothing',
      { model, runtime: { task: 'ZeroShot', zeroShot: { hypothesis: 'It is so.' } } },
      ['spec.runtime.zeroShot.hypothesis', 'the hypothesis must have {} where the label belongs'],
    ],
    [
      'shares of one score',
      { model, runtime: { task: 'Rerank', rerank: { scoring: 'Softmax' } } },
      ['spec.runtime.rerank.scoring', 'supported values: "Sigmoid", "Logits"'],
    ],
    ['another task', { model, runtime: { task: 'Chat' } }, ['spec.runtime.task', 'supported values: "TextEmbedding"']],
    ['a short digest', withModel({ sha256: 'ab' }), ['spec.model.sha256', 'as the first word that sha256sum prints']],
    [
      'a size that is no quantity',
      withModel({ maxBytes: 'big' }),
      ['spec.model.maxBytes', 'must be a quantity of bytes from 1 to 1Pi'],
    ],
    ['a size of nothing', withModel({ maxBytes: 0 }), ['spec.model.maxBytes', 'such as 500Mi or 2Gi']],
    [
      'a golden set without a digest',
      { model, validation: { goldenSet: { configMapName: 'golden', key: 'golden.json' } } },
      ['spec.validation.goldenSet.sha256', 'Required value'],
    ],
    [
      'a golden set with a short digest',
      { model, validation: { goldenSet: { configMapName: 'golden', key: 'golden.json', sha256: 'ab' } } },
      ['spec.validation.goldenSet.sha256', 'must be 64 lower-case hexadecimal digits, as sha256sum prints them'],
    ],
    [
      'a golden set in a folder',
      { model, validation: { goldenSet: { configMapName: 'golden', key: 'a/b', sha256: 'a'.repeat(64) } } },
      ['spec.validation.goldenSet.key', 'must be a key of a ConfigMap'],
    ],
    [
      'a golden set at a dot',
      { model, validation: { goldenSet: { configMapName: 'golden', key: '.', sha256: 'a'.repeat(64) } } },
      ['spec.validation.goldenSet.key', 'must be a key of a ConfigMap'],
    ],
    [
      'ports of TensorFlow Serving that are neither on nor off',
      { model, service: { tensorFlowServingPorts: 'Yes' } },
      ['spec.service.tensorFlowServingPorts', 'supported values: "Enabled", "Disabled"'],
    ],
    ['negative replicas', { model, replicas: -1 }, ['spec.replicas', 'should be greater than or equal to 0']],
    ['too many replicas', { model, replicas: 10001 }, ['spec.replicas', 'should be less than or equal to 10000']],
    [
      'replicas beside autoscaling',
      { model, replicas: 2, autoscaling },
      ['spec.replicas cannot be set while spec.autoscaling is', 'minReplicas and maxReplicas'],
    ],
    [
      'a request that is no quantity',
      { model, resources: { requests: { cpu: 'much' } } },
      ['spec.resources.requests', 'such as 250m, 1 or 512Mi'],
    ],
    [
      'a negative limit',
      { model, resources: { limits: { memory: '-1Gi' } } },
      ['spec.resources.limits', 'must be a quantity that is not negative'],
    ],
    [
      'an unknown resource',
      { model, resources: { requests: { gpu: 1 } } },
      ['spec.resources.requests', 'the full name of an extended resource'],
    ],
    [
      'a request above its limit',
      { model, resources: { requests: { cpu: 2 }, limits: { cpu: '1500m' } } },
      ['spec.resources', 'raise resources.limits or lower resources.requests'],
    ],
    [
      'an image without a tag',
      { model, runtime: { image: 'registry.example/slipway' } },
      ['spec.runtime.image', 'must name a tag other than latest, or a digest'],
    ],
    [
      'an image that changes',
      { model, runtime: { image: 'registry.example/slipway:latest' } },
      ['spec.runtime.image', 'a rollback could not bring an image back'],
    ],
    [
      'an image with a port and no tag',
      { model, runtime: { image: 'registry.example:5000/slipway' } },
      ['spec.runtime.image', 'must name a tag'],
    ],
    [
      'no threads',
      { model, runtime: { threads: 0 } },
      ['spec.runtime.threads', 'should be greater than or equal to 1'],
    ],
    [
      'a label of ours',
      withPod({ labels: { 'serving.slipway.dev/track': 'canary' } }),
      ['spec.pod.labels', 'choose another key'],
    ],
    [
      'a label that is set for everyone',
      withPod({ labels: { 'app.kubernetes.io/name': 'x' } }),
      ['spec.pod.labels', 'which are set for you'],
    ],
    [
      'a label with a bad value',
      withPod({ labels: { team: 'a b' } }),
      ['spec.pod.labels', 'every value a label value'],
    ],
    [
      'an annotation of ours',
      withPod({ annotations: { 'serving.slipway.dev/revision': 'x' } }),
      ['spec.pod.annotations', 'choose another key'],
    ],
    [
      'the annotation of a restart',
      withPod({ annotations: { 'kubectl.kubernetes.io/restartedAt': 'x' } }),
      ['spec.pod.annotations', 'use kubectl rollout restart'],
    ],
    [
      'a setting of ours',
      withPod({ env: [{ name: 'SLIPWAY_PORT', value: '1' }] }),
      ['spec.pod.env[0].name', 'choose another name'],
    ],
    [
      'a bad variable name',
      withPod({ env: [{ name: '1X', value: '1' }] }),
      ['spec.pod.env[0].name', 'not starting with a digit'],
    ],
    [
      'a variable with two values',
      withPod({ env: [{ name: 'X', value: '1', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] }),
      ['spec.pod.env[0]', 'keep one of them'],
    ],
    [
      'a variable from nowhere',
      withPod({ env: [{ name: 'X', valueFrom: {} }] }),
      ['spec.pod.env[0].valueFrom', 'exactly one of secretKeyRef and configMapKeyRef'],
    ],
    [
      'a variable twice',
      withPod({
        env: [
          { name: 'X', value: '1' },
          { name: 'X', value: '2' },
        ],
      }),
      ['spec.pod.env[1]', 'Duplicate value'],
    ],
    [
      'a toleration of everything with a value',
      withPod({ tolerations: [{ key: 'a', operator: 'Exists', value: 'b' }] }),
      ['spec.pod.tolerations[0]', 'use operator Equal'],
    ],
    [
      'a toleration of an invalid key',
      withPod({ tolerations: [{ key: 'a b', value: 'b' }] }),
      ['spec.pod.tolerations[0]', 'key must be the key of a taint'],
    ],
    [
      'a toleration of an invalid value',
      withPod({ tolerations: [{ key: 'a', value: '-' }] }),
      ['spec.pod.tolerations[0]', 'value must be the value of a taint'],
    ],
    [
      'a toleration for some time of a taint that evicts nobody',
      withPod({ tolerations: [{ key: 'a', value: 'b', tolerationSeconds: 60 }] }),
      ['spec.pod.tolerations[0]', 'tolerationSeconds goes only with effect NoExecute'],
    ],
    [
      'a node label of an invalid key',
      withPod({ nodeSelector: { 'a b': 'c' } }),
      ['spec.pod.nodeSelector', 'every key must be a label key'],
    ],
    [
      'a node label of an invalid value',
      withPod({ nodeSelector: { a: 'b c' } }),
      ['spec.pod.nodeSelector', 'every value a label value'],
    ],
    [
      'a label whose prefix is no domain',
      withPod({ labels: { 'a..b/c': 'd' } }),
      ['spec.pod.labels', 'every key must be a label key'],
    ],
    [
      'an annotation of AppArmor',
      withPod({ annotations: { 'container.apparmor.security.beta.kubernetes.io/model': 'x' } }),
      ['spec.pod.annotations', 'choose another key'],
    ],
    [
      'a variable from a key that is none',
      withPod({ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'a/b' } } }] }),
      ['spec.pod.env[0].valueFrom.secretKeyRef.key', 'must be a key of a Secret or ConfigMap'],
    ],
    [
      'a variable from an object whose name is none',
      withPod({ env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'A b', key: 'a' } } }] }),
      ['spec.pod.env[0].valueFrom.configMapKeyRef.name', 'must be the name of an object'],
    ],
    [
      'a service account whose name is none',
      withPod({ serviceAccountName: 'Bad_Name' }),
      ['spec.pod.serviceAccountName', 'must be the name of an object'],
    ],
    ['a model of less than a byte', { model: { ...model, maxBytes: '0.5' } }, ['spec.model.maxBytes', 'from 1 to 1Pi']],
    ['a model without end', { model: { ...model, maxBytes: '1e40' } }, ['spec.model.maxBytes', 'from 1 to 1Pi']],
    [
      'an extended resource that is overcommitted',
      { model, resources: { requests: { 'example.com/accelerator': 1 } } },
      ['spec.resources', 'cannot be overcommitted'],
    ],
    [
      'a part of an extended resource',
      { model, resources: { limits: { 'example.com/accelerator': '500m' } } },
      ['spec.resources', 'counted in whole numbers'],
    ],
    [
      'a resource whose name is none',
      { model, resources: { limits: { 'Exa mple/x': 1 } } },
      ['spec.resources.limits', 'every key must be cpu'],
    ],
    [
      'annotations that are too large together',
      withPod({
        annotations: Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`a${index}`, 'x'.repeat(4000)])),
      }),
      ['spec.pod.annotations', 'at most 16384 characters'],
    ],
    [
      'variables that are too large together',
      withPod({ env: Array.from({ length: 9 }, (_, index) => ({ name: `A${index}`, value: 'x'.repeat(4000) })) }),
      ['spec.pod.env', 'at most 32768 characters'],
    ],
    [
      'a toleration without a key',
      withPod({ tolerations: [{ value: 'b' }] }),
      ['spec.pod.tolerations[0]', 'key must be set'],
    ],
    [
      'a spread without a topology',
      withPod({ topologySpreadConstraints: [{ maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' }] }),
      ['topologyKey', 'Required value'],
    ],
    [
      'a spread with minDomains for nothing',
      withPod({
        topologySpreadConstraints: [
          { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway', minDomains: 2 },
        ],
      }),
      ['topologySpreadConstraints[0]', 'minDomains works only with'],
    ],
    [
      'autoscaling without triggers',
      withAutoscaling({ triggers: [] }),
      ['spec.autoscaling.triggers', 'should have at least 1 items'],
    ],
    [
      'autoscaling without a maximum',
      { model, autoscaling: { triggers: autoscaling.triggers } },
      ['spec.autoscaling.maxReplicas', 'Required value'],
    ],
    [
      'a minimum above the maximum',
      withAutoscaling({ minReplicas: 4 }),
      ['spec.autoscaling.minReplicas', 'raise maxReplicas or lower minReplicas'],
    ],
    [
      'a minimum of zero',
      withAutoscaling({ minReplicas: 0 }),
      ['spec.autoscaling.minReplicas', 'should be greater than or equal to 1'],
    ],
    [
      'an unknown trigger',
      withAutoscaling({ triggers: [{ type: 'Moon' }] }),
      ['spec.autoscaling.triggers[0].type', 'supported values: "CPU", "Memory"'],
    ],
    [
      'a CPU trigger without a target',
      withAutoscaling({ triggers: [{ type: 'CPU' }] }),
      ['spec.autoscaling.triggers[0]', 'a CPU trigger needs averageUtilization'],
    ],
    [
      'a CPU trigger with a value',
      withAutoscaling({ triggers: [{ ...cpu, averageValue: '1' }] }),
      ['spec.autoscaling.triggers[0]', 'averageValue does not go with a CPU trigger'],
    ],
    [
      'a CPU trigger without a request',
      withAutoscaling({ triggers: [cpu] }),
      ['spec.resources.requests.cpu must be set for a CPU trigger'],
    ],
    [
      'a Memory trigger without a value',
      withAutoscaling({ triggers: [{ type: 'Memory' }] }),
      ['spec.autoscaling.triggers[0]', 'a Memory trigger needs averageValue'],
    ],
    [
      'a Memory trigger with a utilization',
      withAutoscaling({ triggers: [{ type: 'Memory', averageValue: 1, averageUtilization: 50 }] }),
      ['use averageValue'],
    ],
    [
      'a behavior out of range',
      withAutoscaling({ behavior: { scaleDown: { stabilizationWindowSeconds: 3601 } } }),
      ['behavior.scaleDown.stabilizationWindowSeconds', 'less than or equal to 3600'],
    ],
    [
      'a strategy that there is not',
      withRollout({ strategy: 'Recreate' }),
      ['spec.rollout.strategy', 'supported values: "RollingUpdate", "Canary", "BlueGreen"'],
    ],
    [
      'a canary with another strategy',
      withRollout({ canary: { steps: [{ weight: 5, holdSeconds: 60 }] } }),
      ['spec.rollout.canary', 'canary goes only with strategy Canary'],
    ],
    [
      'an analysis with another strategy',
      withRollout({ analysis: {} }),
      ['spec.rollout.analysis', 'analysis goes only with strategy Canary or BlueGreen'],
    ],
    [
      'blue-green with another strategy',
      withRollout({ strategy: 'Canary', blueGreen: {} }),
      ['spec.rollout.blueGreen', 'blueGreen goes only with strategy BlueGreen'],
    ],
    [
      'a Manual hold of blue-green with a deadline',
      withRollout({ strategy: 'BlueGreen', blueGreen: { hold: 'Manual', holdSeconds: 5 } }),
      ['spec.rollout.blueGreen', 'exclude each other'],
    ],
    ['no step', withSteps(), ['spec.rollout.canary.steps', 'should have at least 1 items']],
    [
      'weights that fall',
      withSteps({ weight: 50, holdSeconds: 1 }, { weight: 5, holdSeconds: 1 }),
      ['spec.rollout.canary.steps', 'weights must rise'],
    ],
    [
      'weights that stay',
      withSteps({ weight: 5, holdSeconds: 1 }, { weight: 5, hold: 'Manual' }),
      ['spec.rollout.canary.steps', 'weights must rise'],
    ],
    [
      'a weight of nothing',
      withSteps({ weight: 0, holdSeconds: 1 }),
      ['steps[0].weight', 'should be greater than or equal to 1'],
    ],
    [
      'a weight of too much',
      withSteps({ weight: 101, holdSeconds: 1 }),
      ['steps[0].weight', 'less than or equal to 100'],
    ],
    [
      'a Manual hold with a deadline',
      withSteps({ weight: 5, hold: 'Manual', holdSeconds: 60 }),
      ['steps[0]', 'needs exactly one of holdSeconds', 'has no deadline'],
    ],
    ['a step without a hold', withSteps({ weight: 5 }), ['steps[0]', 'needs exactly one of holdSeconds']],
    [
      'a header that is none',
      withRollout({ strategy: 'Canary', canary: { stickyBy: { header: 'a b' } } }),
      ['spec.rollout.canary.stickyBy.header', 'must be the name of a header'],
    ],
    [
      'a weight that no number of pods gives',
      withRollout({ strategy: 'Canary', canary: { routing: 'Replicas', steps: [{ weight: 60, holdSeconds: 9 }] } }),
      ['spec.rollout.canary', 'at most 50, or 100'],
    ],
    [
      'copies that nobody could send',
      withRollout({ strategy: 'Canary', canary: { routing: 'Replicas', mirrorPercent: 5 } }),
      ['spec.rollout.canary', 'mirrorPercent goes only with routing Pods'],
    ],
    [
      'copies that nobody could send, of blue-green',
      withRollout({ strategy: 'BlueGreen', blueGreen: { routing: 'Replicas', mirrorPercent: 5 } }),
      ['spec.rollout.blueGreen', 'mirrorPercent goes only with routing Pods'],
    ],
    [
      'a header that nobody could go by',
      withRollout({ strategy: 'Canary', canary: { routing: 'Replicas', stickyBy: { header: 'x-user' } } }),
      ['spec.rollout.canary', 'stickyBy goes only with routing Pods'],
    ],
    [
      'a Gateway without routes',
      withRollout({ strategy: 'Canary', canary: { routing: 'Gateway' } }),
      ['spec.rollout.canary', 'name the routes in gateway.httpRoutes'],
    ],
    [
      'routes without a Gateway',
      withRollout({ strategy: 'BlueGreen', blueGreen: { gateway: { httpRoutes: ['iris'] } } }),
      ['spec.rollout.blueGreen', 'gateway goes with routing Gateway'],
    ],
    [
      'a Gateway of no routes',
      withRollout({ strategy: 'Canary', canary: { routing: 'Gateway', gateway: {} } }),
      ['spec.rollout.canary.gateway', 'should have at least 1 properties'],
    ],
    [
      'a query without a bound',
      withGates({ metric: 'PromQL', name: 'queue', query: 'x' }),
      ['gates[0]', 'a PromQL gate needs name, query and exactly one of max and min'],
    ],
    [
      'a query with a percentage',
      withGates({ metric: 'PromQL', name: 'queue', query: 'x', max: '5%' }),
      ['gates[0]', 'must be a number'],
    ],
    [
      'a query of another gate',
      withGates({ metric: 'ErrorRate', max: '1%', query: 'x' }),
      ['gates[0]', 'name and query go only with a PromQL gate'],
    ],
    [
      'two queries of one name',
      withGates(
        { metric: 'PromQL', name: 'queue', query: 'x', max: '5' },
        { metric: 'PromQL', name: 'queue', query: 'y', max: '5' },
      ),
      ['spec.rollout.analysis.gates', 'names of PromQL gates must differ'],
    ],
    ['no gate', withGates(), ['spec.rollout.analysis.gates', 'should have at least 1 items']],
    ['an error rate without a bound', withGates({ metric: 'ErrorRate' }), ['gates[0]', 'an ErrorRate gate needs max']],
    ['an error rate of nothing', withGates({ metric: 'ErrorRate', max: '0.0%' }), ['gates[0]', 'above 0%']],
    [
      'an error rate that is a number',
      withGates({ metric: 'ErrorRate', max: 1 }),
      ['gates[0].max', 'must be of type string'],
    ],
    [
      'a latency without a percentile',
      withGates({ metric: 'Latency', maxMilliseconds: 100 }),
      ['gates[0]', 'a Latency gate needs percentile and maxMilliseconds'],
    ],
    [
      'a percentile of everything',
      withGates({ metric: 'Latency', percentile: 100, maxMilliseconds: 100 }),
      ['gates[0].percentile', 'less than or equal to 99'],
    ],
    [
      'a latency below that of stable',
      withGates({ metric: 'LatencyVersusStable', percentile: 95, max: '90%' }),
      ['gates[0]', 'from 100% to 9999%'],
    ],
    [
      'an agreement of nothing that is mirrored',
      withGates({ metric: 'Agreement', min: '98%' }),
      ['spec.rollout.analysis', 'set mirrorPercent'],
    ],
    ['an agreement without a bound', withGates({ metric: 'Agreement' }), ['gates[0]', 'an Agreement gate needs min']],
    [
      'outputs that no gate compares',
      withGates({ metric: 'ErrorRate', max: '1%', outputs: [{ name: 'a', compare: 'Exact' }] }),
      ['gates[0]', 'outputs go only with an Agreement gate'],
    ],
    [
      'a tolerance of what is exact',
      withGates({ metric: 'Agreement', min: '98%', outputs: [{ name: 'a', compare: 'Exact', absolute: '1' }] }),
      ['outputs[0]', 'absolute and relative go only with compare Tolerance'],
    ],
    [
      'a tolerance that is none',
      withGates({ metric: 'Agreement', min: '98%', outputs: [{ name: 'a', compare: 'Tolerance', absolute: '-1' }] }),
      ['outputs[0].absolute', 'must be a number that is not negative'],
    ],
    [
      'answers that are compared in two ways',
      withRollout({
        strategy: 'Canary',
        canary: { mirrorPercent: 5 },
        analysis: {
          gates: [
            { metric: 'Agreement', min: '98%' },
            { metric: 'Agreement', min: '90%' },
          ],
        },
      }),
      ['spec.rollout.analysis.gates', 'at most one Agreement gate'],
    ],
    [
      'a tolerance beyond all numbers',
      withGates({ metric: 'Agreement', min: '98%', outputs: [{ name: 'a', compare: 'Tolerance', absolute: '1e400' }] }),
      ['outputs[0].absolute', 'must be a number that is not negative'],
    ],
    [
      'a confidence of certainty',
      withRollout({ strategy: 'Canary', analysis: { confidence: '100%' } }),
      ['spec.rollout.analysis.confidence', 'from 80% to below 100%'],
    ],
    [
      'a rollout that cannot move',
      withRollout({ maxSurge: 0, maxUnavailable: '0%' }),
      ['spec.rollout.maxSurge', 'set maxSurge to 1 or more'],
    ],
    ['a surge that is no number', withRollout({ maxSurge: 'some' }), ['spec.rollout.maxSurge', 'such as 25%']],
    [
      'a surge above everything',
      withRollout({ maxSurge: '101%' }),
      ['spec.rollout.maxSurge', 'a percentage from 0% to 100%'],
    ],
    [
      'no history',
      withRollout({ revisionHistoryLimit: 0 }),
      ['spec.rollout.revisionHistoryLimit', 'should be greater than or equal to 1'],
    ],
    [
      'no deadline',
      withRollout({ progressDeadlineSeconds: 0 }),
      ['spec.rollout.progressDeadlineSeconds', 'should be greater than or equal to 1'],
    ],
    [
      'an answer to a failed rollout that there is not',
      withRollout({ onFailure: 'Retry' }),
      ['spec.rollout.onFailure', 'supported values: "Rollback", "Pause"'],
    ],
    [
      'an answer to an undo that there is not',
      withRollout({ externalUndo: 'Ignore' }),
      ['spec.rollout.externalUndo', 'supported values: "Adopt", "Revert"'],
    ],
    ['an unknown field', { model, replica: 2 }, ['unknown field "spec.replica"']],
    ['an unknown field further down', withModel({ url: 'x' }), ['unknown field "spec.model.url"']],
  ])('%s', async (_name, spec, messages) => {
    const message = await refusal(dryRun(manifest(spec)));
    for (const part of messages) expect(message).toContain(part);
  });

  test.each([
    ['Iris', 'metadata.name'],
    ['1iris', 'metadata.name must start with a letter'],
    ['iris.v1', 'because the Service has the same name'],
    ['i'.repeat(53), 'choose a shorter one'],
    ['iris-canary', 'choose another name'],
  ])('the name %s', async (name, message) => {
    expect(await refusal(dryRun(manifest({ model }, name)))).toContain(message);
  });
});

describe('changes that cannot be honoured are refused', () => {
  /** Stores an object, then tries to put another spec in its place. */
  async function change(name: string, before: object, after: object): Promise<unknown> {
    const path = pathOf(modelDeploymentResource, namespace);
    const stored: AnyObject = await client.call('POST', path, { body: manifest(before, name) });
    const { resourceVersion } = stored.metadata;
    const body = { ...manifest(after), metadata: { name, resourceVersion } };
    return client.call('PUT', pathOf(modelDeploymentResource, namespace, name), { body });
  }

  test('another model name, added, changed or removed', async () => {
    const message = 'spec.model.name cannot be changed';
    expect(await refusal(change('named-a', { model }, withModel({ name: 'other' })))).toContain(message);
    expect(await refusal(change('named-b', withModel({ name: 'x' }), withModel({ name: 'y' })))).toContain(message);
    expect(await refusal(change('named-c', withModel({ name: 'x' }), { model }))).toContain(message);
    await change('named-d', { model }, withModel({ name: 'named-d' }));
  });

  test('autoscaling that is removed without replicas', async () => {
    expect(await refusal(change('scaled-a', { model, autoscaling }, { model }))).toContain(
      'spec.replicas must be set when spec.autoscaling is removed',
    );
    await change('scaled-b', { model, autoscaling }, { model, replicas: 2 });
    await change('scaled-c', { model, replicas: 2 }, { model, autoscaling });
  });

  test('kubectl scale while autoscaling is on', async () => {
    await client.call('POST', pathOf(modelDeploymentResource, namespace), {
      body: manifest({ model, autoscaling }, 'scaled-d'),
    });
    const scale = client.call('PATCH', pathOf(modelDeploymentResource, namespace, 'scaled-d', 'scale'), {
      body: { spec: { replicas: 3 } },
      contentType: 'application/merge-patch+json',
    });
    expect(await refusal(scale)).toContain('Change spec.autoscaling.minReplicas and maxReplicas');
  });
});

describe('good manifests are accepted', () => {
  test('the smallest, and the defaults of its policy are shown', async () => {
    const stored = await dryRun(manifest({ model }));
    expect(stored.spec).toEqual({ model, rollout: rolloutDefaults });
    expect(stored.status).toEqual({ observedGeneration: -1 });
    const canary = await dryRun(manifest({ model, rollout: { strategy: 'Canary', analysis: {} } }));
    const { gates: _, ...analysis } = canaryDefaults.analysis;
    expect(canary.spec.rollout.analysis).toEqual(analysis);
    const scaled = await dryRun(manifest({ model, autoscaling }));
    expect(scaled.spec.autoscaling).toEqual({ ...autoscaling, minReplicas: 1 });
  });

  test.each([
    'http://models.example:8080/m.onnx',
    'https://models.example/m.onnx?version=3',
    's3://models.v2/iris/1 (final)/a+b.onnx',
    'gs://models_2/iris/1 (final)/a+b.onnx',
    'azblob://account2/models/iris/1 (final)/a+b.onnx',
    'azblob://account2/$root/m.onnx',
    'oci://registry.example:5000/models/iris:1.0',
    `oci://registry.example/models/iris@sha256:${'a'.repeat(64)}/onnx/model.onnx`,
    'mlflow://iris/3/model.onnx',
    'mlflow://the%20iris@champion/onnx/model.onnx',
    'hf://org/iris-2.1@0123456789abcdef0123456789abcdef01234567/onnx/model.onnx',
    'hf://org/iris@refs%2Fpr%2F1/..data/model.onnx',
    'git+https://git.example:3000/a/b/iris.git@v1.0/onnx/model.onnx',
    'git+http://git.example/a%20project/_git/iris@feature%2Fone/model@2.onnx',
    'pvc://models/iris/3/model.onnx',
    'pvc://models.v2/..data/m.onnx',
    'configmap://iris.v1/model.onnx',
    `image://registry.example:5000/models/iris@sha256:${'a'.repeat(64)}/models/iris/model.onnx`,
  ])('the uri %s', async (uri) => {
    expect((await dryRun(manifest(withUri(uri)))).spec.model.uri).toBe(uri);
  });

  test.each([
    'slipway:0.1.0',
    'registry.example:5000/slipway:0.1.0',
    `slipway@sha256:${'a'.repeat(64)}`,
    `slipway:1@sha256:${'a'.repeat(64)}`,
  ])('the image %s', async (image) => {
    expect((await dryRun(manifest({ model, runtime: { image } }))).spec.runtime.image).toBe(image);
  });

  test('a table as wide as people have them', async () => {
    const columns = Array.from({ length: 1000 }, (_, at) => ({ name: `measurement_number_${at}` }));
    const stored = await dryRun(manifest({ model, runtime: { task: 'Tabular', tabular: { columns } } }));
    expect(stored.spec.runtime.tabular.columns).toHaveLength(1000);
  });

  test('a trigger of one kind more than once', async () => {
    const triggers = [...autoscaling.triggers, { type: 'Memory', averageValue: '1Gi' }];
    const stored = await dryRun(manifest({ model, autoscaling: { maxReplicas: 3, triggers } }));
    expect(stored.spec.autoscaling.triggers).toEqual(triggers);
  });

  test('one with everything', async () => {
    const spec = {
      model: {
        name: 'flowers',
        version: '2026-11.rc_1',
        uri: 'pvc://models/iris.onnx',
        sha256: 'a'.repeat(64),
        signature: { publicKey: signingKey, file: 'signatures/model.sig' },
        maxBytes: '500Mi',
      },
      resources: {
        requests: { cpu: '250m', memory: 268435456 },
        limits: { memory: '512Mi', 'example.com/accelerator': 1 },
      },
      runtime: {
        image: 'registry.example/slipway:0.1.0',
        threads: 2,
        cache: 'Node',
        task: 'ObjectDetection',
        detection: { maxPixels: 4096, pictureHosts: ['*', '*.example.com', 'images.example.com'] },
        handler: { isolation: 'Container', resources: { requests: { cpu: 1 }, limits: { memory: '64Mi' } } },
      },
      pod: {
        labels: { team: 'flowers', 'example.com/team': '' },
        annotations: { 'example.com/owner': 'somebody, somewhere' },
        env: [
          { name: 'A', value: '' },
          { name: 'B', valueFrom: { secretKeyRef: { name: 's', key: 'k', optional: true } } },
        ],
        nodeSelector: { disk: 'fast' },
        tolerations: [{ operator: 'Exists' }, { key: 'a', value: 'b', effect: 'NoExecute', tolerationSeconds: 60 }],
        topologySpreadConstraints: [
          { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', minDomains: 2 },
        ],
        serviceAccountName: 'models',
        priorityClassName: 'high',
        imagePullSecrets: [{ name: 'registry' }],
      },
      autoscaling: {
        minReplicas: 2,
        maxReplicas: 10,
        triggers: [cpu, { type: 'Memory', averageValue: '400Mi' }],
        behavior: {
          scaleUp: {
            stabilizationWindowSeconds: 0,
            selectPolicy: 'Max',
            policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
          },
          scaleDown: { tolerance: '50m' },
        },
      },
      rollout: {
        strategy: 'Canary',
        canary: {
          steps: [
            { weight: 1, holdSeconds: 60 },
            { weight: 100, hold: 'Manual' },
          ],
          stickyBy: { header: 'X-User' },
          mirrorPercent: 10,
        },
        analysis: {
          intervalSeconds: 5,
          minRequests: 1000,
          confidence: '99.9%',
          onInconclusive: 'Rollback',
          gates: [
            { metric: 'ErrorRate', max: '0.1%' },
            { metric: 'Latency', percentile: 99, maxMilliseconds: 200 },
            { metric: 'LatencyVersusStable', percentile: 95, max: '120%' },
            { metric: 'Agreement', min: '99.5%', outputs: [{ name: 'p', compare: 'Tolerance', absolute: '1e-3' }] },
            { metric: 'PromQL', name: 'queue', query: 'sum(x{pod=~"$name-canary-.*"})', min: '-0.5' },
          ],
        },
        maxSurge: 1,
        maxUnavailable: '10%',
        progressDeadlineSeconds: 60,
        revisionHistoryLimit: 3,
        onFailure: 'Pause',
        externalUndo: 'Revert',
        prefetch: 'Nodes',
      },
    };
    expect((await dryRun(manifest(spec))).spec).toEqual(spec);
    const identity = { subject: 'a@example.com', issuer: 'https://a.example', authorities: certificate };
    const signature = { identity };
    const certified = { ...spec, model: { ...spec.model, signature } };
    expect((await dryRun(manifest(certified))).spec).toEqual(certified);
    const gateway = { httpRoutes: ['iris', 'iris.v2'], grpcRoutes: ['iris'] };
    const blueGreen = { routing: 'Gateway', gateway, holdSeconds: 5, soakSeconds: 5 };
    const { canary: _, analysis: __, ...rest } = spec.rollout;
    const routed = { ...spec, rollout: { ...rest, strategy: 'BlueGreen', blueGreen } };
    expect((await dryRun(manifest(routed))).spec).toEqual(routed);
  });
});

describe('the schema itself', () => {
  interface Schema {
    readonly type?: string;
    readonly default?: unknown;
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly additionalProperties?: Schema;
    readonly items?: Schema;
    readonly maxLength?: number;
    readonly maxItems?: number;
    readonly maxProperties?: number;
    readonly description?: string;
    readonly 'x-kubernetes-list-type'?: string;
  }
  const text = readFileSync(join(import.meta.dirname, '../../crds/modeldeployments.yaml'), 'utf8');
  const crd = load(text) as { spec: { versions: { schema: { openAPIV3Schema: Schema } }[] } };
  const root = crd.spec.versions[0]?.schema.openAPIV3Schema ?? {};

  function* walk(schema: Schema, path: string): Generator<[string, Schema]> {
    yield [path, schema];
    for (const [name, inner] of Object.entries(schema.properties ?? {})) yield* walk(inner, `${path}.${name}`);
    if (schema.additionalProperties !== undefined) yield* walk(schema.additionalProperties, `${path}.*`);
    if (schema.items !== undefined) yield* walk(schema.items, `${path}[]`);
  }
  const fields = [...walk(root, '')];

  test('has no default on a field that reaches the pod', () => {
    const policy = /^\.spec\.(rollout|autoscaling)(\.|$)|^\.status$/;
    const defaulted = fields.filter(([, schema]) => schema.default !== undefined).map(([path]) => path);
    expect(defaulted.filter((path) => !policy.test(path))).toEqual([]);
    expect(defaulted.length).toBeGreaterThan(5);
  });

  test('bounds every string, list and map, and says what kind each list is', () => {
    const unbounded = fields.filter(
      ([, schema]) =>
        (schema.type === 'string' && schema.maxLength === undefined) ||
        (schema.type === 'array' &&
          (schema.maxItems === undefined || schema['x-kubernetes-list-type'] === undefined)) ||
        (schema.additionalProperties !== undefined && schema.maxProperties === undefined),
    );
    expect(unbounded.map(([path]) => path)).toEqual([]);
  });

  test('has no floats', () => {
    expect(fields.filter(([, schema]) => schema.type === 'number')).toEqual([]);
  });

  test('is small enough for client-side kubectl apply', () => {
    expect(JSON.stringify(crd).length).toBeLessThan(256 * 1024);
  });
});
