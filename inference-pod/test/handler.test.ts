import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { get, post } from './http.ts';
import { exampleModel } from './models.ts';
import { failToStart, type RunningPod, startPod } from './running-pod.ts';

/** Handlers that people write, in a pod with the model iris. */
let folder: string;
let pod: RunningPod | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-handler-'));
});
afterEach(async () => {
  await pod?.stop();
  pod = undefined;
});
afterAll(() => rm(folder, { recursive: true }));

let folders = 0;
async function argumentsOf(handler: string, files: Readonly<Record<string, string>> = {}): Promise<string[]> {
  folders += 1;
  const path = join(folder, String(folders));
  await mkdir(path);
  await copyFile(exampleModel('iris', '1').path, join(path, 'model.onnx'));
  for (const [name, text] of Object.entries({ ...files, 'handler.mjs': handler }))
    await writeFile(join(path, name), text);
  return ['--model', join(path, 'model.onnx'), '--model-name', 'iris', '--handler', 'Enabled'];
}

async function serve(handler: string, ...args: string[]): Promise<string> {
  pod = await startPod(...(await argumentsOf(handler)), ...args);
  return `${pod.url}/predict`;
}

const flower = { sepal: [5.1, 3.5], petal: [1.4, 0.2] };
/** What a flower's measures are called by people who do not think of tensors. */
const measured = `
  export function preprocess(request) {
    const { sepal, petal } = request.json();
    if (sepal?.length !== 2) throw Object.assign(new Error("'sepal' must be two numbers"), { status: 422 });
    return { inputs: { X: [[...sepal, ...petal]] }, context: { sepal } };
  }`;
const kinds = `['setosa', 'versicolor', 'virginica']`;
const named = `${measured}
  export const postprocess = ({ label, probabilities }, { sepal }) => ({
    kind: ${kinds}[Number(label.data[0])], sure: Math.max(...probabilities.data), sepal,
  });`;

