import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pythonWith } from './clients/environment.ts';
import { get, post } from './http.ts';
import { testModel } from './models.ts';
import { failToStart, type RunningPod, startPod } from './running-pod.ts';
import { textModel, textRepository } from './text-repository.ts';

const run = promisify(execFile);
const encoder = textModel('model');
let folder: string;
let python: string;
beforeAll(async () => {
  python = await pythonWith(join(import.meta.dirname, 'clients/tasks.txt'));
  folder = await mkdtemp(join(tmpdir(), 'slipway-texts-'));
}, 240_000);
afterAll(() => rm(folder, { recursive: true }));

async function repository(tokenizer: string): Promise<string> {
  const path = join(folder, tokenizer);
  await textRepository(path, { tokenizer, model: 'model' });
  return path;
}

const argumentsOf = (path: string, ...more: string[]) => [
  ...['--model', join(path, 'onnx/model.onnx'), '--model-name', 'embedder', '--task', 'TextEmbedding', ...more],
];

test.each([
  ['wordpiece', 'Mean', undefined, 24],
  ['bpe', 'LastToken', undefined, 512],
  ['bpe', 'FirstToken', 7, 7],
  ['unigram', 'Mean', 300, 300],
] as const)(
  'vectors by %s and %s are those of Python, through the client of OpenAI',
  async (tokenizer, pooling, maxTokens, most) => {
    const path = await repository(tokenizer);
    const tokens = maxTokens === undefined ? [] : ['--max-tokens', String(maxTokens)];
    const pod = await startPod(...argumentsOf(path, '--pooling', pooling, ...tokens));
    try {
      const args = [pod.url, encoder, join(path, 'tokenizer.json'), pooling, String(most)];
      const { stdout } = await run(python, [join(import.meta.dirname, 'clients/texts.py'), ...args]);
      const found = JSON.parse(stdout);
      expect(found).toMatchObject({
        wrong: [],
        refused: {
          empty: "400 'input' is empty: it must have a character at least",
          model: "404 there is no model 'another' here, only 'embedder'",
        },
      });
      expect(found.texts).toBeGreaterThan(200);
      expect(found.worst).toBeLessThan(1e-6);
    } finally {
      await pod.stop();
    }
  },
  120_000,
);

