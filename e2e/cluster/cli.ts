import { Command } from 'commander';
import { clusterDown, clusterStatus, clusterUp, kubeconfigFile, loadImage } from './cluster.ts';
import { print, step } from './progress.ts';

const program = new Command('cluster').description('A real Kubernetes on this machine, for tests and the demo.');

program
  .command('up')
  .description('bring it up, or repair it')
  .action(async () => {
    await clusterUp();
    print(`up; its kubeconfig is ${kubeconfigFile}`);
  });
program
  .command('down')
  .description('take it down; what was built is kept')
  .action(() => step('taking the cluster down', clusterDown));
program
  .command('status')
  .description('say what runs; exit code 1 unless all of it does')
  .action(async () => {
    const { running, missing, nodeReady } = await clusterStatus();
    print(`running: ${running.join(', ') || 'nothing'}`);
    if (missing.length > 0) print(`not running: ${missing.join(', ')}`);
    print(nodeReady ? 'the node is ready' : 'the node is not ready');
    process.exitCode = nodeReady ? 0 : 1;
  });
program
  .command('kubeconfig')
  .description("print the name of the administrator's kubeconfig file")
  .action(() => console.log(kubeconfigFile));
program
  .command('load <archive>')
  .description('load an image, from an archive as docker save or buildah push docker-archive:… makes it')
  .action((archive: string) => step(`loading ${archive}`, () => loadImage(archive)));

try {
  await program.parseAsync();
} catch (error) {
  print(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
