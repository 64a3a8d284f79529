import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Credentials } from './credentials.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-credentials-'));
  await writeFile(join(folder, 'BOTH'), 'of the Secret\n');
  await mkdir(join(folder, 'UNREADABLE'));
});
afterAll(() => rm(folder, { recursive: true }));
const credentials = () => new Credentials(folder, { BOTH: 'of the pod', POD: 'of the pod' });

test('the Secret goes before what the pod has', () => {
  expect([credentials().get('BOTH'), credentials().get('POD'), credentials().get('NONE')]).toEqual([
    'of the Secret',
    'of the pod',
    undefined,
  ]);
  expect(credentials().ofSecret('POD')).toBeUndefined();
  expect(new Credentials(join(folder, 'BOTH'), {}).get('BOTH')).toBeUndefined();
});

test('a key that is there and cannot be read is told, and not taken for one that is missing', () => {
  expect(() => credentials().get('UNREADABLE')).toThrow('the key UNREADABLE of the Secret of spec.model.secretName');
});

test('an empty one is none', async () => {
  await writeFile(join(folder, 'EMPTY'), '\n');
  expect(new Credentials(folder, { EMPTY: 'of the pod', NOTHING: '' }).get('EMPTY')).toBe('of the pod');
  expect(new Credentials(folder, { NOTHING: '' }).get('NOTHING')).toBeUndefined();
});
