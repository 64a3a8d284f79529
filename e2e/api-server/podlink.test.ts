import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { publicKeysFile } from '../../contract/src/link.ts';
import { post } from '../../inference-pod/test/http.ts';
import { type RunningPod, startPod } from '../../inference-pod/test/running-pod.ts';
import type { LinkState } from '../../operator/src/observed.ts';
import { type LinkKey, linkKey, publicKeysOf } from '../../operator/src/podlink/link-keys.ts';
import { directCall } from '../../operator/src/podlink/pod-calls.ts';
import { createPodLink, type PodLink } from '../../operator/src/podlink/pod-link.ts';
import { repository } from '../cluster/cache.ts';
import { eventually } from '../eventually.ts';

/** Both sides of the pod link, each as it is. */
const model = join(repository, 'examples/models/iris/1.onnx');
const body = '{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}';
/** Taken as it is, this would make the operator ask for more memory than there is. */
const hostile = JSON.stringify({
  ...{ kind: 'figures', version: 1, pod: 'uid-1', nonce: 'n', clock: 1 },
  measures: { counters: {}, latency: { buckets: { length: 4e9 }, sum: 0 } },
});
const newKey = (made = 0) => linkKey(generateKeyPairSync('ed25519').privateKey, made);

let directory: string;
let keys: readonly LinkKey[];
let pod: RunningPod;
let link: PodLink;
let waked: string[];
let stranger: Server | undefined;

const startedPod = (port = '0') =>
  startPod('--model', model, '--pod-uid', 'uid-1', '--link-directory', directory, '--control-port', port);
/** As the kubelet does it: who reads meanwhile finds the old keys or the new, and never a half of them. */
const mount = async (published: readonly LinkKey[]) => {
  const beside = join(directory, 'next');
  await writeFile(beside, publicKeysOf(published));
  await rename(beside, join(directory, publicKeysFile));
};
const followed = (port: string) => {
  link = createPodLink({
    call: directCall(Number(port)),
    keys: () => keys,
    wake: (key) => waked.push(key),
    now: () => performance.now(),
    date: Date.now,
    random: Math.random,
    everyMilliseconds: 100,
  });
  link.tell('model-1', {
    table: { traffic: { canary: 5 } },
    intervalSeconds: undefined,
    hasLatency: false,
    isUrgent: false,
  });
  void link.run();
};
const state = () =>
  link.follow({ uid: 'uid-1', key: 'n/iris', model: 'model-1', namespace: 'n', name: 'iris-1', ip: '127.0.0.1' });
const becomes = (holds: (found: LinkState) => boolean) => eventually(async () => state(), holds);
const requests = () => link.measuresOf('model-1').counters.requests;
const portOf = ({ controlUrl }: RunningPod) => new URL(controlUrl).port;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-link-'));
  keys = [newKey()];
  waked = [];
  await mount(keys);
  pod = await startedPod();
});
afterEach(async () => {
  link.close();
  await pod.stop();
  stranger?.close();
  await rm(directory, { recursive: true });
});

test('a pod is greeted, told its table, and tells its model and what it has counted', async () => {
  followed(portOf(pod));
  expect(state()).toEqual({ kind: 'pending' });
  const linked = await becomes(({ kind }) => kind === 'linked');
  expect(linked).toMatchObject({
    figures: {
      table: { table: { traffic: { canary: 5 } } },
      model: { digest: expect.stringMatching(/^sha256:/), signature: { inputs: [{ name: 'X', datatype: 'FP32' }] } },
    },
  });
  expect(waked).toEqual(['n/iris']);
  for (let request = 0; request < 7; request++) await post(`${pod.url}/v2/models/1/infer`, body);
  await eventually(
    async () => requests(),
    (count) => count === 7,
  );
  // Figures change all the time: they are no reason for a pass.
  expect(waked).toHaveLength(1);
});

test('what is counted is exact over a restart, whose new life learns its table at the next call', async () => {
  followed(portOf(pod));
  await becomes(({ kind }) => kind === 'linked');
  for (let request = 0; request < 3; request++) await post(`${pod.url}/v2/models/1/infer`, body);
  await eventually(
    async () => requests(),
    (count) => count === 3,
  );
  const port = portOf(pod);
  await pod.stop();
  pod = await startedPod(port);
  for (let request = 0; request < 2; request++) await post(`${pod.url}/v2/models/1/infer`, body);
  await eventually(
    async () => requests(),
    (count) => count === 5,
  );
  expect(state()).toMatchObject({ kind: 'linked', figures: { table: { table: { traffic: { canary: 5 } } } } });
  link.forget('uid-1');
  expect(requests()).toBe(5);
});

test('an operator that was installed anew, with another key, works once the mount has it: no pod is restarted', async () => {
  followed(portOf(pod));
  await becomes(({ kind }) => kind === 'linked');
  keys = [newKey(1)];
  await becomes((found) => found.kind === 'unlinked' && found.why === 'KeyUnknown');
  await mount(keys);
  await becomes(({ kind }) => kind === 'linked');
});

test('a key that is renewed is no interruption: the old one signs until the pod has learnt the new', async () => {
  followed(portOf(pod));
  await becomes(({ kind }) => kind === 'linked');
  waked = [];
  const renewed = [newKey(1), ...keys];
  keys = renewed;
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(state().kind).toBe('linked');
  // Both are published, until nobody needs the old one any more.
  await mount(renewed);
  await new Promise((resolve) => setTimeout(resolve, 500));
  await mount(renewed.slice(0, 1));
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect([state().kind, waked]).toEqual(['linked', []]);
});

test('another leader goes on where the last one was, at once', async () => {
  followed(portOf(pod));
  await becomes(({ kind }) => kind === 'linked');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  link.close();
  followed(portOf(pod));
  expect(state()).toEqual({ kind: 'pending' });
  await eventually(
    async () => state(),
    ({ kind }) => kind !== 'pending',
  );
  expect(state()).toMatchObject({ kind: 'linked', figures: { table: { table: { traffic: { canary: 5 } } } } });
});

test('what is counted of a model goes with it, and does not come back with its last pods', async () => {
  followed(portOf(pod));
  await becomes(({ kind }) => kind === 'linked');
  await post(`${pod.url}/v2/models/1/infer`, body);
  await eventually(
    async () => requests(),
    (count) => count === 1,
  );
  link.forgetModel('model-1');
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect([requests(), link.followed]).toEqual([0, 0]);
});

test.each([
  ['of an image that knows no link', 404, 'nothing here'],
  ['of an image that is none of ours', 200, '<html>'],
  ['that answers what is no figure', 200, hostile],
  ['that answers without end', 200, 'x'.repeat(200_000)],
])('a pod %s is told of, and hurts nothing', async (_, status, text) => {
  stranger = createServer((_request, response) => response.writeHead(status).end(text));
  await new Promise<void>((resolve) => stranger?.listen(0, '127.0.0.1', resolve));
  followed(String((stranger.address() as AddressInfo).port));
  const found = await becomes(({ kind }) => kind === 'unlinked');
  expect(found).toMatchObject({ why: status === 404 || text === hostile ? 'NoLink' : 'Unreachable' });
});

test('a pod that cannot be reached is told of after some tries', async () => {
  followed('1');
  await becomes((found) => found.kind === 'unlinked' && found.why === 'Unreachable');
});
