import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
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

/** Tokenizers as real models have them, by what theirs says otherwise. */
const variants: Readonly<Record<string, { readonly of: string; readonly changes: object }>> = {
  'one that strips': {
    of: 'unigram',
    changes: {
      normalizer: {
        type: 'Sequence',
        normalizers: [{ type: 'Strip', strip_left: true, strip_right: true }, { type: 'NFKC' }],
      },
    },
  },
  'one that puts a space before the text': {
    of: 'bpe',
    changes: {
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    },
  },
  'one that leaves letters as they are': {
    of: 'wordpiece',
    changes: {
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: true,
        strip_accents: null,
        lowercase: false,
      },
    },
  },
};

async function variant(name: string): Promise<string> {
  const { of, changes } = variants[name] ?? { of: name, changes: {} };
  const path = await repository(of);
  const file = join(path, 'tokenizer.json');
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...changes }));
  return path;
}

test.each([
  ...Object.keys(variants).flatMap((name) => [[name, 'Simple', 512] as const]),
  ['wordpiece', 'Simple', 512],
  ['wordpiece', 'First', 24],
  ['bpe', 'Simple', 2048],
  ['bpe', 'First', 512],
  ['unigram', 'Simple', 512],
  ['unigram', 'First', 512],
] as const)(
  'texts are taken apart by %s and put together by %s as Python does',
  async (tokenizer, strategy, most) => {
    const path = await variant(tokenizer);
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

test('spaces of which one is made are no hindrance', async () => {
  const path = await repository('unigram');
  const file = join(path, 'tokenizer.json');
  const spaces = { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' };
  const definition = { ...JSON.parse(await readFile(file, 'utf8')), normalizer: spaces };
  await writeFile(file, JSON.stringify(definition));
  const pod = await startPod(...argumentsOf(path));
  try {
    const of = async (input: string) =>
      (await post(`${pod.url}/v1/entities`, { model: 'names', input })).json.data[0].entities;
    const [one, many] = [await of('the fox and ships'), await of('the    fox  and ships')];
    expect(many.map(({ label, score }: { label: string; score: number }) => [label, score])).toEqual(
      one.map(({ label, score }: { label: string; score: number }) => [label, score]),
    );
    const last = many.at(-1);
    expect(last.text).toBe(one.at(-1).text.replace('the fox', 'the    fox').replace('fox and', 'fox  and'));
  } finally {
    await pod.stop();
  }
});

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
    ['marks without end', { input: `a${'\u0301'.repeat(300)}` }, "'input' has more than 256 marks on one character"],
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
