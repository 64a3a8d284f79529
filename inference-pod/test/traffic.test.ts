import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Metadata } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type CanaryPod, type Mirror, nothingPassedOn, type TrafficShare } from '../../contract/src/traffic.ts';
import { type Caller, clientOf, type Message } from './grpc-client.ts';
import { get, type HttpAnswer, outputData, post, read } from './http.ts';
import { LinkCaller } from './link-caller.ts';
import { exampleModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

const iris = exampleModel('iris', '1');
const request = { inputs: iris.inputs };
const caller = new LinkCaller();

let directory: string;
let stable: RunningPod;
let canary: RunningPod;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-traffic-'));
  await caller.mount(directory);
  [stable, canary] = await Promise.all([start('1'), start('2')]);
});
afterAll(async () => {
  await Promise.all([stable.stop(), canary.stop()]);
  await rm(directory, { recursive: true });
});

function start(version: string, uid = version): Promise<RunningPod> {
  const model = ['--model', exampleModel('iris', version).path, '--model-name', 'iris', '--model-version', version];
  const identity = ['--pod-uid', `uid-${uid}`, '--link-directory', directory, '--revision', `iris-${version}`];
  return startPod(...model, ...identity);
}
const hostOf = (url: string) => url.replace('http://', '');
const canaryPod = (): CanaryPod => ({ http: hostOf(canary.url), grpc: canary.grpcAddress });
const tell = (share: Partial<TrafficShare>, holdsSeconds?: number) => {
  const whole = { revision: 'iris-2', version: '2', percent: 100, pods: [canaryPod()], ...share };
  return caller.tell(stable, 'uid-1', { traffic: whole }, holdsSeconds);
};
const passedOn = async () => (await caller.tell(stable, 'uid-1', {})).passedOn;
const path = '/v2/models/iris/infer';
const infer = (headers: Record<string, string> = {}, body: object = request, to = path) =>
  post(`${stable.url}${to}`, body, headers);
const servedBy = ({ headers }: HttpAnswer) => headers.get('x-slipway-revision');