describe('a pod that takes texts', () => {
  let pod: RunningPod;
  beforeAll(async () => {
    pod = await startPod(...argumentsOf(await repository('wordpiece')));
  });
  afterAll(() => pod.stop());
  const ask = (body: object) => post(`${pod.url}/v1/embeddings`, { model: 'embedder', ...body });

  test('answers tensors as before, and tells of both', async () => {
    const ids = { name: 'input_ids', datatype: 'INT64', shape: [1, 2], data: [2, 3] };
    const ones = { ...ids, data: [1, 1] };
    const inputs = [ids, { ...ones, name: 'attention_mask' }, { ...ids, name: 'token_type_ids', data: [0, 0] }];
    const answer = await post(`${pod.url}/v2/models/embedder/infer`, { inputs });
    expect(answer.status).toBe(200);
    const { paths } = (await get(`${pod.url}/openapi.json`)).json;
    expect(Object.keys(paths)).toContain('/v1/embeddings');
    expect((await get(`${pod.url}/v1/models`)).json).toMatchObject({ object: 'list', data: [{ id: 'embedder' }] });
    await ask({ input: 'a' });
    const metrics = (await get(`${pod.controlUrl}/metrics`)).text;
    expect(metrics).toMatch(/slipway_http_request_duration_seconds_count\{route="\/v1\/embeddings"\} [1-9]/);
  });

  test('answers as the documentation says', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/requests.md'), 'utf8');
    const [, script = ''] = page.match(/^```python\n([\s\S]*?)^```/m) ?? [];
    expect(script).toContain('http://embedder/v1');
    const { stdout } = await run(python, ['-c', script.replace('http://embedder', pod.url)]);
    expect(stdout).toMatch(/^2 16 \d+\n$/);
  });

  test('takes many texts at once, each with its own vector in its place', async () => {
    const many = Array.from({ length: 2048 }, (_, index) => 'word '.repeat(1 + (index % 40)) + index);
    const { status, json } = await ask({ input: many });
    expect(status).toBe(200);
    expect(json.data.map(({ index }: { index: number }) => index)).toEqual(many.map((_, index) => index));
    for (const place of [0, 17, 2047]) {
      const alone = (await ask({ input: many[place] })).json.data[0].embedding;
      for (const [at, value] of alone.entries()) expect(json.data[place].embedding[at]).toBeCloseTo(value, 5);
    }
  });

  test.each([
    ['nothing', {}, "'input' must be a string"],
    ['an empty list', { input: [] }, 'and not empty'],
    ['an empty text', { input: ['a', ''] }, "'input[1]' is empty"],
    ['a text without end', { input: ['a', 'a'.repeat(65_537)] }, "'input[1]' has 65537 characters: at most 65536"],
    ['an empty list of ids', { input: [[1], []] }, "'input[1]' is empty: it must have a token"],
    ['a number among texts', { input: ['a', 1] }, 'entry 1 is none'],
    ['an object', { input: { text: 'a' } }, "'input' must be a string"],
    ['a list in a list in a list', { input: [[[1]]] }, 'whole numbers from 0 on'],
    ['a text among ids', { input: [1, 'a'] }, 'whole numbers from 0 on'],
    ['signs that become many', { input: '\ufdfa'.repeat(4000) }, 'has 72000 characters'],
    ['ids below zero', { input: [[-1]] }, 'whole numbers from 0 on'],
    ['an id that is none', { input: [100_000] }, 'the token id 100000'],
    ['too many texts', { input: Array(2049).fill('a') }, 'more entries than 2048'],
    ['another encoding', { input: 'a', encoding_format: 'int8' }, "'float' or 'base64', not int8"],
    ['no dimensions', { input: 'a', dimensions: 0 }, "'dimensions' must be a whole number from 1"],
    ['more dimensions than there are', { input: 'a', dimensions: 17 }, 'the vectors of this model have 16'],
    ['a model that is none', { input: 'a', model: 7 }, "'model' must be a string"],
  ])('refuses %s as the clients of OpenAI read it', async (_, body, message) => {
    const { status, json } = await ask(body);
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ message: expect.stringContaining(message), type: 'invalid_request_error' });
  });

  test.each([
    ['a word', 'ab'.repeat(32_768)],
    ['spaces', ' '.repeat(65_536)],
    ['accents', `a${'\u0301'.repeat(255)}`.repeat(256)],
    ['ideographs', '模'.repeat(65_536)],
  ])('cuts %s of the most characters', async (_, text) => {
    const { status, json } = await ask({ input: [text, text] });
    expect(status).toBe(200);
    expect(json.usage.prompt_tokens).toBeLessThanOrEqual(48);
  });

  test('says when texts were not done in time', async () => {
    const input = Array.from({ length: 300 }, () => 'load '.repeat(10_000));
    const { status, json } = await post(
      `${pod.url}/v1/embeddings`,
      { model: 'embedder', input },
      { 'x-request-timeout-ms': '100' },
    );
    expect([status, json.error.type]).toEqual([504, 'server_error']);
    // Nobody waits for it any more, and the next one does not either.
    expect(
      (await post(`${pod.url}/v1/embeddings`, { model: 'embedder', input: 'a' }, { 'x-request-timeout-ms': '2000' }))
        .status,
    ).toBe(200);
  });

  test('holds no more of a body than a few times its bytes', async () => {
    const memory = async () => {
      const { stdout } = await run('ps', ['--ppid', String(pod.process.pid), '-o', 'rss=']);
      return Math.max(...stdout.trim().split('\n').map(Number)) / 1024;
    };
    const before = await memory();
    const most = 4 * 2 ** 20;
    for (const [piece, open, close] of [
      ['{},', '', '{}]'],
      ['[],', '', '[]]'],
      ['[', '', ''],
      ['1,', '', '1]'],
    ] as const) {
      const body = `{"model":"embedder","input":[${open}${piece.repeat(most / piece.length)}${close}}`;
      const answer = await fetch(`${pod.url}/v1/embeddings`, { method: 'POST', body });
      expect(answer.status).toBe(400);
    }
    expect((await memory()) - before).toBeLessThan(150);
  });

  test('refuses what is no JSON, other methods, and a body that is too large', async () => {
    const url = `${pod.url}/v1/embeddings`;
    const broken = await fetch(url, { method: 'POST', body: '{"input": ' });
    expect([broken.status, await broken.text()]).toEqual([400, expect.stringContaining('is not JSON')]);
    expect((await fetch(url)).status).toBe(405);
    const list = await fetch(url, { method: 'POST', body: '["a"]' });
    expect(await list.text()).toContain('the body must be a JSON object');
  });
});

