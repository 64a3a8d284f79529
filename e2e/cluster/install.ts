import { join } from 'node:path';
import { repository } from './cache.ts';
import { loadImage } from './cluster.ts';
import { slipwayImage } from './images.ts';
import { print, step } from './progress.ts';
import { stageImage } from './stage-image.ts';
import type { Tools } from './tools.ts';

/** Builds Slipway's image for this machine and loads it into the local cluster. */
export async function buildAndLoadImage(): Promise<string> {
  const architecture = process.arch === 'arm64' ? 'arm64' : 'x64';
  const stage = await step('building the code', () => stageImage(architecture));
  const image = await slipwayImage(stage);
  await step(`loading the image into the node (${image.megabytes} MB)`, () => loadImage(image.archive));
  return image.reference;
}

/**
 * Installs the chart, or upgrades it.
 *
 * @param image a reference with a tag
 */
export async function installChart({ helm, kubectl }: Tools, image: string): Promise<void> {
  const [, name = image, tag = ''] = /^(.*):([^:/]+)$/.exec(image) ?? [];
  if (tag === '') throw new Error(`the image ${image} has no tag: name one, such as ${image}:0.1.0`);
  const chart = join(repository, 'charts/slipway');
  const values = ['--set', `image.repository=${name}`, '--set-string', `image.tag=${tag}`];
  await step('helm upgrade --install slipway charts/slipway', async () => {
    await helm(['upgrade', '--install', 'slipway', chart, '-n', 'slipway-system', '--create-namespace', ...values]);
    await kubectl(['-n', 'slipway-system', 'rollout', 'status', 'deployment/slipway-operator', '--timeout=120s']);
  });
  print(`            image ${image}`);
}
