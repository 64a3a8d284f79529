import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from '@jest/globals';
import { get, post } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { type RunningPod, type Surroundings, startPod, startPodIn } from './running-pod.ts';

const iris = exampleModel('iris', '1');

let pod: RunningPod | undefined;
afterEach(async () => {
  await pod?.stop();
  pod = undefined;
});

function start(...args: string[]): Promise<RunningPod> {
  return startIn({}, ...args);
}

async function startIn(surroundings: Surroundings, ...args: string[]): Promise<RunningPod> {
  pod = await startPodIn(surroundings, ...args);
  return pod;
}

/** A client that does what no library does. */
function rawClient({ url }: RunningPod): { readonly socket: Socket; readonly answer: () => string } {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  return { socket, answer: () => answer };
}

async function eventually<T>(read: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== false) return value;
    await sleep(50);
  }
}

const head = (path: string, length: number, more = '') =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n${more}\r\n`;
const irisInfer = '/v2/models/iris/infer';

async function irisAnswers({ url }: RunningPod): Promise<void> {
  expect((await post(url + irisInfer, { inputs: iris.inputs })).status).toBe(200);
}

/** The memory of the pod and of the processes that it has started, in bytes. */
function memoryOf({ process: { pid } }: RunningPod): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return [String(pid), ...children].reduce((sum, id) => {
    const [, resident] = readFileSync(`/proc/${id}/statm`, 'utf8').split(' ');
    return sum + Number(resident) * 4096;
  }, 0);
}

const mebibyte = 2 ** 20;

/** The processes that run the model. */
function executorsOf({ process: { pid } }: RunningPod): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
}

/** The bytes that are held for transfers. */
function heldBy({ text }: { readonly text: string }): number {
  return Number(/slipway_transfer_bytes (\d+)/.exec(text)?.[1]);
}

describe('memory', () => {
  test('a body of nothing but objects, or of strings, takes not much more than its bytes', async () => {
    const types = await start('--model', testModel('types'), '--max-body-bytes', String(20 * mebibyte));
    const url = `${types.url}/v2/models/types/infer`;
    const before = memoryOf(types);
    const objects = await post(url, `{"x":[${new Array(6 * mebibyte).fill('{}').join(',')}],"inputs":[]}`);
    expect(objects.status).toBe(400);
    const strings = await post(
      url,
      `{"inputs":[{"name":"BYTES","datatype":"BYTES","shape":[2,2],"data":[${new Array(6 * mebibyte).fill('""').join(',')}]}]}`,
    );
    expect(strings.status).toBe(400);
    expect((memoryOf(types) - before) / mebibyte).toBeLessThan(150);
  });

  test('a body in chunks of one byte takes not much more than its bytes', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris');
    const before = memoryOf(served);
    const { socket } = rawClient(served);
    socket.write(`POST ${irisInfer} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`);
    const chunks = Buffer.from('1\r\n \r\n'.repeat(100_000));
    for (let times = 0; times < 6; times++) await new Promise((resolve) => socket.write(chunks, resolve));
    await eventually(async () => heldBy(await get(`${served.controlUrl}/metrics`)) >= 600_000);
    expect((memoryOf(served) - before) / mebibyte).toBeLessThan(100);
    socket.destroy();
  });

  test('a number of a million digits is refused before it is made', async () => {
    const served = await start('--model', testModel('gather'));
    const body = gzipSync(
      `{"inputs":[{"name":"id","datatype":"INT64","shape":[1],"data":[${'9'.repeat(20_000_000)}]}]}`,
    );
    const response = await fetch(`${served.url}/v2/models/gather/infer`, {
      method: 'POST',
      body,
      headers: { 'content-encoding': 'gzip', 'x-request-timeout-ms': '10000' },
    });
    expect(response.status).toBe(400);
  });

  test('an answer of hundreds of megabytes is refused, not made', async () => {
    const echo = await start('--model', testModel('wide'), '--max-answer-bytes', String(mebibyte));
    const answer = await post(`${echo.url}/v2/models/wide/infer`, {
      inputs: [{ name: 'count', datatype: 'INT64', shape: [1], data: [10_000_000] }],
    });
    expect(answer).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('the answer is larger than') },
    });
  });

  test('clients that do not read their answers hold no more than the budget', async () => {
    // 32 MiB of bodies and answers may be held; each answer has 8 MB, and the system takes some of it.
    const limits = ['--max-body-bytes', '--max-answer-bytes'].flatMap((option) => [option, String(8 * mebibyte)]);
    const wide = await start('--model', testModel('wide'), ...limits);
    const before = memoryOf(wide);
    const body = JSON.stringify({ inputs: [{ name: 'count', datatype: 'INT64', shape: [1], data: [4_000_000] }] });
    const clients = Array.from({ length: 20 }, () => {
      const client = rawClient(wide);
      client.socket.pause();
      client.socket.write(head('/v2/models/wide/infer', body.length) + body);
      return client;
    });
    await eventually(async () =>
      /slipway_inference_duration_seconds_count 20/.test((await get(`${wide.controlUrl}/metrics`)).text),
    );
    await sleep(500);
    const held = heldBy(await get(`${wide.controlUrl}/metrics`));
    expect(held).toBeGreaterThan(mebibyte);
    expect(held).toBeLessThanOrEqual(32 * mebibyte);
    // All that was computed is 20 times 24 MB; the executor's own run and what is not collected yet count as well.
    expect((memoryOf(wide) - before) / mebibyte).toBeLessThan(280);
    for (const { socket } of clients) socket.destroy();
  }, 60_000);
});

describe('slow clients', () => {
  test('answers that wait for those before them on their connection are counted as well', async () => {
    const limits = ['--max-body-bytes', String(mebibyte), '--max-answer-bytes', String(16 * mebibyte)];
    const wide = await start('--model', testModel('wide'), ...limits);
    const body = JSON.stringify({
      inputs: [{ name: 'count', datatype: 'INT64', shape: [1], data: [4_000_000] }],
      parameters: { binary_data_output: true },
    });
    const { socket } = rawClient(wide);
    socket.pause();
    socket.write((head('/v2/models/wide/infer', body.length) + body).repeat(30));
    let most = 0;
    for (let time = 0; time < 40; time++) {
      await sleep(100);
      most = Math.max(most, memoryOf(wide));
    }
    socket.destroy();
    expect(most / mebibyte).toBeLessThan(500);
    expect((await get(`${wide.url}/v2/health/ready`)).status).toBe(200);
  }, 30_000);

  test('that send one byte each take no place from anyone', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris', '--max-in-flight', '4');
    const clients = Array.from({ length: 300 }, () => rawClient(served));
    for (const { socket } of clients) socket.write(`${head(irisInfer, 1000)}{`);
    await eventually(async () => /slipway_transfer_bytes 300$/m.test((await get(`${served.controlUrl}/metrics`)).text));
    await irisAnswers(served);
    for (const { socket } of clients) socket.destroy();
  });

  test('that hold all the room for bodies give it up for one that is quicker', async () => {
    const served = await start(
      '--model',
      iris.path,
      '--model-name',
      'iris',
      '--max-body-bytes',
      '100000',
      '--max-answer-bytes',
      '100000',
    );
    const slow = Array.from({ length: 4 }, () => rawClient(served));
    for (const { socket } of slow) socket.write(head(irisInfer, 100_000) + '{'.padEnd(99_999, ' '));
    await eventually(async () =>
      /slipway_transfer_bytes 399996$/m.test((await get(`${served.controlUrl}/metrics`)).text),
    );
    await sleep(1100);
    const large = JSON.stringify({ inputs: iris.inputs }).padEnd(90_000, ' ');
    expect((await post(served.url + irisInfer, large)).status).toBe(200);
    // A small one needs no room.
    await irisAnswers(served);
    const ended = await eventually(() => slow.map(({ answer }) => answer()).find((answer) => answer !== ''));
    expect(ended).toContain('503 Service Unavailable');
    expect(ended).toContain('this body comes slowest');
    for (const { socket } of slow) socket.destroy();
  });

  test('that send below the minimum rate get a 408', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris');
    const { socket, answer } = rawClient(served);
    socket.write(`${head(irisInfer, 1000)}{`);
    expect(await eventually(() => answer() !== '' && answer())).toContain('408 Request Timeout');
    expect(answer()).toContain('the body comes too slowly');
    socket.destroy();
    await eventually(async () =>
      /route="\/v2\/models\/:name\/infer",code="408"\} 1/.test((await get(`${served.controlUrl}/metrics`)).text),
    );
  }, 60_000);
});

describe('what is no request', () => {
  test('is answered, counted, and ends with its connection', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris');
    const garbage = rawClient(served);
    garbage.socket.write('\x16\x03\x01 this is TLS\r\n\r\n');
    expect(await eventually(() => garbage.answer() !== '' && garbage.answer())).toContain('HTTP/1.1 400');
    const large = rawClient(served);
    large.socket.write(`GET / HTTP/1.1\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`);
    expect(await eventually(() => large.answer() !== '' && large.answer())).toContain('HTTP/1.1 431');
    const { text } = await get(`${served.controlUrl}/metrics`);
    expect(text).toContain('slipway_http_requests_total{route="malformed",code="400"} 1');
    expect(text).toContain('slipway_http_requests_total{route="malformed",code="431"} 1');
    await irisAnswers(served);
  });

  test('a client that asks before it sends is refused without having sent', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris', '--max-body-bytes', '1000');
    const ask = async (path: string, length: number, more = '') => {
      const { socket, answer } = rawClient(served);
      socket.write(head(path, length, `expect: 100-continue\r\n${more}`));
      const first = await eventually(() => answer() !== '' && answer());
      socket.destroy();
      return first;
    };
    expect(await ask(irisInfer, 100_000)).toMatch(/^HTTP\/1.1 413/);
    expect(await ask(irisInfer, 10, 'content-encoding: br\r\n')).toMatch(/^HTTP\/1.1 415/);
    expect(await ask('/v2/models/other/infer', 10)).toMatch(/^HTTP\/1.1 404/);
    expect(await ask(irisInfer, 10)).toMatch(/^HTTP\/1.1 100 Continue/);
  });

  test('a client of HTTP/1.0 is given no answer that it does not know', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris');
    const { socket, answer } = rawClient(served);
    const body = JSON.stringify({ inputs: iris.inputs });
    const more = `content-length: ${body.length}\r\nexpect: 100-continue\r\n\r\n`;
    socket.write(`POST ${irisInfer} HTTP/1.0\r\n${more}${body}`);
    expect(await eventually(() => answer() !== '' && answer())).toMatch(/^HTTP\/1.1 200/);
    socket.destroy();
  });

  test('a path that there is not on the control port is answered as everything else there is', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris');
    const { socket, answer } = rawClient({ ...served, url: served.controlUrl });
    socket.write('GET /link/% HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await eventually(() => answer().includes('}') && answer())).toMatch(/^HTTP\/1.1 404.*application\/json/s);
    socket.destroy();
  });

  test('a target with a query, or in another spelling, is the same', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris');
    expect((await post(`${served.url}${irisInfer}?a=b`, { inputs: iris.inputs })).status).toBe(200);
    expect((await post(`${served.url}/v2/models/%69ris/infer`, { inputs: iris.inputs })).status).toBe(200);
    const { text } = await get(`${served.controlUrl}/metrics`);
    expect(text).toContain('slipway_http_requests_total{route="/v2/models/:name/infer",code="200"} 2');
  });
});

describe('what a request asks of the model', () => {
  test('is the fault of the request where the model cannot do it', async () => {
    const served = await start('--model', testModel('gather'));
    const url = `${served.url}/v2/models/gather/infer`;
    const ask = (data: number[]) =>
      post(url, { inputs: [{ name: 'id', datatype: 'INT64', shape: [data.length], data }] });
    expect((await ask([0, 3])).status).toBe(200);
    const answer = await ask([10]);
    expect(answer).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('the model refuses the request') },
    });
    expect(served.output()).not.toContain('\x1b[');
    expect(served.logs.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });
});

describe('deadlines', () => {
  const slow = (served: RunningPod, times: number, timeout?: number) =>
    post(
      `${served.url}/v2/models/slow/infer`,
      { inputs: [{ name: 'times', datatype: 'INT64', shape: [], data: [times] }] },
      timeout === undefined ? {} : { 'x-request-timeout-ms': String(timeout) },
    );
  const long = 1_000_000_000;

  test('a request that takes too long gets a 504, those behind it too, and the run is killed', async () => {
    const served = await start('--model', testModel('slow'), '--request-timeout-milliseconds', '1000');
    const answers = await Promise.all([slow(served, long), slow(served, 1), slow(served, 1, 300)]);
    expect(answers.map(({ status }) => status)).toEqual([504, 504, 504]);
    expect(answers[2]?.json.error).toBe('the answer took longer than the 300 ms that it may take');
    expect((await get(`${served.url}/v2/health/live`)).status).toBe(200);
    // Killed after two seconds, and started anew.
    await eventually(async () => (await slow(served, 1)).status === 200);
    expect((await get(`${served.controlUrl}/metrics`)).text).toContain('slipway_executor_restarts_total 1');
    expect(served.logs).toContainEqual(
      expect.objectContaining({ msg: 'a run of the model does not end: it is killed' }),
    );
  });

  test('a body that is still coming when the time is up gets a 504, and what was held of it is given back', async () => {
    const served = await start('--model', iris.path, '--model-name', 'iris');
    const whole = rawClient(served);
    whole.socket.write(`${head(irisInfer, 1000, 'x-request-timeout-ms: 500\r\n')}{`);
    const zipped = rawClient(served);
    const body = gzipSync(JSON.stringify({ inputs: iris.inputs }));
    const encoding = 'content-encoding: gzip\r\nx-request-timeout-ms: 500\r\n';
    zipped.socket.write(head(irisInfer, body.length, encoding));
    zipped.socket.write(body.subarray(0, 50));
    for (const { socket, answer } of [whole, zipped]) {
      expect(await eventually(() => answer() !== '' && answer())).toContain('504 Gateway Timeout');
      expect(answer()).toContain('the answer took longer than the 500 ms that it may take');
      socket.destroy();
    }
    const { text } = await get(`${served.controlUrl}/metrics`);
    expect(heldBy({ text })).toBe(0);
    expect(text).toContain('route="/v2/models/:name/infer",code="504"} 2');
    await irisAnswers(served);
  });

  test('a request that would wait longer than it may is refused at once', async () => {
    const served = await start('--model', testModel('slow'));
    const begin = performance.now();
    await slow(served, 2000);
    await slow(served, 2000);
    const took = (performance.now() - begin) / 2;
    const running = Array.from({ length: 6 }, () => slow(served, 2000));
    await sleep(took);
    expect(await slow(served, 1, Math.ceil(took))).toMatchObject({
      status: 503,
      json: { error: expect.stringContaining('the answer would come later than the') },
    });
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual(new Array(6).fill(200));
  });
});

describe('several executors', () => {
  test('a call is not sent behind a run that hangs while another executor has nothing to do', async () => {
    const served = await start('--model', testModel('slow'), '--instances', '2');
    const ask = (times: number) =>
      post(`${served.url}/v2/models/slow/infer`, {
        inputs: [{ name: 'times', datatype: 'INT64', shape: [], data: [times] }],
      });
    const hung = ask(1_000_000_000);
    await eventually(async () =>
      (await get(`${served.controlUrl}/metrics`)).text.includes('slipway_requests_in_flight 1'),
    );
    for (let time = 0; time < 5; time++) expect((await ask(1)).status).toBe(200);
    void hung.catch(() => undefined);
    // A run without end would hold up the end of the pod.
    for (const executor of executorsOf(served)) process.kill(executor, 'SIGKILL');
  });
});

describe('an executor', () => {
  const executorOf = (served: RunningPod) => executorsOf(served)[0] ?? 0;

  test('that crashes costs the requests in flight, and is started anew', async () => {
    const served = await start('--model', testModel('slow'));
    const inFlight = post(`${served.url}/v2/models/slow/infer`, {
      inputs: [{ name: 'times', datatype: 'INT64', shape: [], data: [1_000_000_000] }],
    });
    await eventually(async () =>
      (await get(`${served.controlUrl}/metrics`)).text.includes('slipway_requests_in_flight 1'),
    );
    process.kill(executorOf(served), 'SIGSEGV');
    expect(await inFlight).toMatchObject({
      status: 500,
      json: { error: 'the model failed: the process that ran the model ended (SIGSEGV)' },
    });
    const answer = await post(`${served.url}/v2/models/slow/infer`, {
      inputs: [{ name: 'times', datatype: 'INT64', shape: [], data: [1] }],
    });
    expect(answer.status).toBe(200);
    expect((await get(`${served.url}/v2/health/ready`)).status).toBe(200);
  });

  describe('with a batch', () => {
    const rows = async (served: RunningPod, times: readonly number[], timeout?: number) =>
      post(
        `${served.url}/v2/models/slow-rows/infer`,
        { inputs: [{ name: 'times', datatype: 'INT64', shape: [times.length], data: times }] },
        timeout === undefined ? {} : { 'x-request-timeout-ms': String(timeout) },
      );
    const batching = ['--batch-max-size', '8', '--batch-max-delay-milliseconds', '300'];
    const inFlight = (served: RunningPod, count: number) =>
      eventually(async () =>
        (await get(`${served.controlUrl}/metrics`)).text.includes(`slipway_requests_in_flight ${count}`),
      );

    test('that is killed in the middle of it costs those that are in it, and nobody else', async () => {
      const served = await start('--model', testModel('slow-rows'), ...batching);
      const lost = [rows(served, [1_000_000_000]), rows(served, [1, 1]), rows(served, [1])];
      await inFlight(served, 3);
      // The batch is under way once the delay is over.
      await sleep(600);
      const next = rows(served, [2]);
      await inFlight(served, 4);
      process.kill(executorOf(served), 'SIGKILL');
      for (const answer of await Promise.all(lost)) {
        expect(answer).toMatchObject({
          status: 500,
          json: { error: 'the model failed: the process that ran the model ended (SIGKILL)' },
        });
      }
      expect(await next).toMatchObject({ status: 200, json: { outputs: [{ data: [2] }] } });
    });

    test('that hangs in it is killed, and those in it are told that it took too long', async () => {
      const limit = ['--request-timeout-milliseconds', '1000'];
      const served = await start('--model', testModel('slow-rows'), ...batching, ...limit);
      const hung = [rows(served, [1_000_000_000]), rows(served, [1])];
      expect((await Promise.all(hung)).map(({ status }) => status)).toEqual([504, 504]);
      await eventually(async () =>
        (await get(`${served.controlUrl}/metrics`)).text.includes('slipway_executor_restarts_total 1'),
      );
      await eventually(async () => (await rows(served, [3])).status === 200);
    }, 60_000);
  });

  test('that crashes again and again ends the pod, with a reason', async () => {
    const served = await startPod('--model', iris.path);
    for (let crash = 0; crash < 5; crash++) {
      const executor = await eventually(() => executorOf(served) > 0 && executorOf(served));
      process.kill(executor, 'SIGKILL');
      await eventually(() => served.process.exitCode !== null || executorOf(served) !== executor);
    }
    expect(await served.exit).toBe(1);
    expect(served.logs).toContainEqual(
      expect.objectContaining({
        reason: 'ModelInvalid',
        message: expect.stringContaining('ends again and again'),
      }),
    );
  }, 60_000);

  test('that cannot be started anew, for too many files are open, is once there are fewer', async () => {
    const openFiles = 80;
    const served = await startIn({ openFiles }, '--model', iris.path, '--model-name', 'iris');
    const executor = executorOf(served);
    const clients = Array.from({ length: 2 * openFiles }, () => rawClient(served));
    await eventually(() => readdirSync(`/proc/${served.process.pid}/fd`).length >= openFiles);
    process.kill(executor, 'SIGKILL');
    await eventually(() => served.logs.some(({ how }) => String(how).includes('EMFILE')));
    for (const { socket } of clients) socket.destroy();
    await eventually(async () => {
      const answer = await post(served.url + irisInfer, { inputs: iris.inputs }).catch(() => undefined);
      return answer?.status === 200;
    });
    expect((await get(`${served.controlUrl}/metrics`)).text).toContain('slipway_executor_restarts_total 1');
  });

  test('does not learn what is secret in the environment of the pod', async () => {
    const environment = {
      STORE_PASSWORD: 'secret-of-the-store',
      PASSWORD_PATH: 'secret-path',
      HOME_PASSWORD: 'secret-of-the-home',
      OMP_WAIT_POLICY: 'PASSIVE',
    };
    const served = await startIn({ environment }, '--model', iris.path);
    const told = (id: number | undefined) => readFileSync(`/proc/${id}/environ`, 'utf8').split('\0');
    expect(told(served.process.pid)).toContain('STORE_PASSWORD=secret-of-the-store');
    const passedOn = told(executorOf(served));
    expect(passedOn.filter((variable) => variable.includes('secret'))).toEqual([]);
    expect(passedOn).toContain('OMP_WAIT_POLICY=PASSIVE');
    expect(passedOn).toContain(`PATH=${process.env['PATH']}`);
  });

  test('ends with the pod, even if that is killed', async () => {
    const served = await startPod('--model', iris.path);
    const executor = executorOf(served);
    served.process.kill('SIGKILL');
    await served.exit;
    await eventually(() => {
      try {
        process.kill(executor, 0);
        return false;
      } catch {
        return true;
      }
    });
  });
});

describe('on SIGTERM', () => {
  test('an answer that is being read is sent whole', async () => {
    const limits = ['--max-body-bytes', '--max-answer-bytes'].flatMap((option) => [option, String(64 * mebibyte)]);
    const served = await startPod('--model', testModel('wide'), ...limits);
    const body = JSON.stringify({ inputs: [{ name: 'count', datatype: 'INT64', shape: [1], data: [15_000_000] }] });
    const socket = connect(Number(new URL(served.url).port), '127.0.0.1');
    let received = 0;
    socket.on('data', (chunk) => {
      received += chunk.length;
      socket.pause();
      setTimeout(() => socket.resume(), 2);
    });
    const ended = once(socket, 'close');
    socket.write(head('/v2/models/wide/infer', body.length) + body);
    await eventually(() => received > 0);
    served.process.kill('SIGTERM');
    await ended;
    expect(received).toBeGreaterThan(30_000_000);
    expect(await served.exit).toBe(0);
  }, 60_000);

  test('a body that was half there is answered, or cut, and the pod ends with 0', async () => {
    const served = await startPod('--model', iris.path, '--model-name', 'iris');
    const body = JSON.stringify({ inputs: iris.inputs });
    const early = rawClient(served);
    const late = rawClient(served);
    early.socket.write(head(irisInfer, body.length) + body.slice(0, 10));
    late.socket.write(head(irisInfer, body.length) + body.slice(0, 10));
    await sleep(100);
    served.process.kill('SIGTERM');
    await sleep(1000);
    early.socket.write(body.slice(10));
    expect(await eventually(() => early.answer() !== '' && early.answer())).toContain('200 OK');
    const ended = once(late.socket, 'close');
    await sleep(3900);
    late.socket.write(body.slice(10));
    await ended;
    expect(await served.exit).toBe(0);
  }, 30_000);
});