test('texts and tensors come together, with batching, and each is answered in its own form', async () => {
  const path = await repository('wordpiece');
  const batching = ['--batch-max-size', '8', '--batch-max-delay-milliseconds', '5'];
  const pod = await startPod(...argumentsOf(path, ...batching));
  try {
    const tensor = (name: string, data: number[]) => ({ name, datatype: 'INT64', shape: [1, 2], data });
    const inputs = [tensor('input_ids', [2, 3]), tensor('attention_mask', [1, 1]), tensor('token_type_ids', [0, 0])];
    const embed = (input: string) => post(`${pod.url}/v1/embeddings`, { model: 'embedder', input });
    const infer = () => post(`${pod.url}/v2/models/embedder/infer`, { inputs });
    const [vector, hidden] = [(await embed('a fox')).text, (await infer()).text];
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) => (index % 3 === 0 ? infer() : embed('a fox'))),
    );
    expect(answers.map(({ text }) => text)).toEqual(answers.map((_, index) => (index % 3 === 0 ? hidden : vector)));
    const texts = Array.from({ length: 40 }, (_, index) => (index % 8 === 0 ? '' : 'a quick fox '.repeat(index)));
    const alone = [];
    for (const text of texts) alone.push(await embed(text));
    const together = await Promise.all(texts.map(embed));
    for (const [at, { status, json }] of together.entries()) {
      expect([status, json.usage, json.error]).toEqual([
        alone[at]?.status,
        alone[at]?.json.usage,
        alone[at]?.json.error,
      ]);
      const expected: readonly number[] = alone[at]?.json.data?.[0].embedding ?? [];
      for (const [place, value] of expected.entries()) expect(json.data[0].embedding[place]).toBeCloseTo(value, 5);
    }
  } finally {
    await pod.stop();
  }
});

test('no answer is larger than may be sent, of few numbers or of many', async () => {
  const path = await repository('wordpiece');
  const pod = await startPod(...argumentsOf(path, '--max-answer-bytes', '100000'));
  try {
    const ask = (texts: number, dimensions: number) =>
      post(`${pod.url}/v1/embeddings`, { model: 'embedder', input: Array(texts).fill('a'), dimensions });
    expect((await ask(1000, 1)).status).toBe(200);
    for (const [texts, dimensions, bytes] of [
      [2000, 1, 160_000],
      [400, 16, 128_000],
    ] as const) {
      const { status, json } = await ask(texts, dimensions);
      expect([status, json.error.message]).toEqual([400, expect.stringContaining(`may have ${bytes} bytes, and at`)]);
    }
  } finally {
    await pod.stop();
  }
});

