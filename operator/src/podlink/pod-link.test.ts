import { generateKeyPairSync } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { linkVersion } from '../../../contract/src/link.ts';
import { noMeasures } from '../../../contract/src/measures.ts';
import { linkKey } from './link-keys.ts';
import { createPodLink, type LinkedPod } from './pod-link.ts';

const key = linkKey(generateKeyPairSync('ed25519').privateKey, 0);
const pod = (name: string): LinkedPod => ({
  namespace: 'n',
  name,
  uid: name,
  ip: '127.0.0.1',
  key: 'n/iris',
  model: 'model-uid',
});

function setUp(answer: (name: string) => Promise<unknown>) {
  const calls = new Map<string, number>();
  const link = createPodLink({
    call: async ({ name }) => {
      calls.set(name, (calls.get(name) ?? 0) + 1);
      return answer(name);
    },
    keys: () => [key],
    wake: () => undefined,
    now: () => performance.now(),
    date: Date.now,
    random: Math.random,
    everyMilliseconds: 20,
    concurrency: 4,
  });
  return { link, callsTo: (name: string) => calls.get(name) ?? 0 };
}

const figures = {
  ...{ kind: 'figures', version: linkVersion, pod: 'u', nonce: 'n', clock: 1, table: null, revision: 'r', model: null },
  measures: noMeasures,
};

test('pods that do not answer wait in a lane of their own: nobody else waits for them', async () => {
  const { link, callsTo } = setUp(async (name) => {
    if (name === 'good') return figures;
    await sleep(50);
    throw new Error('no answer');
  });
  link.follow(pod('good'));
  for (let dead = 0; dead < 200; dead++) link.follow(pod(`dead-${dead}`));
  const running = link.run();
  // Each of them is tried once in the lane of all.
  await sleep(4000);
  const before = callsTo('good');
  await sleep(1000);
  // Every 20 ms, if nothing else were there; with the dead in between, once in 2.5 s.
  expect(callsTo('good') - before).toBeGreaterThan(10);
  expect(link.follow(pod('good')).kind).toBe('linked');
  link.close();
  await running;
});

test('a pod that serves no more is called no more, until it serves again', async () => {
  const { link, callsTo } = setUp(async () => figures);
  link.follow(pod('a'));
  const running = link.run();
  await sleep(200);
  link.rest('a');
  await sleep(50);
  const before = callsTo('a');
  await sleep(200);
  expect(callsTo('a')).toBe(before);
  expect(link.follow(pod('a')).kind).toBe('linked');
  await sleep(200);
  expect(callsTo('a')).toBeGreaterThan(before);
  link.close();
  await running;
});
