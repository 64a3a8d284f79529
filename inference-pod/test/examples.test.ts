import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { cached, pythonWith } from './clients/environment.ts';
import { post } from './http.ts';
import { startPod } from './running-pod.ts';

/** Models that other people have published, in the folders and by the commands of examples/README.md and examples/ocr/README.md. */
const run = promisify(execFile);
const repository = join(import.meta.dirname, '../..');
const clients = join(import.meta.dirname, 'clients');
let python: string;
let folder: string;
let documentation: string;
beforeAll(async () => {
  python = await pythonWith(join(clients, 'tasks.txt'));
  folder = await mkdtemp(join(tmpdir(), 'slipway-examples-'));
  documentation = (
    await Promise.all(
      ['README.md', 'ocr/README.md'].map((page) => readFile(join(repository, 'examples', page), 'utf8')),
    )
  ).join('\n');
}, 240_000);
afterAll(() => rm(folder, { recursive: true }));

const collector = join(repository, 'examples/collect.py');

async function collected(name: string): Promise<string> {
  return cached(`example-${name}`, [collector], async (partial) => {
    await run(python, [collector, name, partial]);
  });
}

/** The arguments that the documentation gives to `npm run serve` for a model, which is in this folder. */
function documented(name: string, path: string): string[] {
  const line = documentation.split('\n').find((one) => one.includes(`--model examples/collected/${name}/`));
  const [, args = ''] = /^npm run serve -- (.*)$/.exec(line ?? '') ?? [];
  return args.replace(`examples/collected/${name}`, path).split(' ');
}

test('an embedder with the tokenizer of its folder gives the vectors that Python makes', async () => {
  const path = await collected('embedder');
  const pod = await startPod(...documented('embedder', path));
  try {
    const args = [pod.url, join(path, 'model.onnx'), join(path, 'tokenizer.json'), 'Mean', '128'];
    const found = JSON.parse((await run(python, [join(clients, 'texts.py'), ...args])).stdout);
    expect(found).toMatchObject({ wrong: [] });
    expect(found.texts).toBeGreaterThan(200);
    // Its numbers of 8 bits are scaled by what is computed together with them.
    expect(found.worst).toBeLessThan(0.03);
    const { json } = await post(`${pod.url}/v1/embeddings`, {
      model: 'embedder',
      input: ['a boat', 'a ship', 'a stone'],
    });
    const [boat, ship, stone]: number[][] = json.data.map(({ embedding }: { embedding: number[] }) => embedding);
    const likeness = (other: number[] = []) => (boat ?? []).reduce((sum, one, at) => sum + one * (other[at] ?? 0), 0);
    expect(likeness(ship)).toBeGreaterThan(likeness(stone) + 0.2);
  } finally {
    await pod.stop();
  }
}, 240_000);

describe('exports of', () => {
  const exports = join(repository, 'examples/exports');

  /** How far the answers of a pod are from what the library has answered itself. */
  async function distance(model: string, answers: string): Promise<number> {
    const { inputs, outputs } = JSON.parse(await readFile(answers, 'utf8'));
    const pod = await startPod('--model', model, '--model-name', 'digits');
    try {
      const { json } = await post(`${pod.url}/v2/models/digits/infer`, { inputs });
      const given = new Map(json.outputs.map((output: { name: string; data: number[] }) => [output.name, output.data]));
      const differences = Object.entries<number[] | number[][]>(outputs).flatMap(([name, expected]) => {
        const data = given.get(name) as number[];
        expect(data.length).toBe(expected.flat().length);
        return expected.flat().map((value, at) => Math.abs(value - Number(data[at])));
      });
      return Math.max(...differences);
    } finally {
      await pod.stop();
    }
  }

  test.each(['pytorch', 'tensorflow', 'xgboost'])('%s answer as it does itself', async (name) => {
    const [model, answers] = [`${name}.onnx`, `${name}.answers.json`].map((file) => join(exports, file));
    expect(await distance(model ?? '', answers ?? '')).toBeLessThan(1e-5);
  });

  test('XGBoost are made by the script that is beside them', async () => {
    const own = await pythonWith(join(exports, 'requirements/xgboost.txt'));
    await cp(join(repository, 'examples'), join(folder, 'examples'), { recursive: true });
    const there = join(folder, 'examples/exports');
    for (const made of ['xgboost.onnx', 'xgboost.answers.json']) await rm(join(there, made));
    await run(own, ['-B', join(there, 'xgboost_trees.py')]);
    expect(await distance(join(there, 'xgboost.onnx'), join(there, 'xgboost.answers.json'))).toBeLessThan(1e-5);
  }, 240_000);
});

describe('pages', () => {
  interface Page {
    readonly name: string;
    readonly turn: number;
    readonly lines: readonly string[];
  }
  let pages: readonly Page[];
  beforeAll(async () => {
    pages = JSON.parse((await run(python, [join(clients, 'pages.py'), folder])).stdout);
  });
  const send = async (url: string, { name }: Page) => {
    const body = new Uint8Array(await readFile(join(folder, name)));
    const type = name.endsWith('.jpg') ? 'image/jpeg' : 'image/png';
    const answer = await fetch(url, { method: 'POST', body, headers: { 'content-type': type } });
    return { status: answer.status, json: JSON.parse(await answer.text()) };
  };

  /** The recognizer, which knows Chinese first, sees few of them. */
  const withoutSpaces = (text: string) => text.replaceAll(' ', '');

  test('which way up they are is told', async () => {
    const pod = await startPod(...documented('orientation', await collected('orientation')));
    try {
      const found = await Promise.all(
        pages.map(async (page) => {
          const { json } = await send(`${pod.url}/v1/classify`, page);
          return json.data[0].prediction;
        }),
      );
      const right = found.filter((label, at) => label === String(pages[at]?.turn));
      expect(right.length).toBeGreaterThanOrEqual(0.9 * pages.length);
    } finally {
      await pod.stop();
    }
  }, 120_000);

  test('what stands on them is read by three models behind one handler', async () => {
    const path = join(folder, 'ocr');
    await cp(await collected('ocr'), path, { recursive: true });
    const bundle = join(repository, 'node_modules/.bin/esbuild');
    const { build }: { build: string } = JSON.parse(
      await readFile(join(repository, 'examples/ocr/package.json'), 'utf8'),
    ).scripts;
    const args = build.split(' ').slice(1);
    await run(
      bundle,
      args.map((one) => one.replace('../collected/ocr', path)),
      { cwd: join(repository, 'examples/ocr') },
    );
    const pod = await startPod(...documented('ocr', path));
    try {
      let missing = 0;
      for (const page of pages) {
        const { status, json } = await send(`${pod.url}/predict`, page);
        const found: string[] = json.lines.map(({ text }: { text: string }) => withoutSpaces(text));
        const lines = page.lines.map(withoutSpaces);
        expect([status, found]).toEqual([200, lines.filter((line) => found.includes(line))]);
        missing += lines.length - found.length;
      }
      // Of lines that stand on their heads, the model of directions is not always sure.
      expect(missing).toBeLessThanOrEqual(0.05 * pages.flatMap(({ lines }) => lines).length);
      for (const body of [new Uint8Array(100), new Uint8Array(0), Uint8Array.of(0xff, 0xd8, 0xff)])
        expect((await fetch(`${pod.url}/predict`, { method: 'POST', body })).status).toBe(400);
    } finally {
      await pod.stop();
    }
  }, 240_000);
});