describe('a share of the requests', () => {
  test.each([1, 5, 50])('of %d percent is passed on, off by at most one request', async (percent) => {
    const before = (await tell({ percent }))?.passedOn?.requests ?? 0;
    const requests = 10_000;
    let passed = 0;
    for (let sent = 0; sent < requests; sent += 20) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => infer()));
      for (const answer of answers) {
        expect(answer.status).toBe(200);
        if (servedBy(answer) === 'iris-2') passed++;
        expect(answer.json.model_version).toBe(servedBy(answer) === 'iris-2' ? '2' : '1');
      }
    }
    expect(Math.abs(passed - (requests * percent) / 100)).toBeLessThanOrEqual(1);
    expect(await passedOn()).toMatchObject({ revision: 'iris-2', requests: before + passed, failed: 0, saturated: 0 });
  });

  test('of several pods is off by at most one request of each, and a client in a rhythm meets both versions', async () => {
    const others = await Promise.all(['3', '4'].map((uid) => start('1', uid)));
    try {
      const pods = [stable, ...others];
      const traffic = { revision: 'iris-2', version: '2', percent: 5, pods: [canaryPod()] };
      for (const [index, pod] of pods.entries()) await caller.tell(pod, `uid-${[1, 3, 4][index]}`, { traffic });
      const requests = 10_000;
      // Twenty clients, of which each meets the same place of every block.
      const passed = Array<number>(20).fill(0);
      for (let sent = 0; sent < requests; sent += 20 * pods.length) {
        const answers = await Promise.all(
          pods.map(async ({ url }) => {
            const ofOne: HttpAnswer[] = [];
            for (let client = 0; client < 20; client++) ofOne.push(await post(`${url}${path}`, request));
            return ofOne;
          }),
        );
        for (const ofOne of answers) {
          for (const [client, answer] of ofOne.entries())
            if (servedBy(answer) === 'iris-2') passed[client] = (passed[client] ?? 0) + 1;
        }
      }
      const sent = Math.ceil(requests / (20 * pods.length)) * 20 * pods.length;
      const total = passed.reduce((sum, count) => sum + count, 0);
      expect(Math.abs(total - sent / 20)).toBeLessThanOrEqual(pods.length);
      // Of 501 requests each: chance gives 25, and none or a hundred once in 10^11.
      for (const count of passed) expect(count > 0 && count < 100).toBe(true);
    } finally {
      await Promise.all(others.map((pod) => pod.stop()));
    }
  });

  test('is answered as the canary itself answers, in JSON and in binary, compressed and not', async () => {
    await tell({});
    const direct = await post(`${canary.url}${path}`, request);
    expect(outputData(await infer())).toEqual(outputData(direct));
    const binary = { inputs: iris.inputs, parameters: { binary_data_output: true } };
    const [here, there] = await Promise.all([infer({}, binary), post(`${canary.url}${path}`, binary)]);
    const lengthOf = (answer: HttpAnswer) => answer.headers.get('inference-header-content-length');
    expect(lengthOf(here)).toBe(lengthOf(there));
    expect(here.text.slice(Number(lengthOf(here)))).toBe(there.text.slice(Number(lengthOf(there))));
    const long = { inputs: [{ name: 'X', datatype: 'FP32', shape: [500, 4], data: Array(2000).fill(1) }] };
    const zipped = await infer({ 'accept-encoding': 'gzip' }, long);
    expect(zipped.headers.get('content-encoding')).toBe('gzip');
    expect(zipped.json.model_version).toBe('2');
    const predicted = await infer({}, { instances: [[5.1, 3.5, 1.4, 0.2]] }, '/v1/models/iris:predict');
    expect([predicted.status, servedBy(predicted)]).toEqual([200, 'iris-2']);
  });

  test('ends when nobody renews it', async () => {
    await tell({}, 1);
    expect(servedBy(await infer())).toBe('iris-2');
    await sleep(1200);
    expect(servedBy(await infer())).toBe('iris-1');
  });

  test('says nothing of the latency and the errors of the pod that passes it on', async () => {
    const { measures: before } = await tell({});
    await infer();
    expect((await tell({})).measures).toEqual(before);
    const metrics = (await get(`${stable.controlUrl}/metrics`)).text;
    expect(metrics).toMatch(/slipway_passed_on_requests_total\{revision="iris-2",outcome="answered"\} [1-9]/);
  });

  test('goes by a header where the share says so: each caller meets one version, and a larger share keeps its callers', async () => {
    const callers = Array.from({ length: 200 }, (_, index) => `user-${index}`);
    const canaryCallers = async (percent: number) => {
      await tell({ percent, stickyBy: 'x-user' });
      const answers = await Promise.all(callers.map((user) => infer({ 'x-user': user })));
      return callers.filter((_, index) => answers[index] !== undefined && servedBy(answers[index]) === 'iris-2');
    };
    const few = await canaryCallers(20);
    expect(few.length).toBeGreaterThan(20);
    expect(few.length).toBeLessThan(60);
    expect(await canaryCallers(20)).toEqual(few);
    const many = await canaryCallers(50);
    expect(few.filter((user) => !many.includes(user))).toEqual([]);
    expect(many.length).toBeGreaterThan(few.length);
  });
});

describe('a request that asks for a revision or a version', () => {
  beforeEach(() => tell({ percent: 50 }));

  test('is answered by it, whatever the share', async () => {
    for (const [headers, to, revision] of [
      [{ 'x-slipway-revision': 'iris-1' }, path, 'iris-1'],
      [{ 'x-slipway-revision': 'iris-2' }, path, 'iris-2'],
      [{}, '/v2/models/iris/versions/1/infer', 'iris-1'],
      [{}, '/v2/models/iris/versions/2/infer', 'iris-2'],
    ] as const) {
      for (let turn = 0; turn < 6; turn++) {
        const answer = await infer(headers, request, to);
        expect([answer.status, servedBy(answer)]).toEqual([200, revision]);
      }
    }
    const predicted = await infer({}, { instances: [[1, 2, 3, 4]] }, '/v1/models/iris/versions/2:predict');
    expect([predicted.status, servedBy(predicted)]).toEqual([200, 'iris-2']);
  });

  test('of neither is refused', async () => {
    const answer = await infer({ 'x-slipway-revision': 'iris-9' });
    expect(answer.status).toBe(404);
    expect(answer.json.error).toBe(
      "there is no revision 'iris-9' here, only iris-1 and iris-2: leave x-slipway-revision out",
    );
    expect((await infer({}, request, '/v2/models/iris/versions/9/infer')).status).toBe(404);
  });

  test('gets what that answers, also an error, and is no measure of the canary', async () => {
    const before = (await tell({ percent: 0 })).passedOn;
    const wrong = await infer({ 'x-slipway-revision': 'iris-2' }, { inputs: [] });
    expect([wrong.status, servedBy(wrong)]).toEqual([400, 'iris-2']);
    await tell({ percent: 0, pods: [{ http: '127.0.0.1:1', grpc: '127.0.0.1:1' }] });
    const away = await infer({ 'x-slipway-revision': 'iris-2' });
    expect(away.status).toBe(503);
    expect(away.json.error).toContain('revision iris-2 does not answer');
    expect(await passedOn()).toEqual(before);
  });
});

