import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Metadata } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { CanaryPod, TrafficShare } from '../../contract/src/traffic.ts';
import { clientOf, type Message } from './grpc-client.ts';
import { get, type HttpAnswer, post } from './http.ts';
import { LinkCaller } from './link-caller.ts';
import { exampleModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

/** Canaries that do their worst to the pod that asks them: it answers all the same, in time, and within its memory. */
const iris = exampleModel('iris', '1');
const request = { inputs: iris.inputs };
const caller = new LinkCaller();
const mostAnswerBytes = 8 * 2 ** 20;
const path = '/v2/models/iris/infer';

let directory: string;
let stable: RunningPod;
const start = (...more: string[]) => {
  const model = ['--model', iris.path, '--model-name', 'iris', '--model-version', '1'];
  const identity = ['--pod-uid', 'uid', '--link-directory', directory, '--revision', 'iris-1'];
  return startPod(
    ...model,
    ...identity,
    '--max-answer-bytes',
    String(mostAnswerBytes),
    '--max-body-bytes',
    '1048576',
    ...more,
  );
};
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-traffic-'));
  await caller.mount(directory);
  stable = await start();
});
afterAll(async () => {
  await stable.stop();
  await rm(directory, { recursive: true });
});

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});
const canaryOf = async (listener: RequestListener): Promise<CanaryPod> => {
  server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { http: host, grpc: host };
};
let count = 0;
/** Each test has a canary of its own, whose counts begin at nothing. */
const tell = async (pods: readonly CanaryPod[], share: Partial<TrafficShare> = {}, pod = stable) => {
  const revision = `bad-${++count}`;
  await caller.tell(pod, 'uid', { traffic: { revision, version: '2', percent: 100, pods, ...share } });
  return revision;
};
const passedOn = async (pod = stable) => (await caller.tell(pod, 'uid', {})).passedOn;
const infer = (headers: Record<string, string> = {}, pod = stable) => post(`${pod.url}${path}`, request, headers);
const servedBy = ({ headers }: HttpAnswer) => headers.get('x-slipway-revision');
const headersOf = () => ({ 'x-slipway-revision': `bad-${count}`, 'content-type': 'application/json' });

test.each<[string, number, Record<string, string>]>([
  ['204', 204, {}],
  ['302', 302, { location: 'http://elsewhere' }],
  ['a compressed answer', 200, { 'content-encoding': 'gzip' }],
  ['an answer without a type', 200, { 'content-type': '' }],
])('what is no answer of a model is none: %s', async (_, status, more) => {
  const canary = await canaryOf((incoming, response) => {
    incoming.resume();
    const headers = Object.entries({ ...headersOf(), ...more }).filter(([, value]) => value !== '');
    response.writeHead(status, Object.fromEntries(headers)).end();
  });
  const revision = await tell([canary]);
  const answer = await infer();
  expect([answer.status, servedBy(answer), answer.json.model_version]).toEqual([200, 'iris-1', '1']);
  expect(await passedOn()).toMatchObject({ revision, requests: 1, failed: 1 });
});

test('no more than four answers are compared at once, and none that the canary was not asked', async () => {
  let [open, most] = [0, 0];
  const canary = await canaryOf((incoming, response) => {
    incoming.resume();
    most = Math.max(most, ++open);
    response.on('close', () => open--);
  });
  await tell([canary], { percent: 0, mirror: { percent: 100, outputs: [] } });
  const answers = await Promise.all(Array.from({ length: 100 }, () => infer()));
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  await sleep(300);
  expect(most).toBe(4);
  server?.closeAllConnections();
  await sleep(300);
  expect(await passedOn()).toMatchObject({ compared: 4, differing: 4 });
});

test('a place for a comparison is given back by a request that is refused', async () => {
  const canary = await canaryOf((incoming, response) => {
    incoming.resume();
    response.writeHead(200, headersOf()).end('{}');
  });
  await tell([canary], { percent: 0, mirror: { percent: 100, outputs: [] } });
  for (let turn = 0; turn < 10; turn++) expect((await post(`${stable.url}${path}`, { inputs: [] })).status).toBe(400);
  await infer();
  await sleep(300);
  expect((await passedOn())?.compared).toBe(1);
});

