import { type ChildProcess, execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { clusterFolder } from '../cluster/cluster.ts';
import { network, trustRegistry } from '../cluster/node.ts';
import { freePort } from '../free-port.ts';
import { startStore } from '../stores/played-store.ts';
import { pushArtifact } from '../stores/pushed-artifact.ts';
import { eventually, exampleAnswers, predict, type Scenario, startScenario } from './scenario.ts';

/** Models that pods fetch themselves, of a store that speaks S3 (versitygw) and of an OCI registry (crane), with Secrets, and one that the node pulls. */
const run = promisify(execFile);
const keys = { AWS_ACCESS_KEY_ID: 'the-key-of-the-store', AWS_SECRET_ACCESS_KEY: 'the-secret-of-the-store' };
const hugeBytes = 2 ** 30;

let scenario: Scenario;
let folder: string;
let stores: readonly ChildProcess[] = [];
let registry: string;
/** Of an image in it. */
let imageDigest: string;

beforeAll(async () => {
  const [{ versitygw }, { crane }] = [await ensureBinaries('versitygw'), await ensureBinaries('crane')];
  folder = await mkdtemp(join(tmpdir(), 'slipway-stores-'));
  for (const name of ['data/models', 'meta']) await mkdir(join(folder, name), { recursive: true });
  await copyFile(exampleModel('iris', '1').path, join(folder, 'data/models/iris.onnx'));
  // It takes no room where it is, and as much as it says where it is fetched.
  const huge = await open(join(folder, 'data/models/huge.onnx'), 'w');
  await huge.truncate(hugeBytes);
  await huge.close();
  const s3 = `${network.hostAddress}:${await freePort()}`;
  registry = `${network.hostAddress}:${await freePort()}`;
  const args = ['--port', s3, 'posix', '--sidecar', join(folder, 'meta'), join(folder, 'data')];
  const root = { ROOT_ACCESS_KEY: keys.AWS_ACCESS_KEY_ID, ROOT_SECRET_KEY: keys.AWS_SECRET_ACCESS_KEY };
  stores = [
    await startStore(versitygw, args, `http://${s3}`, root),
    await startStore(crane, ['registry', 'serve', '--address', registry], `http://${registry}/v2/`),
  ];
  await trustRegistry(clusterFolder, registry);
  imageDigest = await pushImage(crane, { 'models/iris.onnx': exampleModel('iris', '1').path });
  await pushArtifact(registry, 'models/iris', '2', { 'model.onnx': readFileSync(exampleModel('iris', '2').path) });
  scenario = await startScenario({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  const endpoint = { AWS_ENDPOINT_URL: `http://${s3}`, AWS_REGION: 'us-east-1' };
  await makeSecret('store', { ...keys, ...endpoint });
  await makeSecret('wrong', { ...keys, ...endpoint, AWS_SECRET_ACCESS_KEY: 'another-secret' });
  await makeSecret('registry', { OCI_PLAIN_HTTP: 'true' });
}, 900_000);
afterAll(async () => {
  for (const store of stores) store.kill();
  await scenario.end();
  await rm(folder, { recursive: true });
});

/** Pushes an image with these files as its only layer, for the platform of the node. */
async function pushImage(crane: string, files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(folder, 'image-'));
  for (const [name, source] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await copyFile(source, join(root, name));
  }
  const layer = `${root}.tar`;
  await run('tar', ['-cf', layer, '-C', root, '.']);
  const name = `${registry}/models/image:1`;
  await run(crane, ['append', '--oci-empty-base', '--new_layer', layer, '--new_tag', name, '--insecure']);
  const platform = process.arch === 'x64' ? 'linux/amd64' : `linux/${process.arch}`;
  await run(crane, ['mutate', name, '--set-platform', platform, '--tag', name, '--insecure']);
  return (await run(crane, ['digest', name, '--insecure'])).stdout.trim();
}

async function makeSecret(name: string, stringData: Readonly<Record<string, string>>): Promise<void> {
  const metadata = { name, namespace: scenario.namespace };
  await scenario.apply({ apiVersion: 'v1', kind: 'Secret', metadata, stringData });
}

async function ask(version: string, source: object, name = 'iris', memory = '512Mi'): Promise<void> {
  await scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name, namespace: scenario.namespace },
    spec: {
      model: { version, ...source },
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory } },
      rollout: { progressDeadlineSeconds: 120 },
    },
  });
}

