import { access, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';

const installed = '/usr/lib/locale';

/**
 * onnxruntime folds the case of texts by the locale en_US.UTF-8, which slim images lack, and does not load a model that
 * would have it do so: any of scikit-learn's that counts words. They do have C.UTF-8, whose letters are the same, so where
 * en_US.UTF-8 is missing that is given its name.
 *
 * @param directory where the name is made
 * @returns the variables by which a process that is started with them finds it
 */
export async function localeVariables(directory: string, log?: Logger): Promise<Readonly<Record<string, string>>> {
  const plain = join(installed, 'C.utf8');
  const others = await Promise.all(['en_US.utf8', 'locale-archive'].map((name) => isThere(join(installed, name))));
  if (process.env['LOCPATH'] !== undefined || others.includes(true) || !(await isThere(plain))) return {};
  const folder = join(directory, 'locales');
  const link = join(folder, 'en_US.utf8');
  const beside = `${link}.${process.pid}`;
  try {
    await mkdir(folder, { recursive: true });
    await rm(beside, { force: true });
    await symlink(plain, beside);
    // Another process may have made it, and use it.
    await rename(beside, link);
    return { LOCPATH: folder };
  } catch (error) {
    log?.warn({ err: error }, 'models that fold the case of texts cannot be loaded: the locale en_US.UTF-8 is missing');
    return {};
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