/**
 * Sends a request three times, each once the one before was compared; those that are not are waited for in vain.
 *
 * @returns how many were compared, and how many answers were other ones
 */
async function mirrored(outputs: Mirror['outputs'], send: () => Promise<unknown>): Promise<readonly number[]> {
  const told = async () => (await tell({ percent: 0, mirror: { percent: 100, outputs } })).passedOn;
  const before = await told();
  const old = before?.revision === 'iris-2' ? before : nothingPassedOn;
  for (let sent = 1; sent <= 3; sent++) {
    await send();
    for (let waited = 0; ((await told())?.compared ?? 0) < old.compared + sent && waited < 1000; waited += 50)
      await sleep(50);
  }
  const now = await told();
  expect(now?.requests).toBe(old.requests);
  return [(now?.compared ?? 0) - old.compared, (now?.differing ?? 0) - old.differing];
}

describe('requests that are mirrored', () => {
  const compared = (outputs: Mirror['outputs'], body: object = request, headers: Record<string, string> = {}) =>
    mirrored(outputs, async () => {
      const answer = await infer(headers, body);
      expect([answer.status, servedBy(answer)]).toEqual([200, 'iris-1']);
    });
  const alike: Mirror['outputs'] = [
    { name: 'label', compare: 'Exact' },
    { name: 'probabilities', compare: 'Argmax' },
  ];

  test('are answered by the pod, and compared as the table says', async () => {
    expect(await compared(alike)).toEqual([3, 0]);
    expect(await compared([])).toEqual([3, 3]);
    expect(await compared([{ name: 'probabilities', compare: 'Tolerance', absolute: 0.9 }])).toEqual([3, 0]);
  });

  test('in binary as well', async () => {
    const binary = { inputs: iris.inputs, parameters: { binary_data_output: true } };
    expect(await compared(alike, binary)).toEqual([3, 0]);
    expect(await compared([], binary)).toEqual([3, 3]);
  });

  test('are none that ask for a revision, nor more than can be compared', async () => {
    expect(await compared(alike, request, { 'x-slipway-revision': 'iris-1' })).toEqual([0, 0]);
    const large = { inputs: [{ name: 'X', datatype: 'FP32', shape: [20_000, 4], data: Array(80_000).fill(1.25) }] };
    expect(await compared(alike, large)).toEqual([0, 0]);
  });

  test('of a canary that does not answer differ', async () => {
    const revision = 'gone-too';
    await tell({
      revision,
      percent: 0,
      mirror: { percent: 100, outputs: [] },
      pods: [{ http: '127.0.0.1:1', grpc: '' }],
    });
    expect((await infer()).status).toBe(200);
    for (let waited = 0; (await passedOn())?.compared !== 1 && waited < 5000; waited += 50) await sleep(50);
    expect(await passedOn()).toMatchObject({ revision, requests: 0, compared: 1, differing: 1 });
  });
});

