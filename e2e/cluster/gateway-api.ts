import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { moduleFolder } from './binaries.ts';

/** The CRDs of the Gateway API that Contour is made for, as options of kubectl. */
export async function gatewayApiFiles(channel: 'standard' | 'experimental'): Promise<readonly string[]> {
  const folder = join(await moduleFolder('contour', 'sigs.k8s.io/gateway-api'), 'config/crd', channel);
  const names = (await readdir(folder)).filter((name) => name.startsWith('gateway.networking.k8s.io_'));
  return names.flatMap((name) => ['-f', join(folder, name)]);
}
