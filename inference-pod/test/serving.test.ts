import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { get, post } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { endWhileOpening, type RunningPod, startPod } from './running-pod.ts';

const iris = exampleModel('iris', '1');

function slowRequest(pod: RunningPod, times: number) {
  const inputs = [{ name: 'times', datatype: 'INT64', shape: [], data: [times] }];
  return post(`${pod.url}/v2/models/slow/infer`, { inputs });
}

/** How often the slow model has to multiply to take about half a second on this machine. */
async function timesForHalfASecond(pod: RunningPod): Promise<number> {
  await slowRequest(pod, 100);
  const start = performance.now();
  await slowRequest(pod, 1000);
  return Math.ceil((1000 * 500) / (performance.now() - start));
}

describe('while a model that takes seconds runs', () => {
  test('health, metrics, refusals and errors are answered at once', async () => {
    const pod = await startPod('--model', testModel('slow'), '--max-in-flight', '2');
    try {
      // Long enough for fifty answers also on a machine that has other things to do.
      const times = 4 * (await timesForHalfASecond(pod));
      const start = performance.now();
      const slow = Promise.all([slowRequest(pod, times), slowRequest(pod, times)]).then(
        () => performance.now() - start,
      );
      await sleep(50);
      const waits: number[] = [];
      for (let round = 0; round < 10; round++) {
        const before = performance.now();
        expect((await get(`${pod.url}/v2/health/live`)).status).toBe(200);
        expect((await get(`${pod.url}/v2/health/ready`)).status).toBe(200);
        expect((await get(`${pod.controlUrl}/metrics`)).text).toContain('slipway_requests_in_flight 2');
        const refused = await slowRequest(pod, times);
        expect(refused).toMatchObject({ status: 503, json: { error: expect.stringContaining('full') } });
        expect(refused.headers.get('retry-after')).toBe('1');
        expect((await get(`${pod.url}/v2/models/other`)).status).toBe(404);
        waits.push(performance.now() - before);
      }
      const took = await slow;
      // The order is the proof, not a time: fifty answers came while two inferences were still being computed.
      expect(waits.reduce((sum, wait) => sum + wait)).toBeLessThan(took);
    } finally {
      await pod.stop();
    }
  });
});

describe('a request whose client has gone', () => {
  test('is not computed', async () => {
    const pod = await startPod('--model', testModel('slow'));
    try {
      const times = await timesForHalfASecond(pod);
      const gone = new AbortController();
      const body = JSON.stringify({ inputs: [{ name: 'times', datatype: 'INT64', shape: [], data: [times] }] });
      const requests = Array.from({ length: 8 }, () =>
        fetch(`${pod.url}/v2/models/slow/infer`, { method: 'POST', body, signal: gone.signal }).catch(() => undefined),
      );
      await sleep(100);
      gone.abort();
      await Promise.all(requests);
      expect((await slowRequest(pod, 1)).status).toBe(200);
      const { text } = await get(`${pod.controlUrl}/metrics`);
      // Two for the measurement, at most two that had begun or were next, and the last one.
      expect(Number(/slipway_inference_duration_seconds_count (\d+)/.exec(text)?.[1])).toBeLessThanOrEqual(5);
      expect(text).toContain('code="499"} 8');
    } finally {
      await pod.stop();
    }
  });
});

describe('batching', () => {
  test('runs requests together that come at once, and answers each its own', async () => {
    // Trees: the rows of a linear model may differ in their last digit, which goes by the number of rows.
    const pod = await startPod(
      '--model',
      exampleModel('iris', '2').path,
      '--model-name',
      'iris',
      '--batch-max-size',
      '64',
      '--batch-max-delay-milliseconds',
      '20',
    );
    try {
      const url = `${pod.url}/v2/models/iris/infer`;
      const row = (index: number) => ({
        name: 'X',
        datatype: 'FP32',
        shape: [1, 4],
        data: [index % 7, 3.5, index % 5, 0.2],
      });
      const alone = new Map<string, string>();
      for (let index = 0; index < 35; index++)
        alone.set(String(index), (await post(url, { id: String(index), inputs: [row(index)] })).text);
      const together = await Promise.all(
        Array.from({ length: 35 }, (_, index) => post(url, { id: String(index), inputs: [row(index)] })),
      );
      expect(together.map(({ text }) => text)).toEqual([...alone.values()]);
      const { parameters } = (await get(`${pod.url}/v2/models/iris/config`)).json;
      expect(parameters.batching.string_value).toMatch(/^on: together, [\d.]+ times as many rows a second$/);
      expect((await get(`${pod.controlUrl}/metrics`)).text).toMatch(/^slipway_batching_gain [\d.]+$/m);
    } finally {
      await pod.stop();
    }
  });

  test('lets nobody suffer from a request that the model refuses', async () => {
    const pod = await startPod(
      '--model',
      testModel('gather'),
      '--batch-max-size',
      '16',
      '--batch-max-delay-milliseconds',
      '50',
    );
    try {
      const ask = (data: number[]) =>
        post(`${pod.url}/v2/models/gather/infer`, {
          inputs: [{ name: 'id', datatype: 'INT64', shape: [data.length], data }],
        });
      const answers = await Promise.all([[0], [3], [99], [1, 2]].map(ask));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 400, 200]);
      expect(answers.map(({ json }) => json.outputs?.[0].data)).toEqual([[0, 1], [6, 7], undefined, [2, 3, 4, 5]]);
    } finally {
      await pod.stop();
    }
  });

  test('is not done for a model whose rows are not free, which is said', async () => {
    const pod = await startPod('--model', testModel('slow'), '--batch-max-size', '8');
    try {
      expect((await slowRequest(pod, 1)).status).toBe(200);
      expect(pod.logs).toContainEqual(
        expect.objectContaining({ level: 40, batching: expect.stringContaining('cannot be given several requests') }),
      );
      const { parameters } = (await get(`${pod.url}/v2/models/slow/config`)).json;
      expect(parameters.batching.string_value).toMatch(/^off: the model cannot be given/);
      expect((await get(`${pod.controlUrl}/metrics`)).text).toMatch(/^slipway_batching 0$/m);
    } finally {
      await pod.stop();
    }
  });
});

