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

const run = promisify(execFile);
let folder: string;
let python: string;
beforeAll(async () => {
  python = await pythonWith(join(import.meta.dirname, 'clients/tasks.txt'));
  folder = await mkdtemp(join(tmpdir(), 'slipway-texts-'));
}, 240_000);
afterAll(() => rm(folder, { recursive: true }));

const moods = { id2label: { 0: 'sad', 1: 'glad', 2: 'neither' } };
const topics = { ...moods, problem_type: 'multi_label_classification' };
const verdicts = { id2label: { 0: 'CONTRADICTION', 1: 'neutral', 2: 'ENTAILMENT' } };
const otherVerdicts = { id2label: { 0: 'entailment', 1: 'neutral', 2: 'contradiction' } };

let repositories = 0;
async function repository(tokenizer: string, model: string, configuration?: object): Promise<string> {
  const path = join(folder, String(repositories++));
  await textRepository(path, { tokenizer, model, ...(configuration === undefined ? {} : { configuration }) });
  return path;
}

const argumentsOf = (path: string, task: string, ...more: string[]) => [
  ...['--model', join(path, 'onnx/model.onnx'), '--model-name', 'judge', '--task', task, ...more],
];

test.each([
  ['TextClassification', 'wordpiece', moods, [], 24],
  ['TextClassification', 'unigram', topics, ['--max-tokens', '300'], 300],
  ['ZeroShot', 'wordpiece', verdicts, ['--hypothesis', 'It is about {}.'], 24],
  ['ZeroShot', 'bpe', otherVerdicts, ['--hypothesis', 'It is about {}.', '--max-tokens', '40'], 40],
  ['Rerank', 'wordpiece', undefined, [], 24],
  ['Rerank', 'bpe', undefined, [], 512],
  ['Rerank', 'unigram', undefined, ['--max-tokens', '33'], 33],
] as const)(
  '%s with %s answers as Python does',
  async (task, tokenizer, configuration, more, most) => {
    const model = task === 'Rerank' ? 'reranker' : 'classifier';
    const path = await repository(tokenizer, model, configuration);
    const pod = await startPod(...argumentsOf(path, task, ...more));
    try {
      const args = [pod.url, path, textModel(model), task, String(most)];
      const { stdout } = await run(python, ['-B', join(import.meta.dirname, 'clients/judgements.py'), ...args]);
      const found = JSON.parse(stdout);
      expect(found.wrong).toEqual([]);
      expect(found.compared).toBeGreaterThan(200);
      expect(found.worst).toBeLessThan(1e-5);
    } finally {
      await pod.stop();
    }
  },
  120_000,
);

test.each([
  ['moods', 'TextClassification', 'classifier', moods, /^0 \w+ 0\.\d+\n1 \w+ 0\.\d+\n$/],
  ['topics', 'ZeroShot', 'classifier', verdicts, /^\{'\w+': 0\.\d+, '\w+': 0\.\d+\}\n$/],
  ['ranker', 'Rerank', 'reranker', undefined, /^\[\(\d, 0\.\d+\)\]\n$/],
] as const)('%s answers as the documentation says', async (name, task, model, configuration, answer) => {
  const page = await readFile(join(import.meta.dirname, '../../docs/requests.md'), 'utf8');
  const scripts = Array.from(page.matchAll(/^```python\n([\s\S]*?)^```/gm), ([, script = '']) => script);
  const script = scripts.find((each) => each.includes(`http://${name}`)) ?? '';
  const path = await repository('wordpiece', model, configuration);
  const pod = await startPod('--model', join(path, 'onnx/model.onnx'), '--model-name', name, '--task', task);
  try {
    const { stdout } = await run(python, ['-c', script.replace(`http://${name}`, pod.url)]);
    expect(stdout).toMatch(answer);
  } finally {
    await pod.stop();
  }
});

const labels = ['ships', 'foxes'];

type Refusals = readonly (readonly [string, object, string])[];

