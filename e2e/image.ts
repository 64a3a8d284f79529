import { Command, Option } from 'commander';
import { attempt, run } from './cluster/command.ts';
import { slipwayImage } from './cluster/images.ts';
import { print, step } from './cluster/progress.ts';
import { type Architecture, stageImage } from './cluster/stage-image.ts';

interface Options {
  readonly tag?: string;
  readonly arch: Architecture;
}

const options = new Command('image')
  .description(
    "Builds Slipway's image: with docker and node:26-slim when --tag is given, else from a local base with buildah.",
  )
  .option('--tag <reference>', 'the name of the image, such as registry.example/slipway:0.1.0')
  .addOption(
    new Option('--arch <name>', 'whose processors it is for')
      .choices(['x64', 'arm64'])
      .default(process.arch === 'arm64' ? 'arm64' : 'x64'),
  )
  .parse()
  .opts<Options>();

try {
  const stage = await step('building the code', () => stageImage(options.arch));
  if (options.tag === undefined) {
    const { reference, archive, megabytes } = await slipwayImage(stage);
    print(`${reference}, ${megabytes} MB, in ${archive}`);
  } else {
    const builder = (await attempt('which', ['docker'])) === undefined ? 'buildah' : 'docker';
    const platform = `linux/${options.arch === 'x64' ? 'amd64' : 'arm64'}`;
    const { tag } = options;
    await step(`${builder} build ${tag}`, () =>
      run(builder, ['build', '--platform', platform, '-t', tag, stage.folder]),
    );
    const format =
      builder === 'docker'
        ? ['image', 'inspect', '--format', '{{.Size}}', tag]
        : ['inspect', '--type', 'image', '--format', '{{.Size}}', tag];
    const size = await attempt(builder, format);
    print(`${tag}, ${Math.round(Number(size ?? 0) / 1e6)} MB`);
  }
} catch (error) {
  print(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
