import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from '@jest/globals';
import type { CallOptions, KubeClient } from '../kube/client.ts';
import { linkKey, loadLinkKeys, publicKeysOf, rotated } from './link-keys.ts';

const day = 86_400_000;
const make = () => generateKeyPairSync('ed25519').privateKey;
const key = (made: number) => linkKey(make(), made);

test('the first key is made, and kept for as long as it is fresh', () => {
  const first = rotated([], 100 * day, make);
  expect(first.keys).toHaveLength(1);
  expect(Object.keys(first.changes)).toEqual([`${100 * day}.pem`]);
  expect(rotated(first.keys, 150 * day, make)).toEqual({ keys: first.keys, changes: {} });
});

test('an old key is followed by a new one, and forgotten once every pod has learnt that', () => {
  const old = key(0);
  const { keys } = rotated([old], 91 * day, make);
  expect(keys.map(({ made }) => made)).toEqual([91 * day, 0]);
  expect(rotated(keys, 97 * day, make)).toEqual({ keys, changes: {} });
  expect(rotated(keys, 99 * day, make)).toEqual({ keys: keys.slice(0, 1), changes: { '0.pem': null } });
});

test('what was made is read again; what cannot be read is no key', async () => {
  let data: Record<string, string> = { 'notes.txt': 'eA==', '5.pem': 'eA==' };
  const client: KubeClient = {
    async call<T>(method: string, _path: string, options?: CallOptions) {
      const { data: changed } = (options?.body ?? {}) as { data?: Record<string, string> };
      if (method === 'PATCH') data = { ...data, ...changed };
      return { metadata: { name: 's', uid: 'u', resourceVersion: '1' }, data } as T;
    },
    watch: () => {
      throw new Error('nothing is watched');
    },
  };
  const made = await loadLinkKeys(client, 'n', 10 * day);
  const read = await loadLinkKeys(client, 'n', 11 * day);
  expect(read.map(({ id }) => id)).toEqual(made.map(({ id }) => id));
  expect(publicKeysOf(read)).toBe(publicKeysOf(made));
  expect(publicKeysOf(made)).not.toContain('PRIVATE');
});