describe('a canary that cannot answer', () => {
  let server: Server | undefined;
  let count = 0;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });
  /** A canary that is as bad as it can be. */
  const badCanary = async (listener: RequestListener): Promise<CanaryPod> => {
    server = createServer(listener).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { http: host, grpc: host };
  };
  const ownName = () => `bad-${++count}`;
  const answering =
    (status: number, revision: string, body = '{}'): RequestListener =>
    (incoming, response) => {
      incoming.resume();
      response.writeHead(status, { 'x-slipway-revision': revision, 'content-type': 'application/json' }).end(body);
    };
  const cases: [string, (revision: string) => RequestListener, 'failed' | 'saturated'][] = [
    ['answers 500', (revision) => answering(500, revision), 'failed'],
    ['refuses what the stable version takes', (revision) => answering(400, revision), 'failed'],
    ['is another pod by now', () => answering(200, 'other'), 'failed'],
    ['cuts the connection', () => (incoming) => incoming.socket.destroy(), 'failed'],
    ['speaks no HTTP', () => (incoming) => incoming.socket.end('garbage\r\n\r\n'), 'failed'],
    [
      'breaks off in its answer',
      (revision) => (_, response) => {
        response.writeHead(200, { 'x-slipway-revision': revision, 'content-length': 100 }).write('{');
        setTimeout(() => response.destroy(), 20);
      },
      'failed',
    ],
    ['has no room', (revision) => answering(503, revision), 'saturated'],
  ];

  test.each(cases)('because it %s: the pod answers itself, and it is counted', async (_, listener, verdict) => {
    const revision = ownName();
    await tell({ revision, pods: [await badCanary(listener(revision))] });
    for (let turn = 0; turn < 5; turn++) {
      const answer = await infer();
      expect([answer.status, servedBy(answer)]).toEqual([200, 'iris-1']);
      expect(outputData(answer)['label']).toEqual(iris.outputs['label']);
    }
    expect(await passedOn()).toMatchObject({ revision, requests: 5, failed: 0, saturated: 0, [verdict]: 5 });
  });

  test('because nobody listens, or there is none', async () => {
    const revision = ownName();
    await tell({ revision, pods: [{ http: '127.0.0.1:1', grpc: '127.0.0.1:1' }] });
    expect(servedBy(await infer())).toBe('iris-1');
    expect(await passedOn()).toMatchObject({ revision, requests: 1, failed: 1, saturated: 0 });
    await tell({ revision, pods: [] });
    expect(servedBy(await infer())).toBe('iris-1');
    expect((await passedOn())?.requests).toBe(1);
  });

  test('because it hangs: within the deadline of the request', async () => {
    const revision = ownName();
    await tell({ revision, pods: [await badCanary(() => undefined)] });
    const start = performance.now();
    const answer = await infer({ 'x-request-timeout-ms': '1000' });
    expect([answer.status, servedBy(answer)]).toEqual([200, 'iris-1']);
    expect(performance.now() - start).toBeLessThan(1000);
    expect((await passedOn())?.failed).toBe(1);
  });

  test('what the stable version refuses as well is no fault of the canary', async () => {
    const revision = ownName();
    await tell({ revision, pods: [await badCanary(answering(400, revision))] });
    const answer = await infer({}, { inputs: [] });
    expect([answer.status, servedBy(answer)]).toEqual([400, 'iris-1']);
    expect(await passedOn()).toMatchObject({ revision, requests: 1, failed: 0, saturated: 0 });
  });

  test('a client that goes away counts against nobody, and the canary is told', async () => {
    const revision = ownName();
    let gone = false;
    const arrived = Promise.withResolvers<void>();
    const pod = await badCanary((_, response) => {
      response.on('close', () => {
        gone = true;
      });
      arrived.resolve();
    });
    await tell({ revision, pods: [pod] });
    const client = new AbortController();
    const asked = fetch(`${stable.url}${path}`, {
      method: 'POST',
      body: JSON.stringify(request),
      signal: client.signal,
    }).catch(() => undefined);
    await arrived.promise;
    client.abort();
    await asked;
    for (let waited = 0; !gone && waited < 5000; waited += 20) await sleep(20);
    expect(gone).toBe(true);
    expect((await passedOn())?.requests).toBe(0);
  });
});

describe('a table that is no share', () => {
  test.each([
    ['of another kind', 'all'],
    ['with a percentage that is none', { revision: 'iris-2', version: '2', percent: 101, pods: [] }],
    ['with a part of one', { revision: 'iris-2', version: '2', percent: 0.5, pods: [] }],
    ['with pods that are none', { revision: 'iris-2', version: '2', percent: 100, pods: [{ http: 1 }] }],
    ['without a revision', { version: '2', percent: 100, pods: [] }],
    ['to the pod itself', { revision: 'iris-1', version: '1', percent: 100, pods: [{ http: 'x', grpc: 'x' }] }],
  ])('%s, passes nothing on', async (_, traffic) => {
    await caller.tell(stable, 'uid-1', { traffic });
    const answer = await infer();
    expect([answer.status, servedBy(answer)]).toEqual([200, 'iris-1']);
  });
});

