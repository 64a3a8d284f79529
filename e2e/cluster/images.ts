import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBinaries, type Module } from './binaries.ts';
import { cacheFolder, repository } from './cache.ts';
import { run } from './command.ts';
import { nodeFolders, pauseImage } from './node.ts';
import { step } from './progress.ts';

/** Images are built without a daemon, and kept in the cache as archives that `load` takes. */
const archives = join(cacheFolder, 'images');
const buildah = (...args: readonly string[]) =>
  run('buildah', ['--storage-driver', 'overlay', '--root', join(cacheFolder, 'buildah'), ...args]);

/** Loads an archive of an image into the node. */
export async function loadArchive(clusterFolder: string, archive: string): Promise<void> {
  const { ctr } = await ensureBinaries('containerd');
  await run(ctr, [
    '-a',
    nodeFolders(clusterFolder).containerdSocket,
    '-n',
    'k8s.io',
    'images',
    'import',
    '--local',
    archive,
  ]);
}

/** The images of the cluster itself: one program each, and nothing else. */
export async function systemImages(): Promise<readonly string[]> {
  const fromModule = async (module: Module, file: string) => {
    const { folder } = await ensureBinaries(module);
    return programImage(`localhost/slipway-${module}:1`, join(folder, file), []);
  };
  return [
    await programImage(pauseImage, (await run('which', ['catatonit'])).trim(), ['-P']),
    await fromModule('coredns', 'coredns'),
    await fromModule('metrics-server', 'metrics-server'),
  ];
}

async function programImage(reference: string, program: string, args: readonly string[]): Promise<string> {
  const digest = createHash('sha256')
    .update(await readFile(program))
    .digest('hex')
    .slice(0, 12);
  const entrypoint = JSON.stringify(['/program', ...args]);
  const dockerfile = `FROM scratch\nCOPY program /program\nUSER 65532\nENTRYPOINT ${entrypoint}\n`;
  return archived(reference, digest, async (folder) => {
    await cp(program, join(folder, 'program'));
    await chmod(join(folder, 'program'), 0o755);
    await writeFile(join(folder, 'Dockerfile'), dockerfile);
  });
}

/** Builds an image from the folder that `fill` makes, unless an archive of it is in the cache. */
async function archived(
  reference: string,
  digest: string,
  fill: (folder: string) => Promise<void>,
  { before, args = [] }: { readonly before?: () => Promise<void>; readonly args?: readonly string[] } = {},
): Promise<string> {
  const name = reference.replace(/[^a-z0-9]+/g, '-');
  const archive = join(archives, `${name}-${digest}.tar`);
  if (existsSync(archive)) return archive;
  await before?.();
  await step(`building the image ${reference}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'slipway-image-'));
    try {
      await fill(folder);
      await mkdir(archives, { recursive: true });
      await buildah('bud', '--isolation', 'chroot', '--layers=false', ...args, '-t', reference, folder);
      // An archive cannot be written over, and an interrupted build may have left one.
      const unfinished = `${archive}.unfinished`;
      await rm(unfinished, { force: true });
      await buildah('push', '-q', reference, `docker-archive:${unfinished}:${reference}`);
      await rename(unfinished, archive);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return archive;
}

/** A small Debian with what Node needs, for machines that reach no image registry. */
async function localBase(): Promise<string> {
  const base = join(cacheFolder, 'base-1');
  if (existsSync(base)) return base;
  await step('making a base image with debootstrap (once)', async () => {
    const unfinished = `${base}.${process.pid}`;
    const include = '--include=ca-certificates,libstdc++6,libatomic1';
    await run('debootstrap', ['--variant=minbase', include, 'bookworm', unfinished]);
    // Devices are the runtime's to make; the rest is of no use in a container.
    for (const folder of [
      'dev',
      'usr/share/doc',
      'usr/share/locale',
      'usr/share/man',
      'var/cache/apt',
      'var/lib/apt/lists',
      'var/log',
    ]) {
      await rm(join(unfinished, folder), { recursive: true, force: true });
    }
    await mkdir(join(unfinished, 'dev'));
    await rename(unfinished, base);
  });
  return base;
}

export interface SlipwayImage {
  /** An immutable reference: its tag is a digest of what is in it. */
  readonly reference: string;
  readonly archive: string;
  /** Unpacked. */
  readonly megabytes: number;
}

/** Builds Slipway's own image on the local base, from what `stageImage` puts together. */
export async function slipwayImage(stage: { readonly folder: string; readonly digest: string }): Promise<SlipwayImage> {
  const reference = `localhost/slipway:${stage.digest}`;
  const archive = await archived(reference, stage.digest, (folder) => cp(stage.folder, folder, { recursive: true }), {
    before: makeBaseImage,
    args: ['--pull-never', '--build-arg', `BASE=${baseReference}`],
  });
  return { reference, archive, megabytes: Math.round((await stat(archive)).size / 1e6) };
}

const baseReference = 'localhost/slipway-base:1';

/** The local base with this repository's Node in it. */
async function makeBaseImage(): Promise<void> {
  const base = await localBase();
  await archived(baseReference, process.version, async (folder) => {
    await cp(base, join(folder, 'root'), { recursive: true, verbatimSymlinks: true });
    await mkdir(join(folder, 'root/usr/local/bin'), { recursive: true });
    await cp(join(repository, 'node_modules/node/bin/node'), join(folder, 'root/usr/local/bin/node'));
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY root /\n');
  });
}
