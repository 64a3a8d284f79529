import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { request as forward, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { startPodIn } from '../../inference-pod/test/running-pod.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { iris, listen, startStore, Workplace } from '../stores/played-store.ts';

/**
 * Models of MLflow's registry: of a tracking server that hands out its artifacts, and of one that has them in a store that speaks S3
 * (versitygw). Before it stands what asks who it is.
 */
const account = `Basic ${Buffer.from('user:the-password-of-the-user').toString('base64')}`;
const keys = { AWS_ACCESS_KEY_ID: 'the-key-of-the-store', AWS_SECRET_ACCESS_KEY: 'the-secret-of-the-store' };
const model = 'the iris (1)';
const uriOf = (reference: string, file = 'onnx/model one.onnx') =>
  `mlflow://${encodeURIComponent(model)}${reference}/${file}`;

let work: Workplace;
let tracking: ChildProcess;
let store: ChildProcess;
let guard: { readonly server: Server; readonly url: string };
let url: string;
let endpoint: string;

async function call(path: string, body: object, method = 'POST') {
  const answer = await fetch(`${url}/api/2.0/${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}

beforeAll(async () => {
  const python = await pythonWith(join(import.meta.dirname, 'clients/mlflow.txt'));
  const { versitygw } = await ensureBinaries('versitygw');
  work = await Workplace.make('mlflow');
  const [port, storePort] = [await freePort(), await freePort()];
  url = `http://127.0.0.1:${port}`;
  endpoint = `http://127.0.0.1:${storePort}`;
  for (const folder of ['data/models/2', 'meta', 'artifacts'])
    await mkdir(join(work.folder, folder), { recursive: true });
  await copyFile(iris, join(work.folder, 'data/models/2/model.onnx'));
  const root = { ROOT_ACCESS_KEY: keys.AWS_ACCESS_KEY_ID, ROOT_SECRET_KEY: keys.AWS_SECRET_ACCESS_KEY };
  const gateway = [
    '--port',
    `127.0.0.1:${storePort}`,
    'posix',
    '--sidecar',
    join(work.folder, 'meta'),
    join(work.folder, 'data'),
  ];
  store = await startStore(versitygw, gateway, endpoint, root);
  const args = [
    '-m',
    'mlflow',
    'server',
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--workers',
    '1',
    '--serve-artifacts',
  ];
  const kept = [
    '--backend-store-uri',
    `sqlite:///${join(work.folder, 'mlflow.db')}`,
    '--artifacts-destination',
    join(work.folder, 'artifacts'),
  ];
  const env = { ...process.env, MLFLOW_DISABLE_TELEMETRY: 'true', DO_NOT_TRACK: 'true' };
  tracking = spawn(python, [...args, ...kept], { env, stdio: 'ignore', detached: true });
  const isHealthy = () =>
    fetch(`${url}/health`)
      .then(({ ok }) => ok)
      .catch(() => false);
  await eventually(isHealthy, (healthy) => healthy, { seconds: 120 });
  guard = await listen(({ url: path = '', headers, method }, response) => {
    if (headers.authorization !== account) return void response.writeHead(401).end('{}');
    forward({ host: '127.0.0.1', port, path, method, headers: { ...headers, host: `127.0.0.1:${port}` } }, (told) => {
      response.writeHead(told.statusCode ?? 500, told.headers);
      told.pipe(response);
    }).end();
  });
  const { experiment_id } = await call('mlflow/experiments/create', { name: 'iris' });
  const { run } = await call('mlflow/runs/create', { experiment_id });
  const { artifact_uri: artifacts, run_id } = run.info;
  const path = `${artifacts.replace('mlflow-artifacts:/', '')}/model/onnx/model one.onnx`;
  const put = await fetch(`${url}/api/2.0/mlflow-artifacts/artifacts/${encodeURI(path)}`, {
    method: 'PUT',
    body: new Uint8Array(await readFile(iris)),
  });
  expect(put.status).toBe(200);
  const written =
    'flavors:\n  onnx:\n    data: onnx/model one.onnx\n  python_function:\n    loader_module: mlflow.onnx\n';
  const beside = path.replace('onnx/model one.onnx', 'MLmodel');
  const putBeside = await fetch(`${url}/api/2.0/mlflow-artifacts/artifacts/${encodeURI(beside)}`, {
    method: 'PUT',
    body: written,
  });
  expect(putBeside.status).toBe(200);
  await call('mlflow/registered-models/create', { name: model });
  await call('mlflow/model-versions/create', { name: model, source: `${artifacts}/model`, run_id });
  await call('mlflow/model-versions/create', { name: model, source: 's3://models/2' });
  await call('mlflow/registered-models/alias', { name: model, alias: 'champion', version: '1' });
}, 900_000);
afterAll(async () => {
  const ended = once(tracking, 'exit');
  // Its workers are of its group.
  if (tracking.pid !== undefined) process.kill(-tracking.pid);
  await ended;
  store.kill();
  guard.server.close();
  await work.remove();
});

const secret = (more: Record<string, string> = {}) =>
  work.secretOf({
    MLFLOW_TRACKING_URI: guard.url,
    MLFLOW_TRACKING_USERNAME: 'user',
    MLFLOW_TRACKING_PASSWORD: 'the-password-of-the-user',
    ...more,
  });

describe("a model comes from MLflow's registry", () => {
  test('by the number of its version, handed out by the server', async () => {
    await work.expectLoaded(uriOf('/1'), await secret());
  });

  test('by an alias, of which it tells what that led to', async () => {
    const args = ['--model-uri', uriOf('@champion'), '--model-name', 'iris', ...(await secret())];
    const pod = await startPodIn({}, ...args);
    await pod.stop();
    const resolvedUri = 'mlflow://the%20iris%20%281%29/1/onnx/model one.onnx';
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', resolvedUri }));
  });

  test('as the folder says that it was logged to, of one version however the alias moves', async () => {
    const args = ['--model-uri', uriOf('@champion', 'MLmodel'), '--model-name', 'iris', ...(await secret())];
    const pod = await startPodIn({}, ...args);
    await pod.stop();
    const resolvedUri = 'mlflow://the%20iris%20%281%29/1/MLmodel';
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', resolvedUri }));
  });

  test('out of the store that it names, with the keys of the same Secret', async () => {
    const both = await secret({ ...keys, AWS_ENDPOINT_URL: endpoint });
    await work.expectLoaded(uriOf('/2', 'model.onnx'), both);
    const wrong = await secret({ ...keys, AWS_SECRET_ACCESS_KEY: 'another-secret', AWS_ENDPOINT_URL: endpoint });
    await work.expectRefused(uriOf('/2', 'model.onnx'), wrong, ['ModelFetchFailed', 'check AWS_ACCESS_KEY_ID']);
  });

  test.each([
    ['a version', '/9'],
    ['an alias', '@nobody'],
  ])('not of %s that is not there', async (_, reference) => {
    await work.expectRefused(uriOf(reference), await secret(), [
      'ModelNotFound',
      'no such model, version, alias or file',
    ]);
  });

  test('not a file that is not there', async () => {
    await work.expectRefused(uriOf('/1', 'none.onnx'), await secret(), ['ModelNotFound', 'check spec.model.uri']);
  });

  test('not without the password, nor without a server', async () => {
    const wrong = await secret({ MLFLOW_TRACKING_PASSWORD: 'another-password' });
    await work.expectRefused(uriOf('/1'), wrong, ['ModelFetchFailed', 'check MLFLOW_TRACKING_USERNAME']);
    await work.expectRefused(uriOf('/1'), [], ['InvalidConfiguration', 'MLFLOW_TRACKING_URI is missing']);
  });
});
