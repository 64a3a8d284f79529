import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The same as that of the local cluster. */
const cacheFolder =
  process.env['SLIPWAY_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'slipway');

/**
 * Python with the clients that other people have written, made once for each list of them and kept in the cache.
 *
 * @returns the path of its interpreter
 */
export async function pythonWithClients(): Promise<string> {
  const requirements = join(import.meta.dirname, 'requirements.txt');
  const digest = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 12);
  const folder = join(cacheFolder, `python-${digest}`);
  const python = join(folder, 'bin/python');
  if (await isThere(python)) return python;
  const partial = `${folder}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(cacheFolder, { recursive: true });
  await run('python3', ['-m', 'venv', partial]);
  await run(join(partial, 'bin/python'), ['-m', 'pip', 'install', '--quiet', '--requirement', requirements]);
  await rename(partial, folder);
  return python;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
