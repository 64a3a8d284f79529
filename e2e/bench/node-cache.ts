import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { digestOfFiles } from '../../contract/src/model-bundle.ts';
import { startPod } from '../../inference-pod/test/running-pod.ts';
import { grantCacheRights, startCache, tokenOf } from '../api-server/running-cache.ts';
import { makeNamespace, testClient } from '../api-server/test-cluster.ts';
import { startApiServer } from '../cluster/api-server.ts';
import { print, step } from '../cluster/progress.ts';
import { portOf } from '../free-port.ts';
import { lookUpModel } from './lookup-model.ts';

interface Start {
  readonly title: string;
  readonly args: readonly string[];
}

/**
 * The time until a model is loaded: from the cache of the node, from its store, and from a volume of the pod, one after the other in each
 * round. A token is shown to a real API server.
 */
export async function benchNodeCache({
  megabytes,
  rounds,
}: {
  readonly megabytes: number;
  readonly rounds: number;
}): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  const server = await step('starting an API server', () => startApiServer(['serviceaccount']));
  process.env['SLIPWAY_TEST_KUBECONFIG'] = server.kubeconfig;
  const client = testClient();
  try {
    const sha256 = await step(`making a model of ${megabytes} MB`, () => placeModel(directory, megabytes));
    await client.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'slipway-system' } } });
    await grantCacheRights(client);
    const tokenFile = join(directory, 'token');
    await writeFile(tokenFile, await tokenOf(client, await makeNamespace(client)));
    const cache = await startCache(client, { directory: join(directory, 'cache') });
    const store = createServer((request, response) => {
      const file = createReadStream(join(directory, new URL(request.url ?? '', 'http://a').pathname));
      void pipeline(file, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => store.listen(0, '127.0.0.1', resolve));
    const common = ['--model-name', 'm', '--model-sha256', sha256];
    const remote = ['--model-uri', `http://127.0.0.1:${portOf(store)}/model.onnx`, ...common];
    const local: Start = {
      title: 'volume',
      args: ['--model-uri', 'pvc://c/model.onnx', '--mount-directory', directory, ...common],
    };
    const fromStore: Start = { title: 'store', args: remote };
    const fromCache: Start = {
      title: 'cache',
      args: [...remote, '--node-cache-url', cache.url, '--node-cache-token-file', tokenFile],
    };
    try {
      await secondsOf(fromCache, directory, 'Store', 'the cache of the node has the model now');
      const times = new Map<Start, number[]>([local, fromCache, fromStore].map((start) => [start, []]));
      for (let round = 1; round <= rounds; round++)
        for (const [start, seconds] of times)
          seconds.push(await secondsOf(start, directory, start === fromCache ? 'NodeCache' : 'Store'));
      const median = (start: Start) => (times.get(start) ?? []).toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
      for (const [start, seconds] of times)
        print(
          `${start.title}: ${median(start).toFixed(2)} s (${seconds.map((each) => each.toFixed(2)).join(', ')}), ${(median(start) / median(local)).toFixed(2)} times the volume`,
        );
    } finally {
      store.closeAllConnections();
      store.close();
      await cache.stop();
    }
  } finally {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** @returns its digest */
async function placeModel(directory: string, megabytes: number): Promise<string> {
  const rows = megabytes * 256;
  const model = lookUpModel(rows, 1024, 'weights.bin');
  await writeFile(join(directory, 'model.onnx'), model);
  const weights = await open(join(directory, 'weights.bin'), 'w');
  const hash = createHash('sha256');
  for (let row = 0; row < rows; row += 256) {
    const chunk = Buffer.alloc(256 * 4096, row % 251);
    hash.update(chunk);
    await weights.write(chunk);
  }
  await weights.close();
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  return digestOfFiles([
    { name: 'model.onnx', sha256: digest(model) },
    { name: 'weights.bin', sha256: hash.digest('hex') },
  ]);
}

/** @returns until the model is loaded, in seconds */
async function secondsOf(start: Start, directory: string, from: string, waitsFor?: string): Promise<number> {
  const work = await mkdtemp(join(directory, 'work-'));
  const pod = await startPod(...start.args, '--work-directory', work);
  const logged = (message: string) => pod.logs.find(({ msg }) => msg === message);
  try {
    while (waitsFor !== undefined && logged(waitsFor) === undefined)
      await new Promise((resolve) => setTimeout(resolve, 100));
    if (logged('the model file is here')?.['from'] !== from)
      throw new Error(`${start.title} was not used: ${pod.output()}`);
    return Number(logged('the model is loaded')?.['seconds']);
  } finally {
    await pod.stop();
    await rm(work, { recursive: true });
  }
}
