import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from '@jest/globals';
import type { FieldSet } from './objects.ts';
import { SharedFieldSets } from './shared-field-sets.ts';

const fields = (name: string): FieldSet => ({ 'f:spec': { [`f:${name}`]: {} } });

test('equal sets become one, others stay apart', () => {
  const shared = new SharedFieldSets();
  const first = shared.share(fields('replicas'));
  expect(shared.share(fields('replicas'))).toBe(first);
  expect(shared.share(fields('paused'))).toEqual(fields('paused'));
});

test('a set that nobody holds any more can be collected', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const shared = new SharedFieldSets();
  const watched = new WeakRef(shared.share(fields('replicas')));
  await setImmediate();
  collect();
  expect(watched.deref()).toBeUndefined();
  expect(shared.share(fields('replicas'))).toEqual(fields('replicas'));
});
