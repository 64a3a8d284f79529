import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { post } from '../../inference-pod/test/http.ts';
import { startPod } from '../../inference-pod/test/running-pod.ts';
import { modelDeploymentResource } from '../../operator/src/controller/caches.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { makeNamespace, testClient } from './test-cluster.ts';

const repository = join(import.meta.dirname, '../..');
const pages = ['README.md', 'CONTRIBUTING.md', ...readdirSync(join(repository, 'docs')).map((name) => `docs/${name}`)];
const texts = pages.map((page) => [page, readFileSync(join(repository, page), 'utf8')] as const);

/** Their commands are run beside what they serve. */
const examples = ['examples/README.md', 'examples/ocr/README.md'].map(
  (page) => [page, readFileSync(join(repository, page), 'utf8')] as const,
);

/** The fenced blocks of one language, each with where it is from. */
function blocks(language: string, from = texts): (readonly [string, string])[] {
  return from.flatMap(([page, text]) =>
    Array.from(
      text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm')),
      (match, index) => [`${page} ${index + 1}`, match[1] ?? ''] as const,
    ),
  );
}

const client = testClient();
let namespace: string;
beforeAll(async () => {
  namespace = await makeNamespace(client);
});

describe('every manifest in the documentation is accepted', () => {
  test.each([...blocks('yaml'), ...blocks('yaml', examples)])('%s', async (_where, text) => {
    const body = load(text) as object;
    await client.call('POST', pathOf(modelDeploymentResource, namespace), {
      body,
      query: { dryRun: 'All', fieldValidation: 'Strict' },
    });
  });

  test('there are some', () => expect(blocks('yaml').length).toBeGreaterThanOrEqual(3));
});

test('every request in the documentation is answered', async () => {
  const pod = await startPod('--model', join(repository, 'examples/models/iris/1.onnx'), '--model-name', 'iris');
  try {
    const fromCurl = blocks('sh').flatMap(([where, text]) =>
      // What a handler takes is tried with that handler.
      Array.from(text.matchAll(/-d '([^']+)'(?! \S+\/predict)/g), (match) => [where, match[1] ?? ''] as const),
    );
    const requests = [...blocks('json').filter(([, text]) => !isGoldenSet(text)), ...fromCurl];
    expect(requests.length).toBeGreaterThanOrEqual(2);
    for (const [where, body] of requests) {
      expect({ where, ...(await post(`${pod.url}/v2/models/iris/infer`, body)) }).toMatchObject({ where, status: 200 });
    }
  } finally {
    await pod.stop();
  }
});

const isGoldenSet = (text: string) => text.includes('"requests"');

test('every golden set in the documentation is what the model answers', async () => {
  const sets = blocks('json').filter(([, text]) => isGoldenSet(text));
  expect(sets.length).toBeGreaterThanOrEqual(1);
  const directory = await mkdtemp(join(tmpdir(), 'slipway-test-'));
  try {
    for (const [, text] of sets) {
      const file = join(directory, 'golden.json');
      await writeFile(file, text);
      const pod = await startPod('--model', join(repository, 'examples/models/iris/1.onnx'), '--golden-set', file);
      await pod.stop();
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('every npm script in the documentation exists, and every script is in the README', () => {
  const { scripts }: { scripts: Record<string, string> } = JSON.parse(
    readFileSync(join(repository, 'package.json'), 'utf8'),
  );
  const named = new Set(
    texts.flatMap(([, text]) => Array.from(text.matchAll(/npm run ([a-z0-9:]+)/g), (match) => match[1] ?? '')),
  );
  expect([...named].filter((name) => scripts[name] === undefined)).toEqual([]);
  const parts = new Set(['test', 'test:api-server', 'test:scenarios', 'test:cluster']);
  expect(Object.keys(scripts).filter((name) => !named.has(name) && !parts.has(name))).toEqual([]);
});

test('every folder of sources says what it is for, in a few lines', () => {
  const folders = ['operator/src', 'inference-pod/src', 'e2e'].flatMap((root) =>
    readdirSync(join(repository, root), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
      .map(({ name }) => `${root}/${name}`),
  );
  expect(folders.length).toBeGreaterThan(10);
  for (const folder of folders) {
    const lines = readFileSync(join(repository, folder, 'README.md'), 'utf8')
      .trim()
      .split('\n');
    expect({ folder, lines: lines.length }).toEqual({ folder, lines: expect.any(Number) });
    expect(lines.length).toBeLessThanOrEqual(5);
  }
});

test('every link to a file leads to one', () => {
  for (const [page, text] of [...texts, ...examples]) {
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      const file = join(repository, page, '..', target);
      expect(() => readdirSync(join(file, '..')).includes(file.split('/').at(-1) ?? '')).not.toThrow();
      expect(readdirSync(join(file.replace(/\/$/, ''), '..'))).toContain(file.replace(/\/$/, '').split('/').at(-1));
    }
  }
});
