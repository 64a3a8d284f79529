import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { operatorKubeconfig } from './test-cluster.ts';

const main = join(import.meta.dirname, '../../operator/src/main.ts');

/** An operator started as a process of its own, as from a terminal. */
export interface RunningOperator {
  /** Every log line so far. */
  readonly logs: readonly Readonly<Record<string, unknown>>[];
  /** The writes that were made for a ModelDeployment, in order; another namespace may hold one of its name. */
  writesFor(namespace: string, name: string): string[];
  stop(): Promise<number>;
  kill(): Promise<void>;
}

export interface OperatorOptions {
  readonly image?: string;
  readonly namespace?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** With whose rights; by default those of the chart's operator of all namespaces. */
  readonly kubeconfig?: string;
}

/** Starts an operator and waits until it leads. */
export async function startOperator({
  image = 'example/slipway:1',
  namespace = '',
  env = {},
  kubeconfig = operatorKubeconfig(),
}: OperatorOptions = {}): Promise<RunningOperator> {
  const args = ['--kubeconfig', kubeconfig, '--inference-image', image, '--namespace', namespace, '--port', '0'];
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  const exit = once(child, 'close').then(([code]: unknown[]) => (typeof code === 'number' ? code : -1));
  const logs: Readonly<Record<string, unknown>>[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const entry: Readonly<Record<string, unknown>> = JSON.parse(line);
      logs.push(entry);
      if (entry['msg'] === 'leading') resolve();
    });
    void exit.then((code) => reject(new Error(`the operator ended with code ${code}: ${JSON.stringify(logs)}`)));
  });
  return {
    logs,
    writesFor: (ofNamespace, name) =>
      logs
        .filter(({ msg, ...entry }) => msg === 'wrote' && entry['name'] === name && entry['namespace'] === ofNamespace)
        .map((entry) => String(entry['write'])),
    async stop() {
      child.kill('SIGTERM');
      return exit;
    },
    async kill() {
      child.kill('SIGKILL');
      await exit;
    },
  };
}
