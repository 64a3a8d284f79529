import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { pythonWith } from './clients/environment.ts';
import { get, post } from './http.ts';
import { testModel } from './models.ts';
import { failToStart, type RunningPod, startPod, startPodIn } from './running-pod.ts';

const run = promisify(execFile);
const penguins = join(import.meta.dirname, '../../examples/models/penguins');

interface Manifest {
  readonly spec: { readonly runtime: { readonly tabular: { readonly columns: unknown } } };
}

interface Answers {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
  readonly outputs: { readonly label: readonly string[]; readonly probabilities: readonly (readonly number[])[] };
}

const answersOf = (version: string): Answers =>
  JSON.parse(readFileSync(join(penguins, `${version}.answers.json`), 'utf8'));

const categories = JSON.stringify([
  ...['bill_length_mm', 'bill_depth_mm', 'flipper_length_mm', 'body_mass_g'].map((name) => ({ name })),
  { name: 'island', categories: ['Biscoe', 'Dream', 'Torgersen'] },
  { name: 'sex', categories: ['female', 'male'] },
]);

const argumentsOf = (version: string, ...more: string[]) => [
  ...['--model', join(penguins, `${version}.onnx`), '--model-name', 'penguins', '--task', 'Tabular', ...more],
];

describe.each([
  ['an input for each column', '1', []],
  ['one input of numbers', '2', ['--columns', categories]],
  ['batching', '1', ['--batch-max-size', '256', '--batch-max-delay-milliseconds', '5']],
])('a model with %s', (_, version, more) => {
  let pod: RunningPod;
  beforeAll(async () => {
    pod = await startPod(...argumentsOf(version, ...more));
  });
  afterAll(() => pod.stop());
  const answers = answersOf(version);
  const { columns, rows } = answers;
  const records = rows.map((row) => Object.fromEntries(row.map((value, at) => [columns[at], value])));
  const csv = [columns, ...rows].map((row) => row.join(',')).join('\n');
  const ask = (body: object) => post(`${pod.url}/invocations`, body);
  const askCsv = async (body: string) => {
    const headers = { 'content-type': 'text/csv; charset=utf-8' };
    const response = await fetch(`${pod.url}/invocations`, { method: 'POST', headers, body });
    return { status: response.status, json: await response.json() };
  };

  test.each<[string, () => Promise<{ status: number; json: unknown }>]>([
    ['dataframe_split', () => ask({ dataframe_split: { columns, data: rows } })],
    ['dataframe_records', () => ask({ dataframe_records: records })],
    ['instances', () => ask({ instances: rows })],
    [
      'inputs',
      () => ask({ inputs: Object.fromEntries(columns.map((name, at) => [name, rows.map((row) => row[at])])) }),
    ],
    ['CSV', () => askCsv(csv)],
  ])('answers as scikit-learn does: %s', async (_form, asking) => {
    const { status, json } = await asking();
    expect(status).toBe(200);
    const { predictions } = json as { predictions: { label: string; probabilities: number[] }[] };
    expect(predictions.map(({ label }) => label)).toEqual(answers.outputs.label);
    const worst = predictions.map(({ probabilities }, row) =>
      Math.max(...probabilities.map((share, at) => Math.abs(share - (answers.outputs.probabilities[row]?.[at] ?? 9)))),
    );
    expect(Math.max(...worst)).toBeLessThan(1e-6);
    expect(predictions.length).toBeGreaterThan(200);
  });

  test('answers many at once, each its own', async () => {
    const asked = Array.from({ length: 60 }, (_, at) => 4 * at);
    const given = await Promise.all(asked.map((at) => ask({ instances: rows.slice(at, at + 1 + (at % 3)) })));
    for (const [place, at] of asked.entries())
      expect(given[place]?.json.predictions.map(({ label }: { label: string }) => label)).toEqual(
        answers.outputs.label.slice(at, at + 1 + (at % 3)),
      );
  });

  test('tells of its columns, and counts what it answers', async () => {
    const { paths } = (await get(`${pod.url}/openapi.json`)).json;
    const { example, schema } = paths['/invocations'].post.requestBody.content['application/json'];
    expect(Object.keys(schema.anyOf[0].properties.dataframe_records.items.properties)).toEqual(columns);
    expect((await ask(example)).status).toBe(200);
    expect((await get(`${pod.controlUrl}/metrics`)).text).toContain('{route="/invocations"}');
    expect((await get(`${pod.url}/invocations`)).status).toBe(405);
  });

  test('refuses as the clients of MLflow read it', async () => {
    const { status, json } = await ask({ dataframe_records: [{ ...records[0], body_mass_g: 'heavy' }] });
    expect([status, json]).toEqual([
      400,
      { error_code: 'BAD_REQUEST', message: expect.stringContaining(`row 0, column 'body_mass_g': is "heavy"`) },
    ]);
    const broken = await askCsv('a,b\n1');
    expect([broken.status, broken.json]).toMatchObject([400, { error_code: 'BAD_REQUEST' }]);
  });

  test('is not held up, nor blown up, by rows that are large', async () => {
    const wide = `${columns.join(',')},x\n${'1,2,3,4,Dream,male,y\n'.repeat(60_000)}`;
    const [large, ...small] = await Promise.all([
      askCsv(wide),
      ...Array.from({ length: 20 }, () => ask({ instances: rows.slice(0, 1) })),
    ]);
    expect(large).toMatchObject({ status: 200 });
    expect(small.map(({ status }) => status)).toEqual(Array(20).fill(200));
    const commas = await askCsv(`${columns.join(',')}\n${','.repeat(3_000_000)}`);
    expect(commas.status).toBe(413);
  });
});

