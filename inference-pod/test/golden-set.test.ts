import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { post } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { failToStart, startPod, startPodIn } from './running-pod.ts';

const iris = exampleModel('iris', '1').path;
const request = { inputs: [{ name: 'X', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }] };
const probabilities = { name: 'probabilities', datatype: 'FP32', shape: [1, 3] };

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-test-'));
});
afterAll(() => rm(directory, { recursive: true }));

let written = 0;
async function write(set: unknown) {
  const path = join(directory, `golden-${written++}.json`);
  const text = typeof set === 'string' ? set : JSON.stringify(set);
  await writeFile(path, text);
  return { path, sha256: createHash('sha256').update(text).digest('hex') };
}

const failure = async (model: string, path: string, ...more: string[]) =>
  (await failToStart('--model', model, '--golden-set', path, ...more)).terminationMessage;

test('a pod that answers as its golden set says becomes ready; the answer of a pod can stand in it as it is', async () => {
  const first = await startPod('--model', iris);
  const response = (await post(`${first.url}/v2/models/1/infer`, request)).json;
  await first.stop();
  const { path, sha256 } = await write({ requests: [{ name: 'setosa', request, response }] });
  const pod = await startPod('--model', iris, '--golden-set', path, '--golden-set-sha256', sha256);
  await pod.stop();
  expect(pod.logs).toContainEqual(
    expect.objectContaining({ msg: 'the model answers as the golden set says', requests: 1 }),
  );
});

test('a pod that answers otherwise says in what, and does not become ready', async () => {
  const { path } = await write({
    requests: [
      { name: 'setosa', request, response: { outputs: [{ ...probabilities, data: [0.9, 0.03, 0] }] } },
      {
        request,
        response: { outputs: [{ name: 'label', datatype: 'INT64', shape: [1], data: [1] }] },
      },
    ],
  });
  const { reason, message } = Object(await failure(iris, path));
  expect(reason).toBe('GoldenSetFailed');
  expect(message).toContain('the model does not answer 2 requests as the golden set says');
  expect(message).toMatch(
    /request 'setosa': output 'probabilities' is 0.96\d+ at element 0, expected 0.8999\d+ within/,
  );
  expect(message).toContain("request requests[1]: output 'label' is 0 at element 0, expected 1");
}, 20_000);

test('tolerances are of the set or of a request', async () => {
  const response = { outputs: [{ ...probabilities, data: [0.9, 0.03, 0] }] };
  const { path } = await write({ tolerance: { absolute: 0.1 }, requests: [{ request, response }] });
  const pod = await startPod('--model', iris, '--golden-set', path);
  await pod.stop();
  const narrow = await write({
    requests: [{ request, response, tolerance: { absolute: 0.01, relative: 0 } }],
    tolerance: { absolute: 0.1 },
  });
  expect(await failure(iris, narrow.path)).toMatchObject({ reason: 'GoldenSetFailed' });
}, 20_000);

test('NaN and integers of 64 bits are compared as they are', async () => {
  const nan = { name: 'x', datatype: 'FP32', shape: [2], data: [-1, 1] };
  const set = (first: string) =>
    `{"requests":[{"request":${JSON.stringify({ inputs: [nan] })},"response":{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[${first},0]}]}}]}`;
  const good = await write(set('NaN'));
  const pod = await startPod('--model', testModel('nan'), '--golden-set', good.path);
  await pod.stop();
  const bad = await write(set('0'));
  expect(await failure(testModel('nan'), bad.path)).toMatchObject({
    message: expect.stringContaining("output 'y' is NaN at element 0, expected 0"),
  });
}, 20_000);

test.each<[string, unknown, string]>([
  ['no JSON', '{', 'cannot be used: the body is not JSON'],
  ['no requests', {}, 'requests must be a list of at least one request'],
  ['a request without a body', { requests: [{}] }, 'requests[0].request must be the body of an inference request'],
  ['a request without an answer', { requests: [{ request }] }, 'requests[0].response must have outputs'],
  [
    'an output that the model does not have',
    { requests: [{ request, response: { outputs: [{ name: 'z', datatype: 'FP32', shape: [1], data: [1] }] } }] },
    "output 'z': the model has no such output, it has 'label', 'probabilities'",
  ],
  [
    'a request that the model refuses',
    {
      requests: [
        { name: 'empty', request: { inputs: [] }, response: { outputs: [{ ...probabilities, data: [1, 0, 0] }] } },
      ],
    },
    "request 'empty': was refused: input 'X': missing",
  ],
  ['a misspelt tolerance', { tolerence: {}, requests: [] }, "has requests and tolerance, not 'tolerence'"],
  ['two lists of requests', '{"requests":[],"requests":[]}', "'requests' is given twice"],
  ['an endless tolerance', '{"tolerance":{"absolute":1e999},"requests":[]}', 'tolerance.absolute must be a number'],
  ['a misspelt request', { requests: [{ requst: {} }] }, "has name, request, response and tolerance, not 'requst'"],
  [
    'a wrong tolerance',
    { tolerance: { absolute: -1 }, requests: [] },
    'tolerance.absolute must be a number that is not negative',
  ],
])('a golden set with %s ends the start with an error that says so', async (_name, set, message) => {
  const { path } = await write(set);
  expect(await failure(iris, path)).toEqual({ reason: 'GoldenSetFailed', message: expect.stringContaining(message) });
});

test('a set with another digest, and one that is not there, end the start', async () => {
  const { path } = await write({ requests: [] });
  expect(await failure(iris, path, '--golden-set-sha256', '0'.repeat(64))).toEqual({
    reason: 'GoldenSetFailed',
    message: expect.stringContaining('not 0000'),
  });
  expect(await failure(iris, join(directory, 'none.json'))).toEqual({
    reason: 'GoldenSetFailed',
    message: expect.stringContaining('the golden set cannot be read'),
  });
}, 20_000);

test('a preflight pod waits for a set that is not there yet, or not the right one', async () => {
  const path = join(directory, 'late.json');
  const output = { name: 'label', datatype: 'INT64', shape: [1], data: [0] };
  const text = JSON.stringify({ requests: [{ request, response: { outputs: [output] } }] });
  const sha256 = createHash('sha256').update(text).digest('hex');
  const { promise: waited, resolve } = Promise.withResolvers<void>();
  const onLine = ({ msg }: { readonly msg?: unknown }) => {
    if (msg === 'the golden set is waited for') resolve();
  };
  const starting = startPodIn(
    { environment: { SLIPWAY_PREFLIGHT: '1' }, onLine },
    ...['--model', iris, '--golden-set', path, '--golden-set-sha256', sha256],
  );
  await waited;
  await writeFile(path, 'another');
  await sleep(1500);
  await writeFile(path, text);
  await (await starting).stop();
}, 60_000);

test('a pod of a revision that was healthy once only warns', async () => {
  await writeFile(join(directory, 'healthy-revisions.json'), '["iris-good"]');
  const link = ['--link-directory', directory, '--golden-set', join(directory, 'none.json')];
  const pod = await startPod('--model', iris, '--revision', 'iris-good', ...link);
  await pod.stop();
  expect(pod.logs).toContainEqual(
    expect.objectContaining({ level: 40, reason: expect.stringContaining('cannot be read') }),
  );
  const other = await failToStart('--model', iris, '--revision', 'iris-new', ...link);
  expect(other.terminationMessage).toMatchObject({ reason: 'GoldenSetFailed' });
}, 20_000);
