import { ensureBinaries } from './binaries.ts';
import { clusterUp, kubeconfigFile } from './cluster.ts';
import { attempt, type CommandOptions, run } from './command.ts';
import { step } from './progress.ts';

/** A cluster, and the commands that speak to it. */
export interface Tools {
  /** The local cluster, or one that existed before. */
  readonly kind: 'local' | 'existing';
  kubectl(args: readonly string[], options?: CommandOptions): Promise<string>;
  helm(args: readonly string[]): Promise<string>;
  /** What a person has to type before `kubectl` means this cluster. */
  readonly preparation: string;
}

/** Brings the local cluster up, and uses the kubectl and the helm that are built with it. */
export async function localTools(): Promise<Tools> {
  await clusterUp();
  const [{ kubectl, folder }, { helm }] = [await ensureBinaries('kubernetes'), await ensureBinaries('helm')];
  return {
    kind: 'local',
    kubectl: (args, options) => run(kubectl, ['--kubeconfig', kubeconfigFile, ...args], options),
    helm: (args) => run(helm, ['--kubeconfig', kubeconfigFile, ...args]),
    preparation: `export KUBECONFIG=${kubeconfigFile} PATH=${folder}:$PATH`,
  };
}

/** Uses a context of the kubeconfig, with the machine's own kubectl and helm. */
export async function existingTools(context: string): Promise<Tools> {
  for (const command of ['kubectl', 'helm']) {
    if ((await attempt('which', [command])) === undefined) {
      throw new Error(`${command} is not on the PATH, and is needed to use the context ${context}`);
    }
  }
  await step(`looking for the context ${context}`, () =>
    run('kubectl', ['--context', context, 'version', '--request-timeout=10s']),
  );
  return {
    kind: 'existing',
    kubectl: (args, options) => run('kubectl', ['--context', context, ...args], options),
    helm: (args) => run('helm', ['--kube-context', context, ...args]),
    preparation: `kubectl config use-context ${context}`,
  };
}
