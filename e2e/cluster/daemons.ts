import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Daemon {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** A network namespace by name; the host's when absent. */
  readonly networkNamespace?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A process is known by its id and when it started, since ids are used again. */
interface Identity {
  readonly pid: number;
  readonly started: string;
}

/** Long-running processes of one cluster, each with a file that identifies it and a log in the cluster's folder. */
export class Daemons {
  readonly #folder: string;
  readonly #started = new Map<string, Daemon>();

  constructor(clusterFolder: string) {
    this.#folder = join(clusterFolder, 'daemons');
  }

  /** Starts a daemon that outlives this process. */
  async start(daemon: Daemon): Promise<void> {
    const { name, command, args, networkNamespace, env } = daemon;
    this.#started.set(name, daemon);
    await mkdir(this.#folder, { recursive: true });
    const log = openSync(this.logFile(name), 'a');
    const [program, ...rest] =
      networkNamespace === undefined
        ? [command, ...args]
        : ['nsenter', `--net=/run/netns/${networkNamespace}`, command, ...args];
    const child = spawn(program, rest, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
    });
    closeSync(log);
    await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    child.unref();
    const pid = child.pid ?? 0;
    const unfinished = `${this.#file(name)}.unfinished`;
    writeFileSync(unfinished, JSON.stringify({ pid, started: startTime(pid) ?? '' } satisfies Identity));
    renameSync(unfinished, this.#file(name));
  }

  /** Ends a daemon that this process has started, and starts it again as it was. */
  async restart(name: string): Promise<void> {
    const daemon = this.#started.get(name);
    if (daemon === undefined) throw new Error(`${name} was not started here`);
    await this.stop(name);
    await this.start(daemon);
  }

  isRunning(name: string): boolean {
    return this.#identity(name) !== undefined;
  }

  logFile(name: string): string {
    return join(this.#folder, `${name}.log`);
  }

  /** The last lines of a daemon's log, for an error message. */
  async lastWords(name: string): Promise<string> {
    const log = await readFile(this.logFile(name), 'utf8').catch(() => '');
    return log.trim().split('\n').slice(-5).join('\n');
  }

  async names(): Promise<string[]> {
    const files = existsSync(this.#folder) ? await readdir(this.#folder) : [];
    return files.filter((file) => file.endsWith('.pid')).map((file) => file.slice(0, -'.pid'.length));
  }

  /** Asks a daemon to end, insists after `graceSeconds`, and forgets it. */
  async stop(name: string, graceSeconds = 5): Promise<void> {
    const identity = this.#identity(name);
    if (identity !== undefined) {
      process.kill(identity.pid, 'SIGTERM');
      const deadline = Date.now() + graceSeconds * 1000;
      while (this.isRunning(name) && Date.now() < deadline) await sleep(50);
      if (this.isRunning(name)) process.kill(identity.pid, 'SIGKILL');
      while (this.isRunning(name)) await sleep(20);
    }
    await rm(this.#file(name), { force: true });
  }

  #file(name: string): string {
    return join(this.#folder, `${name}.pid`);
  }

  #identity(name: string): Identity | undefined {
    if (!existsSync(this.#file(name))) return undefined;
    const identity: Identity = JSON.parse(readFileSync(this.#file(name), 'utf8'));
    return identity.started !== '' && startTime(identity.pid) === identity.started ? identity : undefined;
  }
}

/** When a process started, in clock ticks since boot; undefined if it is gone or a zombie. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