test('a pod without the task takes no texts', async () => {
  const pod = await startPod('--model', encoder, '--model-name', 'embedder');
  try {
    expect((await post(`${pod.url}/v1/embeddings`, { model: 'embedder', input: 'a' })).status).toBe(404);
    expect((await get(`${pod.url}/v1/models`)).json.data).toHaveLength(1);
  } finally {
    await pod.stop();
  }
});

test('the tokenizer is fetched with the model, checked with it, and counts in its digest', async () => {
  const path = await repository('wordpiece');
  const uri = ['--model-uri', 'pvc://models/onnx/model.onnx', '--mount-directory', path, '--model-name', 'embedder'];
  const args = [...uri, '--task', 'TextEmbedding'];
  const pod = await startPod(...args);
  const digest: string = (await get(`${pod.controlUrl}/model`)).json.digest.replace('sha256:', '');
  await pod.stop();
  const again = await startPod(...args, '--model-sha256', digest);
  await again.stop();
  await writeFile(join(path, 'tokenizer.json'), `${await readFile(join(path, 'tokenizer.json'), 'utf8')} `);
  expect((await failToStart(...args, '--model-sha256', digest)).terminationMessage).toMatchObject({
    reason: 'ModelDigestMismatch',
    message: expect.stringContaining('model.onnx, tokenizer.json, have together sha256'),
  });
});

test.each([
  [
    'has no tokenizer',
    undefined,
    'onnx/model.onnx',
    'ModelNotFound',
    "the model's task or handler needs tokenizer.json beside it, or above its folder if that is called onnx: there is no",
  ],
  [
    'has one that is none',
    '{"model": {"type": "Other"}}',
    'onnx/model.onnx',
    'ModelInvalid',
    'the tokenizer cannot be used',
  ],
  ['has one that is no JSON', 'x', 'onnx/model.onnx', 'ModelInvalid', 'the tokenizer cannot be used'],
])('a model that %s does not start', async (_, tokenizer, model, reason, message) => {
  const path = await mkdtemp(join(folder, 'broken-'));
  await mkdir(join(path, 'onnx'));
  await cp(encoder, join(path, model));
  if (tokenizer !== undefined) await writeFile(join(path, 'tokenizer.json'), tokenizer);
  expect((await failToStart(...argumentsOf(path))).terminationMessage).toMatchObject({
    reason,
    message: expect.stringContaining(message),
  });
});

test('a tokenizer with what is not known here does not start', async () => {
  const path = await repository('bpe');
  const tokenizer = JSON.parse(await readFile(join(path, 'tokenizer.json'), 'utf8'));
  tokenizer.added_tokens[0].single_word = true;
  await writeFile(join(path, 'tokenizer.json'), JSON.stringify(tokenizer));
  expect((await failToStart(...argumentsOf(path))).terminationMessage).toMatchObject({
    reason: 'ModelInvalid',
    message: expect.stringContaining('added tokens with single_word'),
  });
});

test('a copy without a tokenizer is none for a pod that needs one', async () => {
  const path = await repository('wordpiece');
  const uri = ['--model-uri', 'pvc://models/onnx/model.onnx', '--mount-directory', path, '--model-name', 'embedder'];
  const args = [...uri, '--work-directory', join(folder, 'kept')];
  const from = async (...more: string[]) => {
    const pod = await startPod(...args, ...more);
    await pod.stop();
    return pod.logs.find(({ msg }) => msg === 'the model file is here')?.['from'];
  };
  expect([await from(), await from()]).toEqual(['Store', 'EarlierContainer']);
  const task = ['--task', 'TextEmbedding'];
  expect([await from(...task), await from(...task)]).toEqual(['Store', 'EarlierContainer']);
});

test('a model that is no encoder of texts does not start', async () => {
  const path = await repository('wordpiece');
  await cp(testModel('echo'), join(path, 'onnx/model.onnx'));
  expect((await failToStart(...argumentsOf(path))).terminationMessage).toMatchObject({
    reason: 'ModelInvalid',
    message: expect.stringContaining('needs a model with the inputs input_ids'),
  });
});