async function expectServed(version: string): Promise<void> {
  const { inputs, outputs } = exampleAnswers('iris', version);
  const answer = await predict(scenario, 'iris', inputs);
  expect([answer.model_version, answer.outputs.find(({ name }) => name === 'label')?.data]).toEqual([
    version,
    outputs['label'],
  ]);
}

const condition = (name: string, type: string) =>
  scenario.field(`mdeploy/${name}`, `{.status.conditions[?(@.type=="${type}")].message}`);

test('the model of a bucket is served, and then the one of a registry', async () => {
  await ask('1', { uri: 's3://models/iris.onnx', secretName: 'store' });
  await scenario.waitReady('iris', 120);
  await expectServed('1');
  await ask('2', { uri: `oci://${registry}/models/iris:2/model.onnx`, secretName: 'registry' });
  await eventually(
    () => scenario.field('mdeploy/iris', '{.status.modelVersion}'),
    (version) => version === '2',
    120,
  );
  await scenario.waitReady('iris', 120);
  await expectServed('2');
}, 400_000);

test('a tag that moves is not followed by the pods of its revision', async () => {
  const resolved = await eventually(
    () => scenario.field('mdeploy/iris', '{.status.resolvedUri}'),
    (uri) => uri.startsWith(`oci://${registry}/models/iris@sha256:`),
  );
  await pushArtifact(registry, 'models/iris', '2', { 'model.onnx': readFileSync(exampleModel('iris', '1').path) });
  await scenario.kubectl(['delete', 'pods', '-l', 'serving.slipway.dev/track=stable', '--wait']);
  await scenario.waitReady('iris', 120);
  await expectServed('2');
  expect(await scenario.field('mdeploy/iris', '{.status.resolvedUri}')).toBe(resolved);
  expect(await condition('iris', 'ModelLoaded')).toContain('which a rollback brings back');
}, 200_000);

test('an undo brings the one of the bucket back, by the Secret that it had', async () => {
  await scenario.kubectl(['rollout', 'undo', 'deployment/iris']);
  await eventually(
    () => scenario.field('mdeploy/iris', '{.status.modelVersion}'),
    (version) => version === '1',
    120,
  );
  await scenario.kubectl(['rollout', 'status', 'deployment/iris', '--timeout=120s']);
  await expectServed('1');
}, 200_000);

test('a wrong secret is told by the name of its key, and nowhere by its value', async () => {
  await ask('3', { uri: 's3://models/iris.onnx', secretName: 'wrong' });
  await eventually(
    () => condition('iris', 'ModelLoaded'),
    (message) => message.includes('check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION'),
    120,
  );
  const all = await scenario.kubectl([
    'get',
    'mdeploy,deployments,replicasets,pods,controllerrevisions,events',
    '-o',
    'json',
  ]);
  const logs = await scenario.kubectl([
    'logs',
    '-l',
    'serving.slipway.dev/model-deployment=iris',
    '--tail=-1',
    '--prefix',
  ]);
  for (const value of [...Object.values(keys), 'another-secret']) {
    expect(all).not.toContain(value);
    expect(logs).not.toContain(value);
  }
}, 200_000);

test('the model in an image that the node pulls is served from a volume, and one that is not there is told', async () => {
  const name = 'on-image';
  await ask('1', { uri: `image://${registry}/models/image@${imageDigest}/models/iris.onnx` }, name);
  await scenario.waitReady(name, 120);
  const { inputs, outputs } = exampleAnswers('iris', '1');
  const answer = await predict(scenario, name, inputs);
  expect(answer.outputs.find((output) => output.name === 'label')?.data).toEqual(outputs['label']);
  const lost = `image://${registry}/models/image@sha256:${'a'.repeat(64)}/models/iris.onnx`;
  await ask('2', { uri: lost }, name);
  await eventually(
    () => condition(name, 'Ready'),
    (message) => message.includes(`the image of its model, ${registry}/models/image@sha256:${'a'.repeat(64)}`),
    120,
  );
  expect(await scenario.field(`mdeploy/${name}`, '{.status.modelVersion}')).toBe('1');
}, 300_000);

test('a model of 1 GiB passes through a pod of 256 MiB', async () => {
  // That it is no model is found at the end, by its digest.
  await ask('1', { uri: 's3://models/huge.onnx', secretName: 'store', sha256: 'a'.repeat(64) }, 'huge', '256Mi');
  await eventually(
    () => condition('huge', 'ModelLoaded'),
    (message) => message.includes('not the expected aaaa'),
    180,
  );
  const states = await scenario.field('pods', '{.items[*].status.containerStatuses[*].lastState.terminated.reason}');
  expect(states).not.toContain('OOMKilled');
}, 300_000);
