import { setTimeout as sleep } from 'node:timers/promises';
import { buildAndLoadImage, installChart } from '../cluster/install.ts';
import { print } from '../cluster/progress.ts';
import { localTools } from '../cluster/tools.ts';
import { eventually } from '../eventually.ts';
import { exampleAnswers, type Scenario, startScenario } from '../scenarios/scenario.ts';

interface Options {
  readonly runs: number;
}

type Load = Awaited<ReturnType<Scenario['startLoad']>>;

/** One way of going back, and what it is done to: version 2 is the bad one. */
interface Way {
  readonly name: string;
  /** Lets the bad version have requests. */
  begin(scenario: Scenario): Promise<void>;
  /** Goes back. @returns when that was asked for, or decided, in milliseconds since 1970 */
  back(scenario: Scenario): Promise<number>;
}

const resources = { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } };

async function ask(scenario: Scenario, version: '0' | '1' | '2', rollout: object): Promise<void> {
  await scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: scenario.namespace },
    spec: {
      model: { version, uri: `configmap://iris-${version === '2' ? 2 : 1}/model.onnx` },
      resources,
      replicas: 2,
      validation: { contract: 'Ignore' },
      rollout,
    },
  });
}

const status = (scenario: Scenario, field: string) => scenario.field('mdeploy/iris', `{.status.${field}}`);
const until = (read: () => Promise<string>, wanted: string) =>
  eventually(read, (value) => value === wanted, { seconds: 120, everyMilliseconds: 250 });

async function undo(scenario: Scenario): Promise<number> {
  const asked = Date.now();
  await scenario.kubectl(['rollout', 'undo', 'deployment/iris']);
  return asked;
}

/** Version 2 is not marked healthy, so that it is tried again each time. */
async function tryAgain(scenario: Scenario, rollout: object, weight: number): Promise<void> {
  await ask(scenario, '2', rollout);
  if ((await status(scenario, 'rollback.toRevision')) !== '') await scenario.slipway(['retry', 'iris']);
  await until(() => status(scenario, 'rollout.canary.state'), 'Holding');
  await until(() => status(scenario, 'rollout.canary.weight'), String(weight));
}

const manual = { strategy: 'Canary', canary: { steps: [{ weight: 50, hold: 'Manual' }] } };
const atOnce = { strategy: 'BlueGreen', blueGreen: { holdSeconds: 1, soakSeconds: 3600 } };
const gated = {
  strategy: 'Canary',
  canary: { steps: [{ weight: 50, hold: 'Manual' }], mirrorPercent: 100 },
  analysis: { intervalSeconds: 5, gates: [{ metric: 'Agreement', min: '95%' }] },
};

/** When the operator wrote that the canary is taken back, by its log. */
async function decidedAt(scenario: Scenario, since: number): Promise<number> {
  const seconds = Math.ceil((Date.now() - since) / 1000) + 1;
  const pods = ['-l', 'app.kubernetes.io/name=slipway', `--since=${seconds}s`, '--tail=-1', '--prefix=false'];
  const log = await scenario.kubectl(['-n', 'slipway-system', 'logs', ...pods]);
  const lines = log.split('\n').filter((line) => line.startsWith('{') && line.includes(scenario.namespace));
  const writes = lines.map((line): { write?: string; time: number } => JSON.parse(line));
  const gone = writes.findIndex(({ write }) => write === 'delete CanaryDeployment');
  const decided = writes.slice(0, gone).findLast(({ write }) => write === 'write-status');
  if (gone < 0 || decided === undefined) throw new Error('the log does not tell when the canary was taken back');
  return decided.time;
}

const ways: readonly Way[] = [
  {
    name: 'rolling update, undo (baseline)',
    async begin(scenario) {
      await ask(scenario, '2', { strategy: 'RollingUpdate' });
      if ((await status(scenario, 'rollback.toRevision')) !== '') await scenario.slipway(['retry', 'iris']);
      await until(() => status(scenario, 'rollout.message'), 'complete');
    },
    back: undo,
  },
  { name: 'canary at 50 %, undo', begin: (scenario) => tryAgain(scenario, manual, 50), back: undo },
  { name: 'blue-green that soaks, undo', begin: (scenario) => tryAgain(scenario, atOnce, 100), back: undo },
  {
    name: 'canary at 50 %, failed gate',
    begin: (scenario) => tryAgain(scenario, gated, 50),
    async back(scenario) {
      const start = Date.now();
      await until(() => status(scenario, 'rollback.trigger'), 'GateFailed');
      return decidedAt(scenario, start);
    },
  },
];

/**
 * Seconds from `kubectl rollout undo`, and from the decision of a gate, to the last answer of the bad version, under constant
 * requests; beside a rolling update, whose undo has to start pods.
 */
export async function benchRollback({ runs }: Options): Promise<void> {
  const tools = await localTools();
  const image = await buildAndLoadImage();
  await installChart(tools, image);
  process.env['SLIPWAY_TEST_IMAGE'] = image;
  print(`\n| way back | runs | least s | median s | most s | failed requests |\n| --- | --- | --- | --- | --- | --- |`);
  // The rolling update makes version 2 healthy, which would not be tried any more: each way has a namespace of its own.
  for (const way of ways) {
    const [scenario, clients] = [await startScenario(), await startScenario()];
    try {
      const { seconds, failed } = await measure(way, scenario, clients, runs);
      const sorted = seconds.toSorted((a, b) => a - b);
      const cells = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
      print(`| ${way.name} | ${runs} | ${cells.map((cell = 0) => cell.toFixed(2)).join(' | ')} | ${failed} |`);
    } finally {
      await Promise.all([scenario.end(), clients.end()]);
    }
  }
}

async function measure(way: Way, scenario: Scenario, clients: Scenario, runs: number) {
  await scenario.apply('iris.yaml');
  await scenario.apply('iris-2.yaml');
  await scenario.kubectl(['delete', 'mdeploy', '--all']);
  // kubectl takes nothing back where nothing ran before.
  for (const version of ['0', '1'] as const) {
    await ask(scenario, version, { strategy: 'RollingUpdate' });
    await until(() => status(scenario, 'modelVersion'), version);
    await scenario.waitReady('iris', 120);
  }
  const load: Load = await clients.startLoad('clients', {
    url: `http://iris.${scenario.namespace}.svc.cluster.local/v2/models/iris/infer`,
    body: { inputs: exampleAnswers('iris', '1').inputs },
    connections: 8,
    seconds: 3600,
    pauseMilliseconds: 5,
  });
  const seconds: number[] = [];
  for (let run = 0; run < runs; run++) {
    await way.begin(scenario);
    await eventually(load.stats, ({ lastAnswers }) => Date.now() - (lastAnswers['2'] ?? 0) < 1000, { seconds: 60 });
    const since = await way.back(scenario);
    await until(() => status(scenario, 'rollout.message'), 'rolled back to 1');
    await sleep(2000);
    const { lastAnswers } = await load.stats();
    seconds.push(Math.max(0, ((lastAnswers['2'] ?? 0) - since) / 1000));
  }
  const { failed } = await load.stop();
  return { seconds, failed };
}
