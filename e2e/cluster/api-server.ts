import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startControlPlane } from './control-plane.ts';
import { Daemons } from './daemons.ts';

/** The light form of a cluster, for tests that need only an API server: etcd, the API server and the controller manager, no node. Needs no root. */
export interface ApiServer {
  readonly kubeconfig: string;
  readonly daemons: Daemons;
  /** What was recorded of the requests of `recordedUser`, a JSON object a line. */
  readonly auditLog: string;
  stop(): Promise<void>;
}

/**
 * @param controllers of the controller manager; all by default
 * @param recordedUser whose requests are recorded
 */
export async function startApiServer(
  controllers: readonly string[] = ['*'],
  recordedUser?: string,
): Promise<ApiServer> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-api-server-'));
  const daemons = new Daemons(folder);
  const stop = async () => {
    for (const name of ['kube-controller-manager', 'kube-apiserver', 'etcd']) await daemons.stop(name, 2);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const { kubeconfig } = await startControlPlane({
      folder,
      daemons,
      address: '127.0.0.1',
      withNode: false,
      controllers,
      recordedUser,
    });
    return { kubeconfig, daemons, auditLog: join(folder, 'audit.log'), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