describe('on SIGTERM', () => {
  test('requests that never end do not hold the pod up, and idle connections neither', async () => {
    const pod = await startPod('--model', iris.path, '--model-name', 'iris');
    const port = Number(new URL(pod.url).port);
    const halfHead = connect(port, '127.0.0.1');
    halfHead.write('POST /v2/models/iris/infer HTTP/1.1\r\n');
    const halfBody = connect(port, '127.0.0.1');
    halfBody.write('POST /v2/models/iris/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
    for (const socket of [halfHead, halfBody]) socket.on('error', () => undefined);
    expect((await post(`${pod.url}/v2/models/iris/infer`, { inputs: iris.inputs })).status).toBe(200);
    pod.process.kill('SIGTERM');
    expect(await pod.exit).toBe(0);
  });

  test('a pod whose model is being opened ends at once', async () => {
    const { code, seconds } = await endWhileOpening('--model', testModel('slow-start'));
    expect(code).toBe(0);
    // Its model takes longer than that to open, which would have to be waited for on a thread.
    expect(seconds).toBeLessThan(1);
  });

  test('the pod goes on accepting while it is withdrawn, finishes what it accepted, and exits 0', async () => {
    const pod = await startPod('--model', testModel('slow'), '--drain-seconds', '1');
    const times = await timesForHalfASecond(pod);
    const early = slowRequest(pod, times);
    pod.process.kill('SIGTERM');
    await sleep(100);
    expect(await get(`${pod.url}/v2/health/ready`)).toMatchObject({ status: 503, json: { ready: false } });
    expect((await get(`${pod.url}/v2/health/live`)).status).toBe(200);
    const late = slowRequest(pod, 3 * times);
    const answers = await Promise.all([early, late]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(answers.map(({ headers }) => headers.get('connection'))).toEqual([expect.anything(), 'close']);
    expect(await pod.exit).toBe(0);
  });

  test('a pod that has not even loaded its own code ends with 0', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'slipway-test-'));
    try {
      await copyFile(join(import.meta.dirname, '../src/main.ts'), join(directory, 'main.ts'));
      // What main.ts loads is told to end before it has begun.
      const never = 'export const command = await new Promise((resolve) => setTimeout(resolve, 60_000));';
      await writeFile(join(directory, 'command.ts'), `process.kill(process.pid, 'SIGTERM');\n${never}`);
      await writeFile(join(directory, 'package.json'), '{"type": "module"}');
      const early = spawn(process.execPath, [join(directory, 'main.ts')], { stdio: 'ignore' });
      expect(await once(early, 'close')).toEqual([0, null]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('told to end again and again, the pod still finishes what it accepted', async () => {
    const pod = await startPod('--model', testModel('slow'));
    const times = await timesForHalfASecond(pod);
    const answers = Promise.all([slowRequest(pod, 2 * times), slowRequest(pod, 2 * times)]);
    await sleep(100);
    for (let time = 0; time < 4; time++) {
      pod.process.kill(time % 2 === 0 ? 'SIGTERM' : 'SIGINT');
      await sleep(100);
    }
    expect((await answers).map(({ status }) => status)).toEqual([200, 200]);
    expect(await pod.exit).toBe(0);
    const said = (msg: string) => pod.logs.filter((line) => line['msg'] === msg).length;
    expect([said('told to end'), said('draining')]).toEqual([4, 1]);
  });

  test('a pod that is still loading ends at once', async () => {
    const pod = await startPod('--model', iris.path);
    pod.process.kill('SIGTERM');
    expect(await pod.exit).toBe(0);
  });
});

describe('the control port', () => {
  test('tells the model, requests by route and code, latencies and the process', async () => {
    const pod = await startPod(
      '--model',
      iris.path,
      '--model-name',
      'iris',
      '--model-version',
      '7',
      '--revision',
      'iris-abc',
    );
    try {
      const url = `${pod.url}/v2/models/iris`;
      const answer = await post(`${url}/infer`, { inputs: iris.inputs });
      expect(answer.headers.get('x-slipway-revision')).toBe('iris-abc');
      await post(`${url}/versions/7/infer`, { inputs: [] });
      await get(`${pod.url}/made/up/path`);
      const { text } = await get(`${pod.controlUrl}/metrics`);
      expect(text).toContain('slipway_http_requests_total{route="/v2/models/:name/infer",code="200"} 1');
      expect(text).toContain(
        'slipway_http_requests_total{route="/v2/models/:name/versions/:version/infer",code="400"} 1',
      );
      expect(text).toContain('slipway_http_requests_total{route="unknown",code="404"} 1');
      expect(text).toContain('slipway_http_request_duration_seconds_count{route="/v2/models/:name/infer"} 1');
      expect(text).toContain('slipway_inference_duration_seconds_count 1');
      expect(text).toMatch(
        /slipway_model_info\{name="iris",version="7",digest="sha256:[a-f0-9]{64}",revision="iris-abc"\} 1/,
      );
      expect(text).toMatch(/slipway_model_load_seconds \d+\.\d+/);
      expect(text).toContain('process_resident_memory_bytes');
    } finally {
      await pod.stop();
    }
  });
});