describe.each<readonly [string, string, object, Refusals]>([
  [
    'TextClassification',
    '/v1/classify',
    { input: 'a fox' },
    [
      ['nothing', {}, "'input' must be a list of strings, or a string: it is missing"],
      ['a number', { input: 7 }, "'input' must be a list of strings, or a string, not 7"],
      ['an empty list', { input: [] }, 'and not empty'],
      ['an empty text', { input: ['a', ''] }, "'input[1]' is empty"],
      ['a list in a list', { input: [['a']] }, "'input[0]' must be a string, not a list of 1"],
      ['too many texts', { input: Array(2049).fill('a') }, 'more entries than 2048'],
      ['labels', { input: 'a', labels }, "'labels' and 'multi_label' are for the task ZeroShot"],
      ['no results', { input: 'a', top_n: 0 }, "'top_n' must be a whole number from 1 to"],
    ],
  ],
  [
    'ZeroShot',
    '/v1/classify',
    { input: 'a fox', labels },
    [
      ['no labels', { input: 'a' }, "'labels' must be a list of strings"],
      ['an empty list of labels', { input: 'a', labels: [] }, "'labels' must be a list of strings, and not empty"],
      ['a label twice', { input: 'a', labels: ['b', 'b'] }, "'labels' has one twice"],
      ['an empty label', { input: 'a', labels: ['b', ''] }, "'labels[1]' is empty"],
      ['a word for a flag', { input: 'a', labels, multi_label: 'yes' }, "'multi_label' must be true or false"],
      ['too many pairs', { input: Array(1100).fill('a'), labels }, 'at most 2048 pairs'],
      ['a label as long as a text', { input: 'a', labels: ['fox '.repeat(30)] }, 'leave no room for another text'],
    ],
  ],
  [
    'Rerank',
    '/v1/rerank',
    { query: 'a fox', documents: ['a', 'b'] },
    [
      ['no query', { documents: ['a'] }, "'query' must be a string: it is missing"],
      ['no documents', { query: 'a' }, "'documents' must be a list of strings"],
      ['an empty list', { query: 'a', documents: [] }, 'and not empty'],
      ['a document without text', { query: 'a', documents: [{ title: 'b' }] }, "'documents[0].text' must be a string"],
      ['a number', { query: 'a', documents: ['b', 1] }, "'documents[1]' must be a string, not 1"],
      ['too many', { query: 'a', documents: Array(2049).fill('b') }, 'more entries than 2048'],
      [
        'too much together',
        { query: 'a', documents: Array(17).fill('b '.repeat(31_000)) },
        "the texts of 'documents' have 1054000 characters together: at most 1048576 are taken",
      ],
      ['a text without end', { query: 'a'.repeat(70_000), documents: ['b'] }, "'query' has 70000 characters"],
      ['a part of a result', { query: 'a', documents: ['b'], top_n: 1.5 }, "'top_n' must be a whole number"],
    ],
  ],
])('a pod with the task %s', (task, route, right, wrong) => {
  let pod: RunningPod;
  beforeAll(async () => {
    const path = await repository(
      'wordpiece',
      task === 'Rerank' ? 'reranker' : 'classifier',
      task === 'Rerank' ? undefined : verdicts,
    );
    pod = await startPod(...argumentsOf(path, task));
  });
  afterAll(() => pod.stop());
  const ask = (body: object) => post(`${pod.url}${route}`, { model: 'judge', ...body });

  test('answers, tells of it, and counts it', async () => {
    expect((await ask(right)).status).toBe(200);
    const { paths } = (await get(`${pod.url}/openapi.json`)).json;
    const { schema, example } = paths[route].post.requestBody.content['application/json'];
    expect(schema.required).toEqual(expect.arrayContaining(Object.keys(right).filter((key) => key !== 'labels')));
    expect((await ask({ labels: task === 'ZeroShot' ? labels : undefined, ...example })).status).toBe(200);
    const metrics = (await get(`${pod.controlUrl}/metrics`)).text;
    expect(metrics).toContain(`slipway_http_request_duration_seconds_count{route="${route}"} `);
    expect((await post(`${pod.url}/v1/embeddings`, { model: 'judge', input: 'a' })).status).toBe(404);
  });

  test.each(wrong)('refuses %s', async (_, body, message) => {
    const { status, json } = await ask(body);
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ message: expect.stringContaining(message), type: 'invalid_request_error' });
  });

  test('refuses another model, and a field that is given twice', async () => {
    expect((await ask({ ...right, model: 'another' })).status).toBe(404);
    const body = `{"model": "judge", "top_n": 1, "top_n": 2}`;
    const twice = await fetch(`${pod.url}${route}`, { method: 'POST', body });
    expect([twice.status, await twice.text()]).toEqual([400, expect.stringContaining("'top_n' is given twice")]);
  });

  test('tells as many of the best as are asked for', async () => {
    const { json } = await ask({ ...right, top_n: 1 });
    expect(task === 'Rerank' ? json.results : json.data[0].predictions).toHaveLength(1);
  });
});

