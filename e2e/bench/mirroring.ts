import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LinkCaller } from '../../inference-pod/test/link-caller.ts';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { startPod } from '../../inference-pod/test/running-pod.ts';
import { print } from '../cluster/progress.ts';
import type { LoadResult, LoadSettings } from './load.ts';

const run = promisify(execFile);
const revision = 'iris-2';
/** Of the requests, so many percent are mirrored. The first is the baseline; the second, the same again, shows what is noise. */
const cases = { without: 0, again: 0, '20 %': 20, '100 %': 100 } as const;

/** Of the two that the machine has: one for the pod, and one for who asks and for the canary. */
const cores = { pod: '0', others: '1' };

/**
 * What mirroring costs those whose requests are answered: latencies of a pod with two clients, in turns without it and with it. The
 * canary answers what it was given beforehand, and gives way to the clients, which have their core in real time: it takes time of
 * neither the pod nor the measurement.
 */
export async function benchMirroring({
  seconds,
  rounds,
}: {
  readonly seconds: number;
  readonly rounds: number;
}): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  const caller = new LinkCaller();
  await caller.mount(directory);
  const iris = exampleModel('iris', '1');
  const identity = ['--pod-uid', 'uid', '--link-directory', directory, '--revision', 'iris-1'];
  const pod = await startPod('--model', iris.path, '--model-name', 'iris', ...identity);
  let canary: ChildProcess | undefined;
  try {
    const body = JSON.stringify({ inputs: iris.inputs });
    const path = '/v2/models/iris/infer';
    const answer = await (await fetch(`${pod.url}${path}`, { method: 'POST', body })).text();
    canary = fork(import.meta.filename, [answer], { stdio: 'inherit' });
    const [port]: unknown[] = await once(canary, 'message');
    await run('taskset', ['--all-tasks', '--cpu-list', '--pid', cores.pod, String(pod.process.pid)]);
    await run('taskset', ['--all-tasks', '--cpu-list', '--pid', cores.others, String(canary.pid)]);
    const host = `127.0.0.1:${String(port)}`;
    const request = join(directory, 'request');
    const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
    await writeFile(request, head + body);
    const measure = async (percent: number): Promise<LoadResult> => {
      const mirror = percent === 0 ? {} : { mirror: { percent, outputs: [] } };
      const share = { revision, version: '2', percent: 0, pods: [{ http: host, grpc: host }], ...mirror };
      await caller.tell(pod, 'uid', { traffic: share });
      const settings: LoadSettings = {
        port: Number(new URL(pod.url).port),
        protocol: 'http',
        requests: [request],
        connections: 2,
        seconds,
      };
      const load = [process.execPath, join(import.meta.dirname, 'load.ts'), JSON.stringify(settings)];
      const { stdout } = await run('taskset', ['--cpu-list', cores.others, 'chrt', '--rr', '1', ...load]);
      return JSON.parse(stdout);
    };
    await measure(0);
    const results = new Map(Object.keys(cases).map((name) => [name, [] as LoadResult[]]));
    for (let round = 0; round < rounds; round++)
      for (const [name, percent] of Object.entries(cases)) results.get(name)?.push(await measure(percent));
    const { passedOn } = await caller.tell(pod, 'uid', {});
    const median = (name: string, of: (result: LoadResult) => number) =>
      (results.get(name) ?? []).map(of).sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN;
    const told = (of: (result: LoadResult) => number) =>
      Object.keys(cases).map(
        (name) => `${median(name, of).toFixed(3)} (${(median(name, of) / median('without', of)).toFixed(3)})`,
      );
    print(`Mirrored: ${Object.keys(cases).join(', ')}; medians of ${rounds} rounds, and how many times that without:`);
    print(`p50 in ms: ${told(({ p50Milliseconds }) => p50Milliseconds).join(', ')}`);
    print(`mean in ms: ${told(({ meanMilliseconds }) => meanMilliseconds).join(', ')}`);
    print(`p99 in ms: ${told(({ p99Milliseconds }) => p99Milliseconds).join(', ')}`);
    print(`requests a second: ${told(({ perSecond }) => perSecond).join(', ')}`);
    print(`compared: ${passedOn?.compared}, of them differing: ${passedOn?.differing}`);
  } finally {
    canary?.kill();
    await pod.stop();
    await rm(directory, { recursive: true });
  }
}

/** A process of its own, which is started above: a canary that answers always the same. */
if (process.send !== undefined) {
  const [answer = ''] = process.argv.slice(2);
  const headers = { 'x-slipway-revision': revision, 'content-type': 'application/json' };
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(200, headers).end(answer));
  }).listen(0, '127.0.0.1', () => {
    const address = server.address();
    process.send?.(typeof address === 'object' ? address?.port : undefined);
  });
}