test('the documentation says it', async () => {
  const python = await pythonWith(join(import.meta.dirname, 'clients/tasks.txt'));
  const page = readFileSync(join(import.meta.dirname, '../../docs/requests.md'), 'utf8');
  const scripts = Array.from(page.matchAll(/^```python\n([\s\S]*?)^```/gm), ([, script = '']) => script);
  const script = scripts.find((each) => each.includes('http://penguins')) ?? '';
  const manifests = Array.from(page.matchAll(/^```yaml\n([\s\S]*?)^```/gm), ([, text = '']) => text);
  const manifest = load(manifests.find((each) => each.includes('task: Tabular')) ?? '') as Manifest;
  const columns = JSON.stringify(manifest.spec.runtime.tabular.columns);
  const pod = await startPod(...argumentsOf('2', '--columns', columns));
  try {
    const options = { cwd: join(import.meta.dirname, '../..') };
    const { stdout } = await run(python, ['-c', script.replaceAll('http://penguins', pod.url)], options);
    expect(stdout).toMatch(/^Adelie \[0\.\d+, 0\.\d+, [\d.e-]+\]\n344\n$/);
  } finally {
    await pod.stop();
  }
}, 240_000);

test.each([
  [['--columns', 'a,b'], "the column 'a' is none of the model's inputs", 'ModelInvalid'],
  [['--columns', '[{"name": "sex", "categories": ["male"]}]'], 'takes its words themselves', 'ModelInvalid'],
  [['--columns', 'a,a'], "the column 'a' is named twice", 'InvalidConfiguration'],
  [['--columns', '[{"name": "a", "categories": ["b", "b"]}]'], 'no list of different words', 'InvalidConfiguration'],
  [['--columns', '[1'], 'JSON', 'InvalidConfiguration'],
  [['--columns', '[{}]'], 'a column has no name', 'InvalidConfiguration'],
])('%j are refused', async (more, message, reason) => {
  expect((await failToStart(...argumentsOf('1', ...more))).terminationMessage).toMatchObject({
    reason,
    message: expect.stringContaining(message),
  });
});

test('a model of pictures is none of rows', async () => {
  const failed = await failToStart('--model', testModel('types'), '--task', 'Tabular');
  expect(failed.terminationMessage).toMatchObject({ reason: 'ModelInvalid' });
});

test('a model may have many words for its categories', async () => {
  const words = (column: string) => Array.from({ length: 256 }, (_, at) => `${column} ${at} is a word of some length`);
  const columns = JSON.stringify([
    ...Array.from({ length: 5 }, (_, at) => ({ name: `column ${at}`, categories: words(String(at)) })),
    { name: 'last' },
  ]);
  expect(columns.length).toBeGreaterThan(40_000);
  const failed = await failToStart(...argumentsOf('2', '--columns', columns));
  expect(failed.terminationMessage).toMatchObject({ message: expect.stringContaining('SLIPWAY_TASK_COLUMNS instead') });
  const pod = await startPodIn({ environment: { SLIPWAY_TASK_COLUMNS: columns } }, ...argumentsOf('2'));
  try {
    const { json } = await post(`${pod.url}/invocations`, {
      inputs: [[...Array.from({ length: 5 }, (_, at) => words(String(at))[at] ?? ''), null]],
    });
    expect(json.predictions).toHaveLength(1);
  } finally {
    await pod.stop();
  }
});

test('a model without names takes rows as lists', async () => {
  const iris = join(penguins, '../iris/1.onnx');
  const pod = await startPod('--model', iris, '--model-name', 'iris', '--task', 'Tabular');
  try {
    const { json } = await post(`${pod.url}/invocations`, {
      inputs: [
        [5.1, 3.5, 1.4, 0.2],
        [6.7, 3.1, 5.6, 2.4],
      ],
    });
    expect(json.predictions.map(({ label }: { label: number }) => label)).toEqual([0, 2]);
    const { example } = (await get(`${pod.url}/openapi.json`)).json.paths['/invocations'].post.requestBody.content[
      'application/json'
    ];
    expect((await post(`${pod.url}/invocations`, example)).status).toBe(200);
    const named = await post(`${pod.url}/invocations`, { dataframe_records: [{ a: 1 }] });
    expect(named.json.message).toContain('have no names');
  } finally {
    await pod.stop();
  }
});
