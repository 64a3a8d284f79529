import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pythonWith } from './clients/environment.ts';
import { exampleModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

/** The service of docs/from-flask.md, and the handler that it becomes there. */
let folder: string;
let pod: RunningPod;
let flask: ChildProcess;
let flaskUrl: string;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-flask-'));
  const page = await readFile(join(import.meta.dirname, '../../docs/from-flask.md'), 'utf8');
  const block = (language: string) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? '';
  await writeFile(join(folder, 'service.py'), block('python'));
  await writeFile(join(folder, 'handler.mjs'), block('js'));
  const model = join(folder, 'model.onnx');
  await copyFile(exampleModel('iris', '1').path, model);
  const python = await pythonWith(join(import.meta.dirname, 'clients/tasks.txt'));
  const port = await freePort();
  const args = ['--chdir', folder, '--bind', `127.0.0.1:${port}`, '--workers', '1', '--threads', '8'];
  const quickly = ['--graceful-timeout', '1', '--no-control-socket'];
  flask = spawn(python, ['-m', 'gunicorn', ...args, ...quickly, 'service:app'], {
    env: { ...process.env, MODEL_FILE: model, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: 'ignore',
  });
  flaskUrl = `http://127.0.0.1:${port}`;
  pod = await startPod('--model', model, '--model-name', 'flowers', '--handler', 'Enabled');
  for (;;) {
    const isReady = await fetch(`${flaskUrl}/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    if (flask.exitCode !== null) throw new Error('the service in Flask has ended');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}, 300_000);
afterAll(async () => {
  const ended = once(flask, 'exit');
  flask.kill();
  await ended;
  await pod.stop();
  await rm(folder, { recursive: true });
});

const flower = { sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 };
const large = { sepal_length: 6.3, sepal_width: 2.9, petal_length: 5.6, petal_width: 2 };

async function ask(url: string, body: string) {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}/predict`, { method: 'POST', headers, body });
  return { status: answer.status, text: await answer.text() };
}

test.each<[string, object]>([
  ['a flower', flower],
  [
    'a flower, measured in millimetres',
    { sepal_length: 51, sepal_width: 35, petal_length: 14, petal_width: 2, unit: 'mm' },
  ],
  ['another', large],
  ...[null, '', [], [5], 'abc', '5.6', '0x10', true, {}].map((value): [string, object] => [
    `one whose measure is ${JSON.stringify(value)}`,
    { ...large, petal_length: value },
  ]),
  ['one that lacks a measure', { ...flower, petal_width: undefined }],
  ['nothing', {}],
])('%s is answered as before', async (_, body) => {
  const [before, after] = [await ask(flaskUrl, JSON.stringify(body)), await ask(pod.url, JSON.stringify(body))];
  expect(after.status).toBe(before.status);
  const [told, now] = [JSON.parse(before.text), JSON.parse(after.text)];
  expect(now).toEqual('sure' in told ? { ...told, sure: expect.closeTo(told.sure, 5) } : told);
});

test('what is no JSON is refused with the same status', async () => {
  expect((await ask(pod.url, '{')).status).toBe((await ask(flaskUrl, '{')).status);
});