test('requests that ask for a canary are bounded, and take nothing from its share', async () => {
  const waiting: (() => void)[] = [];
  const canary = await canaryOf((incoming, response) => {
    incoming.resume();
    const answer = () => response.writeHead(200, headersOf()).end('{"model_version":"2"}');
    if (incoming.headers['x-slipway-passed-on'] === 'asked') waiting.push(answer);
    else answer();
  });
  const revision = await tell([canary]);
  const asked = Array.from({ length: 50 }, () => infer({ 'x-slipway-revision': revision }));
  while (waiting.length < 32) await sleep(20);
  expect(servedBy(await infer())).toBe(revision);
  for (const answer of waiting) answer();
  const statuses = (await Promise.all(asked)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(32);
  expect(statuses.filter((status) => status === 503)).toHaveLength(18);
  expect(await passedOn()).toMatchObject({ requests: 1, failed: 0 });
});

test('what a canary answers is held within the memory for bodies and answers; for more, the pod answers itself', async () => {
  const part = Buffer.alloc(mostAnswerBytes - 1000, 32);
  const canary = await canaryOf((incoming, response) => {
    incoming.resume();
    response.writeHead(200, headersOf()).write(part);
  });
  await tell([canary]);
  const asked = Array.from({ length: 20 }, () => infer({ 'x-request-timeout-ms': '8000' }));
  const heldNow = async () => {
    const metrics = (await get(`${stable.controlUrl}/metrics`)).text;
    return Number(/^slipway_transfer_bytes (\d+)/m.exec(metrics)?.[1]);
  };
  let isOver = false;
  void Promise.all(asked).finally(() => {
    isOver = true;
  });
  let held = 0;
  while (!isOver) {
    held = Math.max(held, await heldNow());
    await sleep(20);
  }
  expect(held).toBeGreaterThan(mostAnswerBytes / 2);
  expect(held).toBeLessThanOrEqual(4 * mostAnswerBytes);
  const answers = await Promise.all(asked);
  expect(answers.map((answer) => [answer.status, servedBy(answer)])).toEqual(answers.map(() => [200, 'iris-1']));
  // Those that there was no room for are not held against it.
  expect((await passedOn())?.failed).toBeLessThanOrEqual(5);
  expect((await get(`${stable.controlUrl}/metrics`)).text).toMatch(/^slipway_transfer_bytes 0$/m);
});

test('a pod that ends waits for what is with a canary', async () => {
  const ending = await start();
  const arrived = Promise.withResolvers<void>();
  const canary = await canaryOf((incoming, response) => {
    incoming.resume();
    arrived.resolve();
    setTimeout(() => response.writeHead(200, headersOf()).end('{"model_version":"2"}'), 7000);
  });
  const revision = await tell([canary], {}, ending);
  const asked = infer({}, ending);
  await arrived.promise;
  ending.process.kill('SIGTERM');
  const answer = await asked;
  expect([answer.status, servedBy(answer)]).toEqual([200, revision]);
  expect(await ending.exit).toBe(0);
});

test('latencies are of ordinary requests, without what a client needs to send', async () => {
  await caller.tell(stable, 'uid', {});
  const countOf = async () =>
    (await caller.tell(stable, 'uid', {})).measures.latency.buckets.reduce((sum, inBucket) => sum + inBucket, 0);
  const before = await countOf();
  await infer({ 'x-slipway-passed-on': 'asked' });
  await post(`${stable.url}${path}`, { inputs: [] });
  expect(await countOf()).toBe(before);
  await infer({ 'x-slipway-passed-on': 'share' });
  const body = Buffer.from(JSON.stringify(request));
  async function* slowly() {
    yield body.subarray(0, 10);
    await sleep(1000);
    yield body.subarray(10);
  }
  const slow = await fetch(`${stable.url}${path}`, { method: 'POST', body: slowly(), duplex: 'half' } as RequestInit);
  expect(slow.status).toBe(200);
  const { latency } = (await caller.tell(stable, 'uid', {})).measures;
  expect(await countOf()).toBe(before + 2);
  // The bucket of 0.5 s is the 39th.
  expect(latency.buckets.length).toBeLessThan(39);
});

describe('over gRPC', () => {
  const row = { name: 'X', datatype: 'FP32', shape: [1, 4], contents: { fp32_contents: [5.1, 3.5, 1.4, 0.2] } };
  const inferRow = (pod: RunningPod, milliseconds: number): Promise<Message> => {
    const client = clientOf(pod.grpcAddress, 'open_inference_grpc.proto', 'inference.GRPCInferenceService');
    return new Promise<Message>((resolve, reject) => {
      const options = { deadline: Date.now() + milliseconds };
      const asked = { model_name: 'iris', inputs: [row] };
      client['ModelInfer']?.(asked, new Metadata(), options, (error: Error | null, response: Message) =>
        error === null ? resolve(response) : reject(error),
      );
    }).finally(() => client.close());
  };

  test('a canary whose node is gone, so that nobody takes the connection, is given up in time', async () => {
    // Nobody accepts, and the system's queue is full: what is sent is lost.
    const program =
      'const s=require("net").createServer();s.listen({port:0,host:"127.0.0.1",backlog:1},()=>console.log(s.address().port))';
    const deaf = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [port] = await once(deaf.stdout, 'data');
    deaf.kill('SIGSTOP');
    const sockets: Socket[] = Array.from({ length: 8 }, () =>
      connect(Number(port), '127.0.0.1').on('error', () => undefined),
    );
    await sleep(200);
    try {
      const host = `127.0.0.1:${Number(port)}`;
      const revision = await tell([{ http: host, grpc: host }]);
      for (let turn = 0; turn < 3; turn++) expect((await inferRow(stable, 4000)).model_version).toBe('1');
      expect(await passedOn()).toMatchObject({ revision, requests: 3, failed: 3 });
    } finally {
      for (const socket of sockets) socket.destroy();
      deaf.kill('SIGKILL');
    }
  });

  test('a canary has no more time than the pod gives to any request, whatever the call asks for', async () => {
    const hurried = await start('--request-timeout-milliseconds', '1000');
    const canary = await canaryOf(() => undefined);
    await tell([canary], {}, hurried);
    const begin = performance.now();
    expect((await inferRow(hurried, 60_000)).model_version).toBe('1');
    expect(performance.now() - begin).toBeLessThan(3000);
    await hurried.stop();
  });
});
