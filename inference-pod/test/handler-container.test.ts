import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openedJob, writeHead } from '../src/execution/frames.ts';
import { post } from './http.ts';
import { exampleModel } from './models.ts';
import { failToStart, type RunningPod, startPod } from './running-pod.ts';

/** A handler in a container of its own: here a process that shares a folder and a socket with the pod. */
const main = join(import.meta.dirname, '../src/handler-container.ts');
const handler = `
  export function preprocess(request) {
    const { sepal, petal, what } = request.json();
    if (what === 'crash') process.exit(3);
    if (what === 'hang') for (;;);
    console.log('a flower is asked for');
    return { inputs: { X: [[...sepal, ...petal]] } };
  }
  export const postprocess = ({ label }) => ({ kind: Number(label.data[0]), environment: Object.keys(process.env) });`;
const flower = { sepal: [5.1, 3.5], petal: [1.4, 0.2] };

let folder: string;
let socket: string;
let host: Host;
let pod: RunningPod;

interface Host {
  readonly process: ChildProcess;
  output(): string;
}

function startHost(): Host {
  let text = '';
  const process_ = spawn(process.execPath, [main], {
    env: { ...process.env, SLIPWAY_HANDLER_SOCKET: socket, SLIPWAY_WORK_DIRECTORY: join(folder, 'work') },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process_.stdout.on('data', (chunk: Buffer) => {
    text += chunk;
  });
  return { process: process_, output: () => text };
}

async function stopHost({ process: process_ }: Host): Promise<void> {
  const exit = once(process_, 'exit');
  // What is left of it would go with a container.
  process_.kill('SIGTERM');
  await exit;
}

const argumentsOf = (...more: string[]) => [
  ...['--model', join(folder, 'store/model.onnx'), '--model-name', 'iris', '--handler', 'Enabled'],
  ...['--handler-socket', socket, '--handler-timeout-milliseconds', '2000', ...more],
];
const work = () => ['--work-directory', join(folder, 'work')];
const predict = (body: object) => post(`${pod.url}/predict`, body);
const { inputs } = exampleModel('iris', '1');
const infer = () => post(`${pod.url}/v2/models/iris/infer`, { inputs });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-handler-container-'));
  socket = join(folder, 'socket');
  await mkdir(join(folder, 'store'));
  await copyFile(exampleModel('iris', '1').path, join(folder, 'store/model.onnx'));
  await writeFile(join(folder, 'store/handler.mjs'), handler);
  const starting = startPod(...argumentsOf(...work()));
  // The other container may come later.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  host = startHost();
  pod = await starting;
});
afterAll(async () => {
  await pod.stop();
  await stopHost(host);
  await rm(folder, { recursive: true });
});

test('answers, without an environment, and prints in the log of its container', async () => {
  const { status, json } = await predict(flower);
  expect([status, json]).toEqual([200, { kind: 0, environment: [] }]);
  expect(host.output()).toContain('a flower is asked for');
  expect(pod.output()).not.toContain('a flower is asked for');
});

test.each([
  ['crash', 500],
  ['hang', 504],
])('a %s costs its request, and the next is answered', async (what, status) => {
  expect((await predict({ ...flower, what })).status).toBe(status);
  expect((await predict(flower)).json).toMatchObject({ kind: 0 });
});

test('while its container is gone tensors are answered, and once it is there again flowers are', async () => {
  const hanging = predict({ ...flower, what: 'hang' });
  await new Promise((resolve) => setTimeout(resolve, 300));
  await stopHost(host);
  expect((await hanging).status).toBe(500);
  expect((await infer()).status).toBe(200);
  const waiting = predict(flower);
  host = startHost();
  expect((await waiting).json).toMatchObject({ kind: 0 });
});

test('a module that cannot be used is told, as in the same container', async () => {
  await mkdir(join(folder, 'broken'));
  await copyFile(exampleModel('iris', '1').path, join(folder, 'broken/model.onnx'));
  await writeFile(join(folder, 'broken/handler.mjs'), 'export const preprocess = 7;');
  const broken = argumentsOf('--work-directory', join(folder, 'work/broken'));
  broken[1] = join(folder, 'broken/model.onnx');
  expect((await failToStart(...broken)).terminationMessage).toMatchObject({
    reason: 'ModelInvalid',
    message: expect.stringContaining('preprocess'),
  });
});

test('no module is run that is not of a model', async () => {
  const settings = { path: join(folder, 'store/handler.mjs'), signature: { inputs: [], outputs: [] } };
  const body = Buffer.from(JSON.stringify({ ...settings, mostTensorBytes: 1, mostAnswerBytes: 1 }));
  const head = { job: openedJob, code: 0, following: 0, headerLength: undefined, seconds: undefined };
  const client = connect(socket);
  client.write(writeHead({ ...head, busySeconds: 0, leftMilliseconds: 0, bodyLength: body.length }));
  client.write(body);
  client.resume();
  await once(client, 'close');
  expect(host.output()).toContain('is no handler.mjs of a model');
  expect((await predict(flower)).json).toMatchObject({ kind: 0 });
});
