import { spawn } from 'node:child_process';

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Ends the command with SIGKILL; no limit when absent. */
  readonly timeoutMilliseconds?: number;
}

/** A command that ended with a code other than 0, or that could not be started. */
export class CommandError extends Error {
  readonly stderr: string;

  constructor(command: string, problem: string, stderr: string) {
    super(`${command}: ${problem}${stderr === '' ? '' : `\n${stderr.trim().split('\n').slice(-20).join('\n')}`}`);
    this.name = 'CommandError';
    this.stderr = stderr;
  }
}

/**
 * Runs a command to its end and returns what it printed on standard output.
 *
 * @throws CommandError
 */
export function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { cwd, env, input, timeoutMilliseconds } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
      ...(timeoutMilliseconds === undefined ? {} : { timeout: timeoutMilliseconds, killSignal: 'SIGKILL' as const }),
    });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    const told = () => Buffer.concat(errors).toString();
    const title = [command, ...args].join(' ');
    child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk));
    child.once('error', (error) => reject(new CommandError(title, error.message, told())));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(Buffer.concat(output).toString());
      else reject(new CommandError(title, signal === null ? `ended with code ${code}` : `ended by ${signal}`, told()));
    });
    child.stdin?.on('error', () => undefined).end(input);
  });
}

/** Runs a command whose failure does not matter, as most of a clean-up. */
export async function attempt(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return await run(command, args, { timeoutMilliseconds: 30_000 });
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}