describe('over gRPC', () => {
  let client: Caller;
  beforeAll(() => {
    client = clientOf(stable.grpcAddress, 'open_inference_grpc.proto', 'inference.GRPCInferenceService');
  });
  afterAll(() => client.close());
  const row = { name: 'X', datatype: 'FP32', shape: [1, 4], contents: { fp32_contents: [5.1, 3.5, 1.4, 0.2] } };
  const inferRow = (more: object = {}, metadata = new Metadata()): Promise<Message> =>
    new Promise((resolve, reject) => {
      const asked = { model_name: 'iris', inputs: [row], ...more };
      let revision: unknown;
      const made = client['ModelInfer']?.(asked, metadata, (error: Error | null, response: Message) =>
        error === null ? resolve({ ...response, revision }) : reject(error),
      );
      made.on('metadata', (told: Metadata) => {
        [revision] = told.get('x-slipway-revision');
      });
    });

  test('the same share is passed on', async () => {
    await tell({ percent: 50 });
    const answers = await Promise.all(Array.from({ length: 100 }, () => inferRow()));
    const versions = answers.map(({ model_version }) => model_version);
    expect(versions.filter((version) => version === '2')).toHaveLength(50);
    for (const { model_version, revision } of answers) expect(revision).toBe(`iris-${model_version}`);
  });

  test('a request gets the revision and the version that it asks for', async () => {
    await tell({ percent: 0 });
    const metadata = new Metadata();
    metadata.set('x-slipway-revision', 'iris-2');
    expect((await inferRow({}, metadata)).model_version).toBe('2');
    expect((await inferRow({ model_version: '2' })).model_version).toBe('2');
    expect((await inferRow({ model_version: '1' })).model_version).toBe('1');
    await expect(inferRow({ model_version: '9' })).rejects.toThrow("no version '9'");
    await expect(inferRow({ inputs: [] }, metadata)).rejects.toThrow('INVALID_ARGUMENT');
  });

  test('what the canary cannot answer, the pod answers itself', async () => {
    await tell({ revision: 'gone', pods: [{ http: '127.0.0.1:1', grpc: '127.0.0.1:1' }] });
    const answer = await inferRow();
    expect([answer.model_version, answer.revision]).toEqual(['1', 'iris-1']);
    const other = hostOf(stable.url);
    await tell({ revision: 'http', pods: [{ http: other, grpc: other }] });
    expect((await inferRow()).model_version).toBe('1');
    await tell({ revision: 'self', pods: [{ http: other, grpc: stable.grpcAddress }] });
    expect((await inferRow()).model_version).toBe('1');
    expect(await passedOn()).toMatchObject({ revision: 'self', requests: 1, failed: 1, saturated: 0 });
  });

  test('a request that is wrong is refused by the pod, and is no fault of the canary', async () => {
    await tell({});
    await expect(inferRow({ inputs: [] })).rejects.toThrow('INVALID_ARGUMENT');
    expect(await passedOn()).toMatchObject({ revision: 'iris-2', requests: 1, failed: 0, saturated: 0 });
  });

  describe('requests are mirrored', () => {
    const compared = (outputs: Mirror['outputs'], more: object = {}) =>
      mirrored(outputs, async () => expect((await inferRow(more)).model_version).toBe('1'));

    test('and compared as the table says, in contents and in raw form', async () => {
      const alike: Mirror['outputs'] = [
        { name: 'label', compare: 'Exact' },
        { name: 'probabilities', compare: 'Argmax' },
      ];
      const raw = { inputs: [{ ...row, contents: undefined }], raw_input_contents: [Buffer.alloc(16)] };
      expect(await compared(alike)).toEqual([3, 0]);
      expect(await compared([])).toEqual([3, 3]);
      expect(await compared([], raw)).toEqual([3, 3]);
      expect(await compared([{ name: 'probabilities', compare: 'Tolerance', absolute: 0.9 }], raw)).toEqual([3, 0]);
    });

    test('but none that is refused, asks for a version, is large, or is of a stream', async () => {
      const large = { ...row, shape: [20_000, 4], contents: { fp32_contents: Array(80_000).fill(1) } };
      const isRefused = () => expect(inferRow({ inputs: [] })).rejects.toThrow('INVALID_ARGUMENT');
      const isStreamed = async () => {
        const stream = client['ModelStreamInfer']?.();
        stream.write({ model_name: 'iris', inputs: [row] });
        await once(stream, 'data');
        stream.end();
      };
      const sent = [isRefused, () => inferRow({ model_version: '1' }), () => inferRow({ inputs: [large] }), isStreamed];
      for (const send of [...sent, isRefused, isRefused]) expect(await mirrored([], send)).toEqual([0, 0]);
      // None of them has kept a place.
      expect(await compared([])).toEqual([3, 3]);
    });
  });

  test('a stream stays with the pod', async () => {
    await tell({});
    const stream = client['ModelStreamInfer']?.();
    stream.write({ model_name: 'iris', inputs: [row] });
    const [answer]: Message[] = await once(stream, 'data');
    stream.end();
    expect(answer.infer_response.model_version).toBe('1');
  });
});

test('without a share, a request that asks for this revision is answered, as before', async () => {
  await caller.tell(stable, 'uid-1', {});
  expect((await infer({ 'x-slipway-revision': 'iris-1' })).status).toBe(200);
  const direct = await read(await fetch(`${stable.url}/v2/models/iris`));
  expect(direct.json.versions).toEqual(['1']);
});
