import { fork } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publicKeysFile } from '../../contract/src/link.ts';
import { noMeasures } from '../../contract/src/measures.ts';
import { nothingPassedOn } from '../../contract/src/traffic.ts';
import { createPodLink as createPodSide, parseLinkCall } from '../../inference-pod/src/serving/link.ts';
import { linkKey, publicKeysOf } from '../../operator/src/podlink/link-keys.ts';
import { directCall } from '../../operator/src/podlink/pod-calls.ts';
import { createPodLink } from '../../operator/src/podlink/pod-link.ts';
import { print, step, until } from '../cluster/progress.ts';

interface Options {
  readonly pods: number;
  readonly seconds: number;
}

const port = 19191;
const addressOf = (index: number) => `127.1.${Math.floor(index / 250)}.${1 + (index % 250)}`;
const histogram = { buckets: Array.from({ length: 50 }, (_, bucket) => bucket * 7), sum: 12.5 };
const model = {
  name: 'iris',
  version: '1',
  digest: `sha256:${'a'.repeat(64)}`,
  signature: { inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, 4] }], outputs: [] },
  resolvedUri: undefined,
  movedTo: undefined,
  signedBy: undefined,
  goldenSet: undefined,
};

/**
 * What the pod link costs the operator: so many pods of as many models, each at an address of its own on this machine and
 * with the pod's own code, in another process. The baseline is the same number of bare POSTs, answered with as many bytes.
 */
export async function benchPodLink({ pods, seconds }: Options): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  const key = linkKey(generateKeyPairSync('ed25519').privateKey, 0);
  await writeFile(join(directory, publicKeysFile), publicKeysOf([key]));
  const server = fork(import.meta.filename, [String(pods), directory], { stdio: 'inherit' });
  try {
    await once(server, 'message');
    const link = createPodLink({
      call: directCall(port),
      keys: () => [key],
      wake: () => undefined,
      now: () => performance.now(),
      date: Date.now,
      random: Math.random,
    });
    const running = link.run();
    const follow = (index: number) =>
      link.follow({
        uid: `uid-${index}`,
        key: `n/model-${index}`,
        model: `model-${index}`,
        namespace: 'n',
        name: `pod-${index}`,
        ip: addressOf(index),
      });
    for (let index = 0; index < pods; index++) follow(index);
    await step(`calling ${pods} pods the first time`, () =>
      until('every pod is linked', 120, async () =>
        Array.from({ length: pods }, (_, index) => follow(index)).every(({ kind }) => kind === 'linked'),
      ),
    );
    const linked = await cpuOf(() => step(`following them for ${seconds} s`, () => wait(seconds)));
    link.close();
    await running;
    const calls = (pods / 10) * seconds;
    const bare = await cpuOf(() => step(`${calls} bare requests, as often`, () => bareRequests(calls, seconds, pods)));
    print(`  pod link, ${pods} pods    ${((linked / seconds) * 100).toFixed(1)} % of a core`);
    print(
      `  bare requests            ${((bare / seconds) * 100).toFixed(1)} % of a core (the link: ${(linked / bare).toFixed(2)} times)`,
    );
    print(`  memory of both           ${Math.round(process.memoryUsage().rss / 2 ** 20)} MB`);
  } finally {
    server.kill();
    await rm(directory, { recursive: true });
  }
}

const wait = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** CPU seconds of this process while something goes on. */
async function cpuOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

async function bareRequests(calls: number, seconds: number, pods: number): Promise<void> {
  const call = directCall(port);
  const body = { version: 1, padding: 'x'.repeat(500) };
  for (let sent = 0; sent < calls; sent++) {
    const index = sent % pods;
    void call({ namespace: 'n', name: '', ip: addressOf(index) }, '/bare', body).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, (seconds / calls) * 1000));
  }
}

/** The pods: one listener for all addresses, each with its own side of the link. */
function servePods(pods: number, directory: string): void {
  const sides = new Map(
    Array.from({ length: pods }, (_, index) => {
      const options = { directory, now: () => performance.now() };
      const measures = { ...noMeasures, latency: histogram };
      const figures = () => ({ revision: 'iris-r', model, measures, passedOn: nothingPassedOn });
      return [addressOf(index), createPodSide({ pod: `uid-${index}`, figures, ...options })] as const;
    }),
  );
  const bare = JSON.stringify({ version: 1, padding: 'x'.repeat(700) });
  createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const side = sides.get(request.socket.localAddress ?? '');
      const call = parseLinkCall(JSON.parse(Buffer.concat(chunks).toString()));
      if (request.url === '/bare' || side === undefined || call === undefined) return void response.end(bare);
      void side.answer(call).then((answer) => response.end(JSON.stringify(answer)));
    });
  }).listen(port, '0.0.0.0', () => process.send?.('listening'));
}

// This file is the other process as well.
if (process.argv[1] === import.meta.filename && process.send !== undefined)
  servePods(Number(process.argv[2]), process.argv[3] ?? '');
