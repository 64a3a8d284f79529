import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../operator/src/kube/client.ts';
import { openConnection } from '../../operator/src/kube/kubeconfig.ts';
import { startApiServer } from '../cluster/api-server.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { grantRights, operatorUser } from './operator-rights.ts';

/** Starts one API server for all tests of the project, with the ModelDeployment API installed. */
export default async function setUp(): Promise<void> {
  const server = await startApiServer(['*'], operatorUser);
  stopApiServer = server.stop;
  try {
    await installApi(server.kubeconfig);
    const connection = openConnection({ kubeconfig: server.kubeconfig });
    const client = createClient({ connection, userAgent: 'slipway-test' });
    process.env['SLIPWAY_TEST_OPERATOR_KUBECONFIG'] = await grantRights(
      client,
      server.kubeconfig,
      dirname(server.kubeconfig),
    );
  } catch (error) {
    await server.stop();
    throw error;
  }
  process.env['SLIPWAY_TEST_KUBECONFIG'] = server.kubeconfig;
  process.env['SLIPWAY_TEST_AUDIT_LOG'] = server.auditLog;
}

async function installApi(kubeconfig: string): Promise<void> {
  const { kubectl } = await ensureBinaries('kubernetes');
  const crds = join(import.meta.dirname, '../../crds');
  execFileSync(kubectl, ['--kubeconfig', kubeconfig, 'apply', '-f', crds], { stdio: 'pipe' });
  const established = [
    'wait',
    '--for=condition=Established',
    'crd/modeldeployments.serving.slipway.dev',
    '--timeout=30s',
  ];
  for (const end = performance.now() + 30_000; ; await sleep(200)) {
    try {
      execFileSync(kubectl, ['--kubeconfig', kubeconfig, ...established], { stdio: 'pipe' });
      return;
    } catch (error) {
      // kubectl fails on a CRD that has no conditions yet.
      if (performance.now() > end) throw error;
    }
  }
}

let stopApiServer: (() => Promise<void>) | undefined;

export async function tearDown(): Promise<void> {
  await stopApiServer?.();
}
