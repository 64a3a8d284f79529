import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { LoadResult, LoadSettings } from './load.ts';

/** How much longer than it should a client may take before it is ended. */
const patienceMilliseconds = 120_000;

/**
 * Asks a server again and again, from a process of its own.
 *
 * @param core that the client has to itself
 * @throws Error when any request fails
 */
export async function load(settings: LoadSettings, core: string): Promise<LoadResult> {
  const command = ['-c', core, process.execPath, join(import.meta.dirname, 'load.ts'), JSON.stringify(settings)];
  const client = spawn('taskset', command, {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: settings.seconds * 1000 + patienceMilliseconds,
  });
  let text = '';
  client.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(client, 'close');
  if (text === '') throw new Error(`no end of the requests at ${settings.connections} connections`);
  const result: LoadResult = JSON.parse(text);
  if (result.failed > 0) throw new Error(`${result.failed} requests failed at ${settings.connections} connections`);
  return result;
}