async function logged(text: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (pod?.output().includes(text)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the pod has not logged ${text}: ${pod?.output()}`);
}

describe('a handler', () => {
  test('makes tensors of what is sent, and an answer of what the model gives', async () => {
    const url = await serve(named);
    const { status, json } = await post(url, flower);
    expect([status, json]).toEqual([200, { kind: 'setosa', sure: expect.any(Number), sepal: [5.1, 3.5] }]);
    expect(json.sure).toBeGreaterThan(0.9);
    // Tensors are taken as before, and what the model gives for them is the same.
    const inputs = [{ name: 'X', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }];
    const direct = await post(`${pod?.url}/v2/models/iris/infer`, { inputs });
    expect(Math.max(...direct.json.outputs[1].data)).toBeCloseTo(json.sure, 7);
    expect((await get(`${pod?.controlUrl}/metrics`)).text).toContain('route="/predict"');
    expect((await get(`${pod?.url}/openapi.json`)).json.paths['/predict']).toBeDefined();
  });

  test('refuses what it does not like with its own words, and what is no JSON with those of the pod', async () => {
    const url = await serve(named);
    expect(await post(url, { sepal: [1] })).toMatchObject({
      status: 422,
      json: { error: "'sepal' must be two numbers" },
    });
    const broken = await fetch(url, { method: 'POST', body: '{' });
    expect([broken.status, await broken.text()]).toEqual([400, expect.stringContaining('the body is not JSON')]);
    expect((await fetch(url)).status).toBe(405);
  });

  test('needs no postprocess: what the model gives is answered as JSON', async () => {
    const url = await serve(measured);
    expect((await post(url, flower)).json).toEqual({
      label: [0],
      probabilities: [[expect.any(Number), expect.any(Number), expect.any(Number)]],
    });
  });

  test('takes and gives bytes, text, other types, other statuses, and is told of query and type', async () => {
    const url = await serve(`
      export const preprocess = ({ body, contentType, query, text }) => ({
        inputs: { X: { shape: [1, 4], data: new Float32Array(4).fill(body.length) } },
        outputs: ['label'],
        context: { kind: query.get('kind'), contentType, text: contentType === 'text/csv' ? text() : undefined },
      });
      export function postprocess(outputs, { kind, contentType, text }) {
        switch (kind) {
          case 'bytes': return { body: Uint8Array.of(1, 2, 3), contentType: 'image/png' };
          case 'text': return text;
          case 'created': return { status: 201, body: { outputs: Object.keys(outputs), contentType } };
          default: return null;
        }
      }`);
    const ask = (query: string, type: string) =>
      fetch(`${url}${query}`, { method: 'POST', body: 'a,b', headers: { 'content-type': type } });
    const bytes = await ask('?kind=bytes', 'Text/CSV; charset=utf-8');
    expect([bytes.headers.get('content-type'), new Uint8Array(await bytes.arrayBuffer())]).toEqual([
      'image/png',
      Uint8Array.of(1, 2, 3),
    ]);
    const text = await ask('?kind=text', 'text/csv');
    expect([text.headers.get('content-type'), await text.text()]).toEqual(['text/plain; charset=utf-8', 'a,b']);
    const created = await ask('?kind=created', 'application/x-own');
    expect([created.status, await created.json()]).toEqual([
      201,
      { outputs: ['label'], contentType: 'application/x-own' },
    ]);
    expect(await (await ask('', 'text/csv')).json()).toBe(null);
  });

  test('reads the files that are named, which are fetched and digested with the model', async () => {
    const handler = `${measured}
      import kinds from './kinds.json' with { type: 'json' };
      export const postprocess = ({ label }) => kinds[Number(label.data[0])];`;
    const args = await argumentsOf(handler, { 'kinds.json': '["a", "b", "c"]' });
    const missing = await failToStart(...args);
    expect(missing.terminationMessage).toMatchObject({
      reason: 'ModelInvalid',
      message: expect.stringContaining('handler.mjs cannot be used'),
    });
    pod = await startPod(...args, '--handler-files', 'kinds.json');
    expect(await (await fetch(`${pod.url}/predict`, { method: 'POST', body: JSON.stringify(flower) })).text()).toBe(
      'a',
    );
    const { digest } = (await get(`${pod.controlUrl}/model`)).json;
    const other = await startPod(
      ...(await argumentsOf(handler, { 'kinds.json': '["d", "e", "f"]' })),
      '--handler-files',
      'kinds.json',
    );
    expect((await get(`${other.controlUrl}/model`)).json.digest).not.toBe(digest);
    await other.stop();
  });

  test("may keep outputs: they are nobody else's later", async () => {
    const url = await serve(`
      let kept;
      export const preprocess = ({ query }) => {
        const value = Number(query.get('value'));
        return { inputs: { X: { shape: [9000, 4], data: new Float32Array(36_000).fill(value) } }, context: query.get('what') };
      };
      export function postprocess(outputs, what) {
        if (what === 'keep') kept = outputs;
        return Array.from((what === 'read' ? kept : outputs).probabilities.data.subarray(0, 3));
      }`);
    const ask = (what: string, value: number) => post(`${url}?what=${what}&value=${value}`, {});
    const first = (await ask('keep', 5)).json;
    await ask('other', -3);
    await ask('other', 1);
    expect((await ask('read', 1)).json).toEqual(first);
  });

  test('answers many at once, each its own', async () => {
    const url = await serve(`${measured}
      export const postprocess = (_, { sepal }) => sepal;`);
    const asked = Array.from({ length: 100 }, (_, index) => [index, 1]);
    const answers = await Promise.all(asked.map((sepal) => post(url, { ...flower, sepal })));
    expect(answers.map(({ json }) => json)).toEqual(asked);
  });

  test('of the documentation works as it says', async () => {
    const text = await readFile(join(import.meta.dirname, '../../docs/handlers.md'), 'utf8');
    const [, handler = ''] = /```js\n([\s\S]*?)```/.exec(text) ?? [];
    const [, body = ''] = /curl -d '(.*)' http:\/\/flowers\/predict/.exec(text) ?? [];
    const url = await serve(handler);
    const answer = await fetch(url, { method: 'POST', body });
    expect(await answer.json()).toEqual({ kind: 'setosa', sure: expect.any(Number), measures: 4 });
    expect((await post(url, { sepal: [1] })).status).toBe(422);
  });

  test('answers what it has begun when the pod is told to end', async () => {
    const slowly = 'await new Promise((resolve) => setTimeout(resolve, 400))';
    const url = await serve(`
      export async function preprocess() { ${slowly}; return { inputs: { X: [[1, 2, 3, 4]] } }; }
      export async function postprocess() { ${slowly}; return 'done'; }`);
    const answers = [1, 2].map(() => fetch(url, { method: 'POST', body: '{}' }).then((answer) => answer.text()));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await pod?.stop();
    expect(await Promise.all(answers)).toEqual(['done', 'done']);
  });

  test('is not there unless it is asked for', async () => {
    const args = await argumentsOf(named);
    pod = await startPod(...args.slice(0, -2));
    expect((await post(`${pod.url}/predict`, flower)).status).toBe(404);
  });
});

describe('a handler of several models', () => {
  async function serveTwo(handler: string, ...args: string[]): Promise<string> {
    const all = await argumentsOf(handler);
    const own = dirname(all[1] ?? '');
    await copyFile(exampleModel('penguins', '1').path, join(own, 'penguins.onnx'));
    await copyFile(exampleModel('iris', '2').path, join(own, 'second.onnx'));
    pod = await startPod(...all, '--handler-models', 'penguins.onnx,second.onnx', ...args);
    return `${pod.url}/predict`;
  }

  test('runs them as it needs them, and answers without any', async () => {
    const url = await serveTwo(`
      export async function predict(request, run) {
        const { rows, first } = request.json();
        if (rows === undefined) return { status: 202, body: 'nothing to do' };
        const given = [];
        for (const row of rows) {
          const { label } = await run({ X: [row] }, first ? undefined : { model: 'second.onnx', outputs: ['label'] });
          given.push(Number(label.data[0]));
        }
        return given;
      }`);
    const rows = [
      [5.1, 3.5, 1.4, 0.2],
      [6.7, 3.1, 5.6, 2.4],
      [5.9, 3, 4.2, 1.5],
    ];
    for (const first of [true, false])
      expect(await post(url, { rows, first })).toMatchObject({ status: 200, json: [0, 2, 1] });
    const none = await post(url, {});
    expect([none.status, none.text]).toEqual([202, 'nothing to do']);
    // What came of many requests at once is not mixed up.
    const orders = Array.from({ length: 40 }, (_, at) => [rows[at % 3], rows[(at + 1) % 3]]);
    const answers = await Promise.all(orders.map((some) => post(url, { rows: some, first: false })));
    expect(answers.map(({ json }) => json)).toEqual(
      orders.map((_, at) => [[0, 2, 1][at % 3], [0, 2, 1][(at + 1) % 3]]),
    );
  });

  test('is given what it has asked for at once in the order of its asking', async () => {
    const url = await serveTwo(`
      export const predict = async (_, run) => {
        const all = await Promise.all([0, 1, 2].map((at) => run({ X: [[5 + at, 3, 1.4 + 2 * at, 0.2 + at]] },
          at === 1 ? { model: 'second.onnx' } : {})));
        return all.map(({ probabilities }) => probabilities.shape);
      };`);
    expect((await post(url, {})).json).toEqual([
      [1, 3],
      [1, 3],
      [1, 3],
    ]);
  });

  test.each([
    ['asks for a model that is not there', "await run({}, { model: 'third.onnx' })", "no model 'third.onnx'"],
    ['asks with nothing', 'await run()', 'must be an object'],
    ['gives another input', "await run({ y: [1] }, { model: 'second.onnx' })", "no input 'y': it has 'X'"],
    [
      'gives a shape that a model refuses',
      "await run({ X: [1] }, { model: 'second.onnx' })",
      'refuses what its handler',
    ],
    ['throws when a model has run', "await run({ X: [[1, 2, 3, 4]] }); throw new Error('in the end')", 'in the end'],
  ])('%s: the client is told that it failed, and the log why', async (_, work, reason) => {
    const url = await serveTwo(`export const predict = async (request, run) => { ${work}; return 'done'; };`);
    expect((await post(url, {})).status).toBe(500);
    await logged(reason);
    // What was begun for it is forgotten: the next is answered.
    expect((await post(url, {})).status).toBe(500);
  });

  test('waits for no run of another request: that costs the request, and nobody else', async () => {
    const url = await serveTwo(`
      let shared;
      export async function predict(request, run) {
        shared ??= run({ X: [[5, 3, 1, 0]] }, { model: 'second.onnx' });
        return Number((await shared).label.data[0]);
      }`);
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(url, {})));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 500]));
    expect((await post(url, {})).json).toBe(0);
    expect((await get(`${pod?.controlUrl}/metrics`)).text).toContain('slipway_handler_restarts_total 0');
    await logged('it waits for what never comes');
  });

  test('is told that a run ends with its request, and nothing of one that it does not wait for', async () => {
    const url = await serveTwo(`
      let ended = 0;
      let waits;
      export async function predict(request, run) {
        switch (request.query.get('kind')) {
          case 'refused':
            waits = run({ X: [1] }).catch(() => (ended += 1));
            await waits;
            return 'never';
          case 'careless':
            run({ y: [1] });
            run({ X: [1] });
            throw Object.assign(new Error('not this one'), { status: 422 });
          default:
            await waits;
            return ended;
        }
      }`);
    expect((await post(`${url}?kind=refused`, {})).status).toBe(500);
    expect((await post(url, {})).json).toBe(1);
    expect((await post(`${url}?kind=careless`, {})).status).toBe(422);
    expect((await get(`${pod?.controlUrl}/metrics`)).text).toContain('slipway_handler_restarts_total 0');
  });

  test('that goes on and on keeps nobody from being answered', async () => {
    const url = await serveTwo(`
      export async function predict(request, run) {
        if (request.query.get('kind') !== 'long') return 'short';
        for (let at = 0; at < 60; at++) {
          for (const end = performance.now() + 20; performance.now() < end;);
          await run({ X: [[5, 3, 1, 0]] }, { model: at % 2 ? 'second.onnx' : undefined });
        }
        return 'long';
      }`);
    const order: string[] = [];
    const ask = async (kind: string) => order.push((await post(`${url}?kind=${kind}`, {})).text);
    const long = Array.from({ length: 4 }, () => ask('long'));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await Promise.all([...long, ask('short'), ask('short')]);
    expect(order.slice(0, 2)).toEqual(['short', 'short']);
  });

  test('goes on where it may when a run was wrong, refuses with its own words, and ends with its time', async () => {
    const url = await serveTwo(
      `
      export async function predict(request, run) {
        const kind = request.query.get('kind');
        if (kind === 'caught') return run({ X: 'words' }).catch((error) => error.name);
        const { label } = await run({ X: [[5, 3, 1, 0]] });
        if (kind === 'refused') throw Object.assign(new Error('not this one'), { status: 409 });
        if (kind === 'slow') for (;;);
        for (;;) await run({ X: [[5, 3, 1, 0]] }, { model: 'second.onnx' });
      }`,
      '--handler-timeout-milliseconds',
      '500',
    );
    expect((await post(`${url}?kind=caught`, {})).text).toBe('UnfitTensor');
    expect(await post(`${url}?kind=refused`, {})).toMatchObject({ status: 409, json: { error: 'not this one' } });
    const late = await fetch(url, { method: 'POST', body: '{}', headers: { 'x-request-timeout-ms': '700' } });
    expect(late.status).toBe(504);
    expect((await post(`${url}?kind=caught`, {})).status).toBe(200);
    expect((await post(`${url}?kind=slow`, {})).status).toBe(504);
    expect((await post(`${url}?kind=caught`, {})).status).toBe(200);
  });

  test('has them in its digest, and says which one cannot be used', async () => {
    const handler = 'export const predict = () => 1;';
    const started = async (second: string) => {
      const args = await argumentsOf(handler);
      await writeFile(join(dirname(args[1] ?? ''), 'second.onnx'), await readFile(second));
      return [...args, '--handler-models', 'second.onnx'];
    };
    const digests: unknown[] = [];
    for (const version of ['1', '2']) {
      pod = await startPod(...(await started(exampleModel('iris', version).path)));
      digests.push((await get(`${pod.controlUrl}/model`)).json.digest);
      await pod.stop();
    }
    expect(new Set(digests).size).toBe(2);
    pod = undefined;
    const wrong = await failToStart(...(await started(join(import.meta.dirname, 'models.ts'))));
    expect(wrong.terminationMessage).toMatchObject({
      reason: 'ModelInvalid',
      message: expect.stringContaining('second.onnx, which the handler runs: '),
    });
    const missing = await failToStart(...(await argumentsOf(handler)), '--handler-models', 'third.onnx');
    expect(missing.terminationMessage).toMatchObject({
      reason: 'ModelNotFound',
      message: expect.stringContaining('third.onnx'),
    });
    const taken = await failToStart(...(await argumentsOf(handler)), '--handler-models', 'model.onnx');
    expect(taken.terminationMessage).toMatchObject({
      reason: 'InvalidConfiguration',
      message: expect.stringContaining("'model.onnx' is what the model itself is called"),
    });
  });

  test('of the documentation works as it says', async () => {
    const text = await readFile(join(import.meta.dirname, '../../docs/handlers.md'), 'utf8');
    const [, handler = ''] = /```js\n(export async function predict[\s\S]*?)```/.exec(text) ?? [];
    const url = await serveTwo(handler);
    expect((await post(url, { measures: [5.1, 3.5, 1.4, 0.2] })).json).toEqual({ kind: 0, isAgreed: true });
  });
});

test.each([
  ['is not there', undefined, 'needs handler.mjs beside it'],
  ['is no JavaScript', 'export function {', 'SyntaxError'],
  ['fails while it is loaded', 'throw new Error("no luck")', 'no luck'],
  [
    'exports no function that is asked for',
    'export const process = 1;',
    'must export a function predict, or a function',
  ],
  [
    'exports both forms',
    'export const predict = () => 1; export const postprocess = () => 1;',
    'exports postprocess, predict',
  ],
  ['ends while it is loaded', 'process.exit(3)', 'exit code 3'],
  ['imports a package', 'import "left-pad"; export const preprocess = 1;', 'left-pad'],
])('a pod does not start with a handler that %s', async (_, handler, message) => {
  const args = await argumentsOf(handler ?? '');
  if (handler === undefined) await rm(join(args[1] ?? '', '../handler.mjs'));
  expect((await failToStart(...args)).terminationMessage).toMatchObject({
    message: expect.stringContaining(message),
  });
});

describe('a handler that fails', () => {
  test.each([
    ['throws', 'throw new Error("the secret of it")', 'the secret of it'],
    ['throws nothing', 'throw undefined', 'undefined'],
    ['throws with a status that is none', 'throw Object.assign(new Error("odd"), { status: 200 })', 'odd'],
    ['gives nothing', '', 'it must give {inputs}'],
    ['gives no input', 'return { inputs: {} }', "it gave no input 'X'"],
    ['gives another input', 'return { inputs: { X: [[1, 2, 3, 4]], more: [1] } }', "no input 'more'"],
    ['gives words for numbers', "return { inputs: { X: [['a', 1, 1, 1]] } }", 'which is no FP32'],
    ['gives ragged arrays', 'return { inputs: { X: [[1, 2, 3, 4], [1]] } }', 'not all of one length'],
    ['gives a shape of other elements', 'return { inputs: { X: { shape: [1, 4], data: [1] } } }', '4 elements'],
    ['gives a shape without end', 'return { inputs: { X: { shape: [1e15, 4], data: [1] } } }', 'at most'],
    ['gives another shape', 'return { inputs: { X: [1, 2] } }', 'refuses what its handler has made'],
    ['asks for another output', "return { inputs: { X: [[1, 2, 3, 4]] }, outputs: ['x'] }", 'refuses what'],
  ])('%s: the client is told that, and the log why', async (_, work, reason) => {
    const url = await serve(`export function preprocess() { ${work} }`);
    const { status, text } = await post(url, {});
    expect([status, text.includes('secret')]).toEqual([500, false]);
    await logged(reason);
  });

  test.each([
    ['nothing', 'undefined', 'which is no answer'],
    ['a status that is none', '{ status: 99, body: 1 }', 'a whole number from 200 to 599'],
    ['headers in its type', "{ contentType: 'a/b\\r\\nx: y', body: 1 }", 'contentType of its answer is none'],
    ['a circle', '(() => { const circle = {}; circle.circle = circle; return circle; })()', 'circular'],
    ['more than may be sent', "'a'.repeat(2 ** 20 + 1)", 'at most 1048576 are sent'],
  ])('answers with %s', async (_, answer, reason) => {
    const url = await serve(
      `${measured} export const postprocess = () => (${answer});`,
      '--max-answer-bytes',
      '1048576',
    );
    expect((await post(url, flower)).status).toBe(500);
    await logged(reason);
  });

  test.each([
    ['loops', 'for (;;);', 504],
    ['never resolves', 'await new Promise((resolve) => setTimeout(resolve, 1e9));', 504],
    ['ends its process', 'process.exit(7);', 500],
    ['crashes later', "setTimeout(() => { throw new Error('later'); }, 1); await new Promise(() => {});", 500],
    [
      'says what it was not asked',
      "const { writeSync } = await import('node:fs'); writeSync(3, Buffer.alloc(44));",
      500,
    ],
    [
      'says gigabytes',
      'const { writeSync } = await import("node:fs"); const head = Buffer.alloc(44); head.writeUInt32LE(2 ** 32 - 1); writeSync(3, head); await new Promise(() => {});',
      500,
    ],
  ])('%s: it costs that request, and no other', async (_, work, expected) => {
    const url = await serve(
      `${measured.replace('export function', 'function')}
       export { careful as preprocess };
       async function careful(request) { if (request.query.has('bad')) { ${work} } return preprocess(request); }`,
      '--handler-timeout-milliseconds',
      '1000',
    );
    const bad = post(`${url}?bad`, flower);
    const good = Array.from({ length: 3 }, () => post(url, flower));
    expect((await bad).status).toBe(expected);
    for (const answer of good) expect((await answer).status).toBe(200);
    const inputs = [{ name: 'X', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }];
    expect((await post(`${pod?.url}/v2/models/iris/infer`, { inputs })).status).toBe(200);
    expect((await get(`${pod?.url}/v2/health/ready`)).status).toBe(200);
    expect((await get(`${pod?.controlUrl}/metrics`)).text).toContain('slipway_handler_restarts_total 1');
  });

  test('is asked to end what it has begun before it begins more, and nothing for who has gone', async () => {
    const url = await serve(`
      let begun = 0;
      export async function preprocess() {
        begun += 1;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return { inputs: { X: [[1, 2, 3, 4]] } };
      }
      export const postprocess = () => begun;`);
    const all = await Promise.all(Array.from({ length: 8 }, () => post(url, {})));
    // Another may have been begun while the model had it.
    expect(Math.min(...all.map(({ json }) => json))).toBeLessThanOrEqual(3);
    const gone = new AbortController();
    const aborted = Array.from({ length: 8 }, () =>
      fetch(url, { method: 'POST', body: '{}', signal: gone.signal }).catch(() => undefined),
    );
    await new Promise((resolve) => setTimeout(resolve, 150));
    gone.abort();
    await Promise.all(aborted);
    expect((await post(url, {})).json).toBeLessThanOrEqual(8 + 4 + 1);
  });

  test('cannot be started anew: the pod begins anew', async () => {
    const work = join(folder, 'work');
    const handler = `${measured.replace('export function', 'function')}
      export { careful as preprocess };
      const careful = (request) => request.query.has('bad') ? process.exit(5) : preprocess(request);`;
    const log = join(folder, 'termination-log');
    const surroundings = ['--work-directory', work, '--termination-log', log];
    pod = await startPod(...(await argumentsOf(handler)), ...surroundings);
    await writeFile(join(work, 'model/handler.mjs'), 'throw new Error("no luck any more")');
    expect((await post(`${pod.url}/predict?bad`, {})).status).toBe(500);
    expect(await pod.exit).toBe(1);
    expect(JSON.parse(await readFile(log, 'utf8'))).toMatchObject({
      reason: 'ModelInvalid',
      message: expect.stringMatching(/^the handler cannot be started anew: [\s\S]*no luck any more/),
    });
  });

  test('leaves a rejection to nobody: that costs its own request', async () => {
    const url = await serve(`
      export function preprocess({ query }) {
        if (query.has('bad')) Promise.reject(new Error('floating'));
        return { inputs: { X: [[1, 2, 3, 4]] } };
      }`);
    expect((await post(`${url}?bad`, {})).status).toBe(500);
    expect((await post(url, {})).status).toBe(200);
  });

  test('is late for one: what it has kept for that is forgotten', async () => {
    const url = await serve(`
      const kept = new Set();
      const registry = new FinalizationRegistry((name) => kept.delete(name));
      export async function preprocess({ query }) {
        if (query.has('late')) await new Promise((resolve) => setTimeout(resolve, 100));
        const context = { bytes: new Uint8Array(2 ** 20) };
        kept.add(registry);
        kept.add(query.get('late'));
        registry.register(context, query.get('late'));
        // Enough that what nobody holds is collected.
        for (let round = 0; query.has('count') && round < 50; round++) {
          Array.from({ length: 1000 }, () => new Uint8Array(2 ** 16));
          await new Promise((resolve) => setTimeout(resolve));
        }
        if (query.has('count')) throw Object.assign(new Error(String(kept.size - 2)), { status: 400 });
        return { inputs: { X: [[1, 2, 3, 4]] }, context };
      }`);
    for (let late = 0; late < 5; late++)
      expect((await post(`${url}?late=${late}`, {}, { 'x-request-timeout-ms': '50' })).status).toBe(504);
    const { status, json } = await post(`${url}?count`, {});
    expect([status, Number(json.error)]).toEqual([400, 0]);
  });

  test('prints without end: the log keeps what anybody reads', async () => {
    const url = await serve(
      `export function preprocess() { for (let line = 0; line < 20_000; line++) console.log('line', line); throw 1; }`,
    );
    expect((await post(url, {})).status).toBe(500);
    await logged('the rest is not told');
    const told = pod?.logs.filter(({ msg }) => msg === 'the handler says').length ?? 0;
    expect(told).toBeLessThanOrEqual(100);
    expect(told).toBeGreaterThan(10);
  });
});

test('a handler reaches nothing: no environment, files, processes, network, signals or addons', async () => {
  const calls: string[] = [];
  const server = createServer((request, response) => {
    calls.push(request.url ?? '');
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = await serve(`
    const attempts = {
      environment: async () => JSON.stringify(process.env),
      passwords: async () => (await import('node:fs')).readFileSync('/etc/passwd', 'utf8'),
      parent: async () => (await import('node:fs')).readFileSync('/proc/' + process.ppid + '/environ', 'utf8'),
      list: async () => (await import('node:fs')).readdirSync('/tmp').join(),
      write: async () => (await import('node:fs')).writeFileSync(new URL('x', import.meta.url), 'x'),
      fork: async () => (await import('node:child_process')).execSync('id').toString(),
      worker: async () => new (await import('node:worker_threads')).Worker('1', { eval: true }),
      fetch: async () => (await fetch('http://127.0.0.1:${port}/fetch')).status,
      connect: async () => {
        const { connect } = await import('node:net');
        return new Promise((resolve, reject) => connect(${port}, '127.0.0.1', resolve).on('error', reject));
      },
      resolve: async () => (await import('node:dns/promises')).lookup('localhost'),
      listen: async () => {
        const { createServer } = await import('node:net');
        return new Promise((resolve, reject) => createServer().on('error', reject).listen(0, resolve));
      },
      kill: async () => process.kill(process.ppid, 'SIGTERM'),
      debug: async () => process._debugProcess(process.ppid),
      priority: async () => (await import('node:os')).setPriority(process.ppid, 5),
      database: async () => new (await import('node:sqlite')).DatabaseSync(':memory:').exec("ATTACH '/tmp/slipway-handler.db' AS a"),
      program: async () => (await import('node:fs')).readdirSync(${JSON.stringify(join(import.meta.dirname, '../..'))}).join(),
      addon: async () => process.dlopen({ exports: {} }, '/x.node'),
      inspector: async () => (await import('node:inspector')).open(0),
    };
    export async function preprocess() {
      const reached = {};
      for (const [name, attempt] of Object.entries(attempts)) {
        try { reached[name] = String(await attempt()); } catch {}
      }
      throw Object.assign(new Error(JSON.stringify(reached)), { status: 418 });
    }`);
  const { status, json } = await post(url, {});
  expect([status, JSON.parse(json.error)]).toEqual([418, { environment: '{}' }]);
  expect(calls).toEqual([]);
  server.close();
});
