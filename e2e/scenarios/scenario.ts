import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBinaries } from '../cluster/binaries.ts';
import { kubeconfigFile } from '../cluster/cluster.ts';
import { type CommandOptions, run } from '../cluster/command.ts';
import { eventually as poll } from '../eventually.ts';

const repository = join(import.meta.dirname, '../..');
const plugin = join(repository, 'cli/src/main.ts');
const loadClient = readFileSync(join(import.meta.dirname, 'load-client.mjs'), 'utf8');

/** The image that the setup has built and loaded. */
export function testImage(): string {
  const image = process.env['SLIPWAY_TEST_IMAGE'];
  if (image === undefined) throw new Error('these tests need a cluster: run them with npm run test:e2e');
  return image;
}

export interface LoadStats {
  readonly answered: number;
  readonly failed: number;
  readonly versions: Readonly<Record<string, number>>;
  /** When each version answered last, in milliseconds since 1970. */
  readonly lastAnswers: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

/** A namespace of its own on the local cluster, and what a person does in it. */
export interface Scenario {
  readonly namespace: string;
  kubectl(args: readonly string[], options?: CommandOptions): Promise<string>;
  helm(args: readonly string[]): Promise<string>;
  /** The plugin of kubectl. */
  slipway(args: readonly string[]): Promise<string>;
  /** Applies a file of examples/, or a manifest. */
  apply(what: string | object): Promise<void>;
  waitReady(name: string, seconds?: number): Promise<void>;
  /** Reads a field of an object. */
  field(object: string, jsonpath: string): Promise<string>;
  /** Starts constant requests from a pod, through the Service and kube-proxy. */
  startLoad(name: string, options: LoadOptions): Promise<{ stats(): Promise<LoadStats>; stop(): Promise<LoadStats> }>;
  /** Deletes the namespace. */
  end(): Promise<void>;
}

export interface LoadOptions {
  readonly url: string;
  readonly body: object;
  readonly connections: number;
  readonly seconds: number;
  readonly pauseMilliseconds?: number;
  /** Whether connections are kept from one request to the next; they are, when absent. */
  readonly keepsConnections?: boolean;
}

export async function startScenario(labels: Readonly<Record<string, string>> = {}): Promise<Scenario> {
  const [{ kubectl }, { helm }] = [await ensureBinaries('kubernetes'), await ensureBinaries('helm')];
  const namespace = `scenario-${randomBytes(3).toString('hex')}`;
  const call = (args: readonly string[], options?: CommandOptions) =>
    run(kubectl, ['--kubeconfig', kubeconfigFile, '-n', namespace, ...args], options);
  const create = (manifest: object) => call(['apply', '--server-side', '-f', '-'], { input: JSON.stringify(manifest) });
  await create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } });
  return {
    namespace,
    kubectl: call,
    slipway: (args) =>
      run(process.execPath, [plugin, '--kubeconfig', kubeconfigFile, '-n', namespace, ...args], {
        env: { KUBECTL: kubectl },
      }),
    helm: (args) => run(helm, ['--kubeconfig', kubeconfigFile, ...args]),
    async apply(what) {
      if (typeof what === 'string') await call(['apply', '-f', join(repository, 'examples', what)]);
      else await create(what);
    },
    async waitReady(name, seconds = 60) {
      await call(['wait', '--for=condition=Ready', `mdeploy/${name}`, `--timeout=${seconds}s`]);
    },
    field: (object, jsonpath) => call(['get', object, '-o', `jsonpath=${jsonpath}`]),
    async startLoad(name, { url, body, connections, seconds, pauseMilliseconds = 0, keepsConnections = true }) {
      const settings = {
        URL: url,
        BODY: JSON.stringify(body),
        CONNECTIONS: String(connections),
        SECONDS: String(seconds),
        PAUSE_MILLISECONDS: String(pauseMilliseconds),
        KEEP_ALIVE: String(keepsConnections),
      };
      await create({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, labels: { app: name } },
        spec: {
          restartPolicy: 'Never',
          terminationGracePeriodSeconds: 0,
          activeDeadlineSeconds: seconds + 30,
          containers: [
            {
              name: 'load',
              image: testImage(),
              command: ['node', '--input-type=module', '-e', loadClient],
              env: Object.entries(settings).map(([key, value]) => ({ name: key, value })),
              readinessProbe: { httpGet: { path: '/stats', port: 8000 }, periodSeconds: 1 },
            },
          ],
        },
      });
      await call(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s']);
      const proxy = `/api/v1/namespaces/${namespace}/pods/${name}:8000/proxy`;
      const stats = async (): Promise<LoadStats> => JSON.parse(await call(['get', '--raw', `${proxy}/stats`]));
      return {
        stats,
        async stop() {
          await call(['create', '--raw', `${proxy}/stop`, '-f', '-'], { input: '{}' });
          // What is under way is answered before the counts are read.
          await new Promise((resolve) => setTimeout(resolve, 1000));
          return stats();
        },
      };
    },
    async end() {
      await call(['delete', 'namespace', namespace, '--wait=false']);
    },
  };
}

/** Polls a cluster, on which things take a while. */
export function eventually<T>(read: () => Promise<T>, holds: (value: T) => boolean, seconds = 60): Promise<T> {
  return poll(read, holds, { seconds, everyMilliseconds: 500 });
}

/** A prediction through the Service, by way of the API server. */
export async function predict(scenario: Scenario, name: string, inputs: readonly object[]) {
  const path = `/api/v1/namespaces/${scenario.namespace}/services/${name}:http/proxy/v2/models/${name}/infer`;
  const text = await scenario.kubectl(['create', '--raw', path, '-f', '-'], { input: JSON.stringify({ inputs }) });
  const answer: { model_version: string; outputs: { name: string; data: number[] }[] } = JSON.parse(text);
  return answer;
}

/** The inputs of an example model, and what its own library answers. */
export function exampleAnswers(name: string, version: string): { inputs: object[]; outputs: Record<string, unknown> } {
  return JSON.parse(readFileSync(join(repository, `examples/models/${name}/${version}.answers.json`), 'utf8'));
}
