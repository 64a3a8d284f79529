import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, repository } from './cache.ts';
import { run } from './command.ts';
import { step } from './progress.ts';

export interface Stage {
  readonly folder: string;
  /** Of everything that goes into the image. */
  readonly digest: string;
}

/** The names that onnxruntime and images have for the architecture. */
export type Architecture = 'x64' | 'arm64';

/** The workspaces whose code is in the image. */
const parts = ['contract', 'operator', 'inference-pod', 'node-cache'];

/**
 * Puts together what the image holds: the built code, production dependencies, onnxruntime for one architecture, and
 * the Dockerfile. Nothing that compiles, and no package manager.
 */
export async function stageImage(architecture: Architecture): Promise<Stage> {
  await run('npm', ['run', '--silent', 'build'], { cwd: repository });
  const digest = await digestOf(architecture);
  const folder = join(cacheFolder, 'stages', digest);
  if (existsSync(folder)) return { folder, digest };
  await step('installing the production dependencies', async () => {
    const unfinished = `${folder}.${process.pid}`;
    const app = join(unfinished, 'app');
    await mkdir(app, { recursive: true });
    // The lockfile speaks of all workspaces, so npm wants to see all of them.
    for (const name of [...parts, 'handler', 'e2e']) {
      await mkdir(join(app, name), { recursive: true });
      await cp(join(repository, name, 'package.json'), join(app, name, 'package.json'));
    }
    for (const name of ['package.json', 'package-lock.json', '.npmrc'])
      await cp(join(repository, name), join(app, name));
    const workspaces = parts.flatMap((name) => ['--workspace', name]);
    const platform = ['--os=linux', `--cpu=${architecture}`, '--libc=glibc'];
    await run(
      'npm',
      ['install', '--no-save', '--omit=dev', '--ignore-scripts', '--loglevel=error', ...platform, ...workspaces],
      { cwd: app },
    );
    await rm(join(app, 'node_modules/.package-lock.json'), { force: true });
    for (const name of ['package-lock.json', '.npmrc', 'e2e', 'handler', 'node_modules/@slipway/handler'])
      await rm(join(app, name), { recursive: true });
    await prune(join(app, 'node_modules'), architecture);
    for (const name of parts) {
      await cp(join(repository, 'dist', name, 'src'), join(app, name, 'src'), {
        recursive: true,
        filter: (path) => !/(\.d\.ts|\.map|\.test\.js|\/testing)$/.test(path),
      });
    }
    await cp(join(repository, 'inference-pod/page'), join(app, 'inference-pod/page'), { recursive: true });
    await cp(join(repository, 'Dockerfile'), join(unfinished, 'Dockerfile'));
    await rename(unfinished, folder);
  });
  return { folder, digest };
}

/** Leaves out what only other platforms, compilers and editors use. */
async function prune(modules: string, architecture: Architecture): Promise<void> {
  const binaries = join(modules, 'onnxruntime-node/bin/napi-v6');
  for (const platform of await readdir(binaries))
    if (platform !== 'linux') await rm(join(binaries, platform), { recursive: true });
  for (const cpu of await readdir(join(binaries, 'linux'))) {
    if (cpu !== architecture) await rm(join(binaries, 'linux', cpu), { recursive: true });
  }
  await removeFiles(modules, /\.(d\.[cm]?ts|map|md|markdown|tsbuildinfo)$/);
}

/** What a licence asks to be passed on: that of the libraries beside sharp is in their README. */
const terms = /(\/@img\/.*\/README|\/(LICEN[CS]E|NOTICE|COPYING)[^/]*)\.md$/i;

async function removeFiles(folder: string, pattern: RegExp): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await removeFiles(path, pattern);
    else if (pattern.test(entry.name) && !terms.test(path)) await rm(path);
  }
}

async function digestOf(architecture: Architecture): Promise<string> {
  const hash = createHash('sha256').update(architecture);
  const add = async (path: string) => hash.update(path.slice(repository.length)).update(await readFile(path));
  for (const name of ['package-lock.json', 'Dockerfile', 'e2e/cluster/stage-image.ts'])
    await add(join(repository, name));
  for (const name of (await readdir(join(repository, 'inference-pod/page'))).sort())
    await add(join(repository, 'inference-pod/page', name));
  for (const name of parts) {
    const folder = join(repository, 'dist', name, 'src');
    const files = await readdir(folder, { recursive: true });
    for (const file of files.filter((path) => path.endsWith('.js')).sort()) await add(join(folder, file));
  }
  return hash.digest('hex').slice(0, 12);
}
