import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { textModel } from '../../inference-pod/test/text-repository.ts';
import { eventually, type Scenario, startScenario } from './scenario.ts';

/** What is taken beside tensors (spec.runtime.task), by pods of the image: with what it has of libraries, and no more rights. */
const pod = join(import.meta.dirname, '../../inference-pod/test/models');
const penguins = join(import.meta.dirname, '../../examples/models/penguins');
const answers = JSON.parse(readFileSync(join(penguins, '1.answers.json'), 'utf8'));

const documentation = readFileSync(join(import.meta.dirname, '../../docs/handlers.md'), 'utf8');
const [, handler = ''] = /```js\n([\s\S]*?)```/.exec(documentation) ?? [];

let scenario: Scenario;
beforeAll(async () => {
  scenario = await startScenario({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  const configuration = { id2label: Object.fromEntries(Array.from({ length: 7 }, (_, at) => [at, `label ${at}`])) };
  const processing = { size: { width: 32, height: 32 }, image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
  await putModel('ranker', {
    'model.onnx': readFileSync(textModel('reranker')),
    'tokenizer.json': readFileSync(join(pod, 'texts/wordpiece/tokenizer.json')),
  });
  await putModel('animals', {
    'model.onnx': readFileSync(join(pod, 'pictures/first.onnx')),
    'config.json': Buffer.from(JSON.stringify(configuration)),
    'preprocessor_config.json': Buffer.from(JSON.stringify(processing)),
  });
  await putModel('flowers', {
    'model.onnx': readFileSync(exampleModel('iris', '1').path),
    'handler.mjs': Buffer.from(`${handler}\nimport './kinds.json' with { type: 'json' };`),
    'kinds.json': Buffer.from('[]'),
  });
  await scenario.apply('penguins.yaml');
  await ask('flowers', { handler: { files: ['kinds.json'] } });
  const hungry = `${handler.replace('export function preprocess', 'function asked')}
    const kept = [];
    export function preprocess(request) {
      if (request.query.get('eat') !== null) for (;;) kept.push(Buffer.alloc(2 ** 20, 'a'));
      return asked(request);
    }`;
  await putModel('boxed', {
    'model.onnx': readFileSync(exampleModel('iris', '1').path),
    'handler.mjs': Buffer.from(hungry),
  });
  await ask('boxed', { handler: { isolation: 'Container', resources: { limits: { memory: '160Mi' } } } });
  await ask('ranker', { task: 'Rerank', rerank: { scoring: 'Logits' } });
  await ask('animals', { task: 'ImageClassification', classification: { maxPixels: 10_000 } });
  for (const name of ['penguins', 'ranker', 'animals', 'flowers', 'boxed']) await scenario.waitReady(name, 120);
}, 400_000);
afterAll(() => scenario.end());

async function putModel(name: string, files: Readonly<Record<string, Buffer>>): Promise<void> {
  const binaryData = Object.fromEntries(Object.entries(files).map(([file, bytes]) => [file, bytes.toString('base64')]));
  await scenario.apply({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `${name}-files`, namespace: scenario.namespace },
    binaryData,
  });
}

async function ask(name: string, runtime: object): Promise<void> {
  await scenario.apply({
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name, namespace: scenario.namespace },
    spec: {
      model: { version: '1', uri: `configmap://${name}-files/model.onnx` },
      runtime,
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
    },
  });
}

async function post(name: string, path: string, body: object) {
  const service = `/api/v1/namespaces/${scenario.namespace}/services/${name}:http/proxy`;
  return JSON.parse(
    await scenario.kubectl(['create', '--raw', service + path, '-f', '-'], { input: JSON.stringify(body) }),
  );
}

/** A square of black pixels. */
function blankPng(edge: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(edge, 0);
  head.writeUInt32BE(edge, 4);
  // Eight bits for each of three colours.
  head.set([8, 2], 8);
  const rows = deflateSync(Buffer.alloc(edge * (3 * edge + 1)));
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]);
}

test('rows of named columns are answered as scikit-learn does', async () => {
  const { predictions } = await post('penguins', '/invocations', {
    dataframe_split: { columns: answers.columns, data: answers.rows },
  });
  expect(predictions.map(({ label }: { label: string }) => label)).toEqual(answers.outputs.label);
});

test('documents are ranked, and scored as the spec says', async () => {
  const request = {
    model: 'ranker',
    query: 'what carries ships',
    documents: ['a slipway', 'ships ships ships ships', 'the water'],
  };
  const { results } = await post('ranker', '/v1/rerank', request);
  const scores: number[] = results.map(({ relevance_score: score }: { relevance_score: number }) => score);
  expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  expect(scores.some((score) => score < 0 || score > 1)).toBe(true);
});

test('pictures are decoded, and large ones are not', async () => {
  const picture = (edge: number) => blankPng(edge).toString('base64');
  const { data } = await post('animals', '/v1/classify', { model: 'animals', input: [{ image: picture(90) }] });
  expect(data[0].predictions).toHaveLength(5);
  const refused = await post('animals', '/v1/classify', { model: 'animals', input: picture(110) }).catch(String);
  // Of an answer that is no success, kubectl tells no more.
  expect(refused).toContain('BadRequest');
});

test('a version that does not take what clients send is not rolled out where the contract is to be kept', async () => {
  const spec = { validation: { contract: 'Backward' }, runtime: null, model: { version: '2' } };
  await scenario.kubectl(['patch', 'mdeploy', 'ranker', '--type', 'merge', '-p', JSON.stringify({ spec })]);
  const message = await eventually(
    () => scenario.field('mdeploy/ranker', '{.status.conditions[?(@.type=="Ready")].message}'),
    (text) => text.includes('the task Rerank is gone'),
    120,
  );
  expect(message).toContain('set spec.validation.contract to Ignore');
  expect((await post('ranker', '/v1/rerank', { model: 'ranker', query: 'a', documents: ['b'] })).results).toHaveLength(
    1,
  );
});

test("measures of a flower, by the model's own handler", async () => {
  const answer = await post('flowers', '/predict', { sepal: [5.1, 3.5], petal: [1.4, 0.2] });
  expect(answer).toEqual({ kind: 'setosa', sure: expect.any(Number), measures: 4 });
});

test('a handler in a container of its own ends that alone when it takes too much memory', async () => {
  const flower = { sepal: [5.1, 3.5], petal: [1.4, 0.2] };
  const named = { kind: 'setosa', sure: expect.any(Number), measures: 4 };
  expect(await post('boxed', '/predict', flower)).toEqual(named);
  await post('boxed', '/predict?eat', flower).catch(() => undefined);
  const restarts = (statuses: string, container: string) =>
    scenario.field(
      'pods',
      `{.items[?(@.metadata.labels.serving\\.slipway\\.dev/model-deployment=="boxed")].status.${statuses}[?(@.name=="${container}")].restartCount}`,
    );
  // The kubelet may have the kernel end all of a container, or the process that takes the most.
  const told = async () => {
    const log = await scenario.kubectl(['logs', 'deployment/boxed', '-c', 'handler']);
    return (
      log.includes('the process of handler.mjs ended') || (await restarts('initContainerStatuses', 'handler')) !== '0'
    );
  };
  await eventually(told, (isTold) => isTold);
  const answered = () => post('boxed', '/predict', flower).catch(() => undefined);
  expect(await eventually(answered, (answer) => answer !== undefined)).toEqual(named);
  expect(await restarts('containerStatuses', 'model')).toBe('0');
}, 120_000);
