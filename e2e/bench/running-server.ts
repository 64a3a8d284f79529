import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { until } from '../cluster/progress.ts';

/** The ports that a server may take. */
export interface Ports {
  readonly http: number;
  readonly grpc: number;
  readonly control: number;
}

/** How a server is started. */
export interface ServerCommand {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface StartSettings extends ServerCommand {
  /** The core that it has to itself. */
  readonly core: string;
  readonly ports: Ports;
  /** Answers 200 once the server is ready. */
  readonly readyPath: string;
  readonly needsGrpc: boolean;
  /** Where its log goes. */
  readonly directory: string;
}

const readySeconds = 60;
const patienceMilliseconds = 15_000;
/** Linux counts so in /proc, whatever its own clock does. */
const ticksPerSecond = 100;

/** Leaders of process groups, which do not outlive this process. */
const running = new Set<number>();
process.once('exit', () => {
  for (const leader of running) signalGroup(leader, 'SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

/** A server with all the processes that it starts, on one core. */
export class RunningServer {
  readonly #process: ChildProcess;
  readonly #leader: number;

  private constructor(child: ChildProcess, leader: number) {
    this.#process = child;
    this.#leader = leader;
  }

  /**
   * Starts a server and waits until it is ready.
   *
   * @throws Error with the last that it said
   */
  static async start(settings: StartSettings): Promise<RunningServer> {
    const { command, env, core, ports, readyPath, needsGrpc, directory } = settings;
    const logFile = join(directory, 'server.log');
    const log = openSync(logFile, 'w');
    const child = spawn('taskset', ['-c', core, ...command], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
      detached: true,
    });
    closeSync(log);
    if (child.pid === undefined) throw new Error('taskset could not be started');
    running.add(child.pid);
    const server = new RunningServer(child, child.pid);
    try {
      await until('the server is ready', readySeconds, async () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error('the server ended');
        return (await isReady(ports.http, readyPath)) && (!needsGrpc || (await isOpen(ports.grpc)));
      });
      return server;
    } catch (error) {
      await server.stop();
      throw new Error(`${error instanceof Error ? error.message : error}: ${lastLine(logFile)}`);
    }
  }

  /** Megabytes of all its processes, shared pages divided among those that share them. */
  memory(): number {
    const kilobytes = treeOf(this.#leader).map((pid) =>
      Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]),
    );
    return Math.round(kilobytes.reduce((sum, each) => sum + each, 0) / 1000);
  }

  /** Seconds that all its processes have computed so far. */
  computed(): number {
    const ticks = treeOf(this.#leader).map((pid) => {
      // Behind the name, which may hold anything.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
      return Number(fields[11]) + Number(fields[12]);
    });
    return ticks.reduce((sum, each) => sum + each, 0) / ticksPerSecond;
  }

  /** Ends it and all that it has started. */
  async stop(): Promise<void> {
    const exit =
      this.#process.exitCode === null && this.#process.signalCode === null ? once(this.#process, 'exit') : undefined;
    signalGroup(this.#leader, 'SIGTERM');
    const timer = setTimeout(() => signalGroup(this.#leader, 'SIGKILL'), patienceMilliseconds);
    await exit;
    clearTimeout(timer);
    // Those that were started by it may take a moment longer.
    signalGroup(this.#leader, 'SIGKILL');
    await until('all processes of the server have ended', 10, async () => !signalGroup(this.#leader, 0));
    running.delete(this.#leader);
  }
}

/** @returns whether there was anybody to take it */
function signalGroup(leader: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-leader, signal);
  } catch {
    return false;
  }
}

async function isReady(port: number, path: string): Promise<boolean> {
  try {
    const { status } = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(1000) });
    return status === 200;
  } catch {
    return false;
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const tell = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.once('connect', () => tell(true));
    socket.once('error', () => tell(false));
  });
}

/** A process and all that it has started, and they in turn. */
function treeOf(pid: number): readonly number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  const children = threads.flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(treeOf)];
}

function lastLine(file: string): string {
  return readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '';
}
