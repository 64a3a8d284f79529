import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const main = join(import.meta.dirname, '../src/main.ts');

/** A pod started as a process of its own, as the kubelet would. */
export interface RunningPod {
  readonly process: ChildProcess;
  readonly url: string;
  /** Host and port. */
  readonly grpcAddress: string;
  readonly controlUrl: string;
  /** All that it wrote. */
  output(): string;
  /** Every log line so far. */
  readonly logs: readonly Readonly<Record<string, unknown>>[];
  /** Resolves with the exit code; -1 when a signal ended the process. */
  readonly exit: Promise<number>;
  stop(): Promise<void>;
}

export interface FailedStart {
  readonly exitCode: number;
  readonly terminationMessage: unknown;
  readonly output: string;
}

/** What a pod finds where it is started. */
export interface Surroundings {
  readonly environment?: Readonly<Record<string, string>>;
  /** How many files it may have open. */
  readonly openFiles?: number;
  /** Told each line of its log as it comes. */
  readonly onLine?: (line: Readonly<Record<string, unknown>>) => void;
}

/** Starts a pod and waits until it serves. */
export function startPod(...args: string[]): Promise<RunningPod> {
  return startPodIn({}, ...args);
}

export async function startPodIn(surroundings: Surroundings, ...args: string[]): Promise<RunningPod> {
  const { process, logs, output, exit } = launch(['--drain-seconds', '0', ...args], surroundings);
  if (surroundings.onLine !== undefined) logs.onLine(surroundings.onLine);
  const ports = await new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
    logs.onLine((line) => {
      if (line['port'] !== undefined) resolve(line);
    });
    void exit.then((code) => reject(new Error(`the pod ended with code ${code}:\n${output()}`)));
  });
  return {
    process,
    url: `http://127.0.0.1:${ports['port']}`,
    grpcAddress: `127.0.0.1:${ports['grpcPort']}`,
    controlUrl: `http://127.0.0.1:${ports['controlPort']}`,
    output,
    logs: logs.lines,
    exit,
    async stop() {
      process.kill('SIGTERM');
      await exit;
    },
  };
}

/** Starts a pod that is expected to end by itself. */
export function failToStart(...args: string[]): Promise<FailedStart> {
  return failToStartIn({}, ...args);
}

export async function failToStartIn(
  { environment, ...surroundings }: Surroundings,
  ...args: string[]
): Promise<FailedStart> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-test-'));
  const terminationLog = join(directory, 'termination-log');
  try {
    const { output, exit } = launch(args, {
      ...surroundings,
      environment: { ...environment, SLIPWAY_TERMINATION_LOG: terminationLog },
    });
    const exitCode = await exit;
    const terminationMessage: unknown = await readFile(terminationLog, 'utf8').then(JSON.parse, () => undefined);
    return { exitCode, terminationMessage, output: output() };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/**
 * Starts a pod and ends it as soon as its model is being opened.
 *
 * @returns the exit code, -1 when a signal ended the process, and the seconds that its end took
 */
export async function endWhileOpening(...args: string[]): Promise<{ readonly code: number; readonly seconds: number }> {
  const { process, logs, exit } = launch(args);
  let told = 0;
  logs.onLine((line) => {
    if (line['msg'] !== 'the model file is here') return;
    setTimeout(() => {
      told = performance.now();
      process.kill('SIGTERM');
    }, 500);
  });
  return { code: await exit, seconds: (performance.now() - told) / 1000 };
}

function launch(args: readonly string[], { environment, openFiles }: Surroundings = {}) {
  const ports = ['--port', '0', '--grpc-port', '0', '--control-port', '0'];
  const command = [process.execPath, main, '--host', '127.0.0.1', ...ports, ...args];
  const limit = openFiles === undefined ? '' : `ulimit -n ${openFiles} && `;
  const child = spawn('/bin/sh', ['-c', `${limit}exec "$0" "$@"`, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  const lines: Readonly<Record<string, unknown>>[] = [];
  const listeners: ((line: Readonly<Record<string, unknown>>) => void)[] = [];
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    text += `${line}\n`;
    const parsed: Readonly<Record<string, unknown>> = JSON.parse(line);
    lines.push(parsed);
    for (const listener of listeners) listener(parsed);
  });
  const exit = once(child, 'close').then(([code]: unknown[]) => (typeof code === 'number' ? code : -1));
  const onLine = (listener: (line: Readonly<Record<string, unknown>>) => void) => listeners.push(listener);
  return { process: child, logs: { lines, onLine }, output: () => text, exit };
}
