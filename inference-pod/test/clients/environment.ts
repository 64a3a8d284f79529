import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The same as that of the local cluster. */
const cacheFolder =
  process.env['SLIPWAY_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'slipway');

/**
 * Python with what a list of requirements names, such as the clients that other people have written; made once for each
 * list and kept in the cache. Its own `bin` has the commands of these packages under a path that it no longer has: run them
 * as `python -m`.
 *
 * @param bare lists of packages that are installed without what they say they need
 * @returns the path of its interpreter
 */
export async function pythonWith(requirements: string, ...bare: readonly string[]): Promise<string> {
  const folder = await cached('python', [requirements, ...bare], async (partial) => {
    const install = (list: string, ...options: readonly string[]) =>
      run(join(partial, 'bin/python'), ['-m', 'pip', 'install', '--quiet', ...options, '--requirement', list]);
    await run('python3', ['-m', 'venv', partial]);
    await install(requirements);
    for (const list of bare) await install(list, '--no-deps');
  });
  return join(folder, 'bin/python');
}

/**
 * A folder of the cache that is made once for what these files say, and is there whole or not at all. Several processes
 * may want it at once: each makes one, and the first to be ready is kept.
 *
 * @param make fills the folder that it is given
 */
export async function cached(
  name: string,
  files: readonly string[],
  make: (folder: string) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) hash.update(await readFile(file));
  const folder = join(cacheFolder, `${name}-${hash.digest('hex').slice(0, 12)}`);
  if (await isThere(folder)) return folder;
  await mkdir(cacheFolder, { recursive: true });
  const partial = await mkdtemp(`${folder}.partial-`);
  try {
    await make(partial);
    await rename(partial, folder);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if (!(await isThere(folder))) throw error;
  }
  return folder;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