test('holds no more of long texts than of those that are run at once', async () => {
  const path = await repository('wordpiece', 'reranker');
  const pod = await startPod(...argumentsOf(path, 'Rerank', '--max-tokens', '131072'));
  try {
    const memory = async () => {
      const { stdout } = await run('ps', ['--ppid', String(pod.process.pid), '-o', 'rss=']);
      return Math.max(...stdout.trim().split('\n').map(Number)) / 1024;
    };
    const before = await memory();
    // Each of 2000 rows is of 8000 tokens: 256 MB, were all held at once.
    const body = { model: 'judge', query: 'fox '.repeat(8000), documents: Array(2000).fill('a'), top_n: 1 };
    expect((await post(`${pod.url}/v1/rerank`, body)).status).toBe(200);
    expect((await memory()) - before).toBeLessThan(150);
  } finally {
    await pod.stop();
  }
}, 60_000);

test('scores are what is asked for', async () => {
  const scored = async (scoring: string) => {
    const pod = await startPod(
      ...argumentsOf(await repository('wordpiece', 'reranker'), 'Rerank', '--scoring', scoring),
    );
    try {
      const { json } = await post(`${pod.url}/v1/rerank`, { model: 'judge', query: 'a', documents: ['a fox'] });
      return json.results[0].relevance_score;
    } finally {
      await pod.stop();
    }
  };
  const [logit, score] = [await scored('Logits'), await scored('Sigmoid')];
  expect(score).toBeCloseTo(1 / (1 + Math.exp(-logit)), 6);
});

test.each([
  ['has no configuration', 'TextClassification', 'classifier', undefined, 'ModelNotFound', 'config.json'],
  [
    'has one that is none',
    'TextClassification',
    'classifier',
    [1],
    'ModelInvalid',
    "config.json cannot be used: it has no 'id2label'",
  ],
  ['has no names', 'TextClassification', 'classifier', {}, 'ModelInvalid', "it has no 'id2label'"],
  [
    'has names without an order',
    'TextClassification',
    'classifier',
    { id2label: { a: 'b' } },
    'ModelInvalid',
    "each of '0', '1'",
  ],
  [
    'has more names than labels',
    'TextClassification',
    'classifier',
    { id2label: { 0: 'a', 1: 'b' } },
    'ModelInvalid',
    'an output of floats [-1, 2]',
  ],
  [
    'knows no entailment',
    'ZeroShot',
    'classifier',
    moods,
    'ModelInvalid',
    'the labels of this one are sad, glad, neither',
  ],
  ['gives three numbers', 'Rerank', 'classifier', undefined, 'ModelInvalid', 'an output of floats [-1, 1]'],
  ['gives tokens', 'Rerank', 'model', undefined, 'ModelInvalid', 'the task Rerank needs a model with an output'],
] as const)('a model that %s does not start', async (_, task, model, configuration, reason, message) => {
  const path = await repository('wordpiece', model, configuration);
  expect((await failToStart(...argumentsOf(path, task))).terminationMessage).toMatchObject({
    reason,
    message: expect.stringContaining(message),
  });
});

test.each([
  [['--task', 'Rerank', '--scoring', 'Softmax'], 'scoring Softmax needs several labels'],
  [['--task', 'ZeroShot', '--hypothesis', 'It is so.'], "the hypothesis 'It is so.' has no {} for the label"],
  [['--task', 'Chat'], 'Allowed choices are TextEmbedding, TextClassification, TokenClassification, ZeroShot'],
])('%j are refused', async (more, message) => {
  const { terminationMessage } = await failToStart('--model', textModel('reranker'), ...more);
  expect(terminationMessage).toMatchObject({
    reason: 'InvalidConfiguration',
    message: expect.stringContaining(message),
  });
});
