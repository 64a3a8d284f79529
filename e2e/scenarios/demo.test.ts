import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ensureBinaries } from '../cluster/binaries.ts';
import { repository } from '../cluster/cache.ts';
import { kubeconfigFile } from '../cluster/cluster.ts';
import { run } from '../cluster/command.ts';
import { testImage } from './scenario.ts';

async function demo(...args: string[]): Promise<string> {
  const [{ kubectl }, { helm }] = [await ensureBinaries('kubernetes'), await ensureBinaries('helm')];
  const path = `${dirname(kubectl)}:${dirname(helm)}:${process.env['PATH'] ?? ''}`;
  const env = { KUBECONFIG: kubeconfigFile, PATH: path };
  return run(process.execPath, [join(repository, 'e2e/demo.ts'), ...args], { env });
}

test('the demo runs on a cluster that exists, with an image that it has, as often as it is run', async () => {
  for (let round = 0; round < 2; round++) {
    const output = await demo('--context', 'slipway', '--image', testImage());
    expect(output).toContain('12 flowers: 2 0 1 0 0 0 2 2 2 1 0 1; as scikit-learn answers');
    expect(output).toMatch(/modeldeployment\S*iris\s+True\s+1\s+complete\s+2/);
    expect(output).toContain('kubectl config use-context slipway');
  }
}, 300_000);

test('the demo says what is missing', async () => {
  await expect(demo('--context', 'slipway')).rejects.toThrow('give the image as well');
  await expect(demo('--context', 'nowhere', '--image', testImage())).rejects.toThrow(
    'context "nowhere" does not exist',
  );
  await expect(demo('--context', 'slipway', '--image', 'slipway')).rejects.toThrow('has no tag');
});
