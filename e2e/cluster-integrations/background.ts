import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** A program that runs beside a test. */
export interface Background {
  stop(): Promise<void>;
}

/**
 * Starts a program, and waits until it answers.
 *
 * @param isReady asked again and again; what it throws is no
 * @throws Error with what the program wrote, when it ends or is not ready in time
 */
export async function startInBackground(
  command: string,
  args: readonly string[],
  isReady: () => Promise<boolean>,
): Promise<Background> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-20_000);
    });
  for (const end = performance.now() + 60_000; ; await sleep(200)) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}:\n${output}`);
    if (await isReady().catch(() => false)) break;
    if (performance.now() > end) {
      child.kill('SIGKILL');
      throw new Error(`${command} is not ready after a minute:\n${output}`);
    }
  }
  return { stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(timer);
}
