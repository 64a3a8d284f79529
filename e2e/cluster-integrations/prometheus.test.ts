import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { dump } from 'js-yaml';
import { ensureBinaries } from '../cluster/binaries.ts';
import { kubeconfigFile } from '../cluster/cluster.ts';
import { network } from '../cluster/node.ts';
import { setInChart } from '../scenarios/chart-setting.ts';
import { eventually, exampleAnswers, type Scenario, startScenario } from '../scenarios/scenario.ts';
import { type Background, startInBackground } from './background.ts';

/** Gates that ask a Prometheus, which scrapes the pods as any would. */
const port = 19_090;
const url = `http://${network.hostAddress}:${port}`;
const { inputs } = exampleAnswers('iris', '1');

let scenario: Scenario;
let folder: string;
let prometheus: Background;
beforeAll(async () => {
  const binaries = await ensureBinaries('prometheus');
  scenario = await startScenario();
  folder = await mkdtemp(join(tmpdir(), 'slipway-prometheus-'));
  const config = {
    global: { scrape_interval: '1s' },
    scrape_configs: [
      {
        job_name: 'pods',
        kubernetes_sd_configs: [
          { role: 'pod', kubeconfig_file: kubeconfigFile, namespaces: { names: [scenario.namespace] } },
        ],
        relabel_configs: [
          { source_labels: ['__meta_kubernetes_pod_container_port_number'], regex: '9090', action: 'keep' },
          { source_labels: ['__meta_kubernetes_namespace'], target_label: 'namespace' },
          { source_labels: ['__meta_kubernetes_pod_name'], target_label: 'pod' },
        ],
      },
    ],
  };
  await writeFile(join(folder, 'prometheus.yaml'), dump(config));
  prometheus = await startInBackground(
    binaries.prometheus,
    [
      `--config.file=${join(folder, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${network.hostAddress}:${port}`,
    ],
    async () => (await fetch(`${url}/-/ready`)).ok,
  );
  await setInChart(scenario, `prometheus.url=${url}`);
  await scenario.apply('iris.yaml');
  await scenario.apply('iris-2.yaml');
  await scenario.kubectl(['delete', 'mdeploy', '--all']);
  await ask('1', 'iris-1', 'vector(0)', '1');
  await scenario.waitReady('iris', 120);
  await scenario.startLoad('clients', {
    url: `http://iris.${scenario.namespace}.svc.cluster.local/v2/models/iris/infer`,
    body: { inputs },
    connections: 2,
    seconds: 600,
    pauseMilliseconds: 20,
  });
}, 900_000);
afterAll(async () => {
  await setInChart(scenario, 'prometheus.url=');
  await prometheus.stop();
  await scenario.end();
  await rm(folder, { recursive: true });
});

const ask = (version: string, model: string, query: string, max: string) =>
  scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: scenario.namespace },
    spec: {
      model: { version, uri: `configmap://${model}/model.onnx` },
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
      rollout: {
        strategy: 'Canary',
        canary: { steps: [{ weight: 50, holdSeconds: 5 }] },
        analysis: { intervalSeconds: 5, gates: [{ metric: 'PromQL', name: 'asked', query, max }] },
      },
    },
  });
const status = (field: string) => scenario.field('mdeploy/iris', `{.status.${field}}`);
const ofCanary = '{namespace="$namespace",pod=~"$name-canary-.*"}';

test('a query that cannot be answered says why, and the canary waits', async () => {
  await ask('2', 'iris-2', `sum(slipway_model_memory_bytes${ofCanary}`, '1');
  await eventually(
    () => status('rollout.canary.message'),
    (message) => /^inconclusive: PromQL asked at most 1 \(Prometheus answered 400: .*parse error/.test(message),
    180,
  );
}, 240_000);

test('one that is beyond its bound takes the canary back', async () => {
  await ask('2', 'iris-2', `max(slipway_model_memory_bytes${ofCanary})`, '1');
  await eventually(
    () => status('rollout.message'),
    (message) => message === 'rolled back to 1',
    180,
  );
  expect(await status('rollback.message')).toMatch(/^PromQL asked at most 1: \d+, after \d+ intervals$/);
}, 240_000);

test('one that is within lets it through, by the requests that the canary itself has counted', async () => {
  const failed = `sum(rate(slipway_http_requests_total{namespace="$namespace",pod=~"$name-canary-.*",code=~"5.."}[$interval]))`;
  const all = `sum(rate(slipway_http_requests_total${ofCanary}[$interval]))`;
  await ask('3', 'iris-2', `(${failed} or vector(0)) / ${all}`, '0.01');
  await eventually(
    () => status('rollout.message'),
    (message) => message === 'complete',
    180,
  );
  expect(await status('modelVersion')).toBe('3');
}, 240_000);
