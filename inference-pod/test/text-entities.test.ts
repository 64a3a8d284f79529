import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pythonWith } from './clients/environment.ts';
import { get, post } from './http.ts';
import { failToStart, type RunningPod, startPod } from './running-pod.ts';
import { textModel, textRepository } from './text-repository.ts';

/** What texts name: places in a text, which the tokenizer's library does not tell. */
const run = promisify(execFile);
let folder: string;
let python: string;
beforeAll(async () => {
  python = await pythonWith(join(import.meta.dirname, 'clients/tasks.txt'));
  folder = await mkdtemp(join(tmpdir(), 'slipway-entities-'));
}, 240_000);
afterAll(() => rm(folder, { recursive: true }));

const configuration = { id2label: { 0: 'O', 1: 'B-PER', 2: 'I-PER', 3: 'PLACE', 4: 'I-ORG' } };
let repositories = 0;
async function repository(tokenizer: string, model = 'tagger', labels: object | undefined = configuration) {
  const path = join(folder, String(repositories++));
  await textRepository(path, { tokenizer, model, configuration: labels });
  return path;
}
const argumentsOf = (path: string, ...more: string[]) => [
  ...['--model', join(path, 'onnx/model.onnx'), '--model-name', 'names', '--task', 'TokenClassification', ...more],
];

test.each([
  ['wordpiece', 'Simple', 512],
  ['wordpiece', 'First', 24],
  ['bpe', 'Simple', 2048],
  ['bpe', 'First', 512],
  ['unigram', 'Simple', 512],
  ['unigram', 'First', 512],
] as const)(
  'texts are taken apart by %s and put together by %s as Python does',
  async (tokenizer, strategy, most) => {
    const path = await repository(tokenizer);
    const pod = await startPod(...argumentsOf(path, '--aggregation', strategy, '--max-tokens', String(most)));
    try {
      const args = [pod.url, path, textModel('tagger'), strategy, String(most)];
      const { stdout } = await run(python, ['-B', join(import.meta.dirname, 'clients/entities.py'), ...args]);
      const found = JSON.parse(stdout);
      expect(found.wrong).toEqual([]);
      expect(found.compared).toBeGreaterThan(most < 100 ? 20 : 200);
      expect(found.refused).toBeGreaterThan(0);
      expect(found.worst).toBeLessThan(1e-5);
    } finally {
      await pod.stop();
    }
  },
  120_000,
);

describe('a pod that finds what texts name', () => {
  let pod: RunningPod;
  beforeAll(async () => {
    pod = await startPod(...argumentsOf(await repository('wordpiece')));
  });
  afterAll(() => pod.stop());
  const ask = (body: object) => post(`${pod.url}/v1/entities`, { model: 'names', ...body });

  test('answers, tells of it, and counts it', async () => {
    const { status, json } = await ask({ input: ['a fox', 'Ships leave the slipway.'] });
    expect(status).toBe(200);
    expect(json).toMatchObject({ object: 'list', model: 'names', usage: { total_tokens: expect.any(Number) } });
    expect(json.data.map(({ index }: { index: number }) => index)).toEqual([0, 1]);
    const { paths } = (await get(`${pod.url}/openapi.json`)).json;
    const { example } = paths['/v1/entities'].post.requestBody.content['application/json'];
    expect((await ask(example)).status).toBe(200);
    const metrics = (await get(`${pod.controlUrl}/metrics`)).text;
    expect(metrics).toContain('slipway_http_request_duration_seconds_count{route="/v1/entities"} ');
  });

  test('answers as the documentation says', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/requests.md'), 'utf8');
    const scripts = Array.from(page.matchAll(/^```python\n([\s\S]*?)^```/gm), ([, script = '']) => script);
    const script = scripts.find((each) => each.includes('http://names')) ?? '';
    const { stdout } = await run(python, ['-c', script.replace('http://names', pod.url)]);
    expect(stdout).toMatch(/^\[(\('\w+', '[\w ]+', \d+, \d+\)(, )?)+\]\n$/);
  });

  test('leaves out what is less sure', async () => {
    const input = 'The quick brown fox jumps over the lazy dog';
    const all = (await ask({ input })).json.data[0].entities;
    const scores: number[] = all.map(({ score }: { score: number }) => score);
    const threshold = scores.toSorted((a, b) => a - b)[1] ?? 0;
    const surer = (await ask({ input, threshold })).json.data[0].entities;
    expect(surer).toHaveLength(scores.filter((score) => score >= threshold).length);
    expect(surer.length).toBeLessThan(all.length);
  });

  test.each([
    ['nothing', {}, "'input' must be a list of strings, or a string: it is missing"],
    ['an empty text', { input: [''] }, "'input[0]' is empty"],
    ['a threshold that is none', { input: 'a', threshold: 2 }, "'threshold' must be a number from 0 to 1"],
    ['a text that would be cut', { input: ['a', 'fox '.repeat(30)] }, "the tokenizer cannot take 'input[1]': it has"],
    ['too many texts', { input: Array(2049).fill('a') }, 'more entries than 2048'],
  ])('refuses %s', async (_, body, message) => {
    const { status, json } = await ask(body);
    expect([status, json.error.message]).toEqual([400, expect.stringContaining(message)]);
  });
});

test.each([
  ['has no configuration', 'tagger', null, 'ModelInvalid', "it has no 'id2label'"],
  ['gives one label for a text', 'classifier', configuration, 'ModelInvalid', 'an output of floats [-1, -1, 5]'],
  ['gives other labels', 'tagger', { id2label: { 0: 'O' } }, 'ModelInvalid', 'an output of floats [-1, -1, 1]'],
] as const)('a model that %s does not start', async (_, model, labels, reason, message) => {
  const path = await repository('wordpiece', model, labels ?? {});
  expect((await failToStart(...argumentsOf(path))).terminationMessage).toMatchObject({
    reason,
    message: expect.stringContaining(message),
  });
});
