import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import { bundleHeaderLine } from '../../contract/src/model-bundle.ts';
import { type ModelKey, ModelStore } from './model-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'slipway-model-store-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Model extends ModelKey {
  readonly bundle: Buffer;
}

/** A model whose bundle has so many bytes. */
function modelOf(name: string, namespace = 'team', length = 1000): Model {
  const headerOf = (bytes: number, sha256: string) =>
    bundleHeaderLine({ files: [{ path: 'model.onnx', name: 'model.onnx', location: 'model.onnx', bytes, sha256 }] });
  const bytes = Buffer.alloc(length - headerOf(length - 200, 'a'.repeat(64)).length, name);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { namespace, sha256, bundle: Buffer.concat([headerOf(bytes.length, sha256), bytes]) };
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
}

const keep = (store: ModelStore, { bundle, ...key }: Model) => store.write(key, bundle.length, chunksOf(bundle));

async function read(store: ModelStore, key: ModelKey): Promise<Buffer | undefined> {
  const found = await store.read(key);
  if (found === undefined) return undefined;
  const bytes = await found.file.readFile();
  await found.file.close();
  return bytes;
}

async function openStore(mostBytes = 3000, directory = mkdtempSync(join(folder, 'store-'))) {
  const evicted = { count: 0 };
  const store = await ModelStore.open({ directory, mostBytes, onEvicted: () => evicted.count++ });
  return { store, directory, evicted };
}

const kept = async (store: ModelStore, ...models: readonly Model[]) =>
  models.map((model) => store.size(model) !== undefined);

describe('a store of models', () => {
  test('gives back what it was given, to its own namespace alone', async () => {
    const { store } = await openStore();
    const model = modelOf('a');
    await keep(store, model);
    expect(await read(store, model)).toEqual(model.bundle);
    expect(store.size(model)).toBe(1000);
    expect(await read(store, { ...model, namespace: 'others' })).toBeUndefined();
    expect(store.size({ ...model, namespace: 'others' })).toBeUndefined();
  });

  test('lets the ones go that were not used for longest', async () => {
    const { store, evicted } = await openStore();
    const [a, b, c, d] = [modelOf('a'), modelOf('b'), modelOf('c', 'others'), modelOf('d')];
    for (const model of [a, b, c]) await keep(store, model);
    expect(store.bytes).toBe(3000);
    await read(store, a);
    await keep(store, d);
    expect(await kept(store, a, b, c, d)).toEqual([true, false, true, true]);
    await keep(store, modelOf('e', 'team', 2000));
    expect([await kept(store, a, c, d), evicted.count]).toEqual([[false, false, true], 3]);
  });

  test('who reads one that has to go reads it to its end', async () => {
    const { store } = await openStore(1000);
    const model = modelOf('a');
    await keep(store, model);
    const found = await store.read(model);
    await keep(store, modelOf('b'));
    expect(store.size(model)).toBeUndefined();
    expect(await found?.file.readFile()).toEqual(model.bundle);
    await found?.file.close();
  });

  test('knows when it is opened again what it has, and what was used last', async () => {
    const { store, directory } = await openStore();
    const [a, b, c] = [modelOf('a'), modelOf('b'), modelOf('c')];
    for (const model of [a, b, c]) {
      await keep(store, model);
      await sleep(20);
    }
    await read(store, a);
    await writeFile(join(directory, 'unfinished/team.rest'), 'of a process that was ended');
    const { store: again } = await openStore(3000, directory);
    expect(await readdir(join(directory, 'unfinished'))).toEqual([]);
    expect([again.models, again.bytes]).toEqual([3, 3000]);
    await keep(again, modelOf('d'));
    expect(await kept(again, a, b, c)).toEqual([true, false, true]);
    const { store: smaller, evicted } = await openStore(1000, directory);
    expect([smaller.models, evicted.count]).toEqual([1, 2]);
  });

  test('keeps none of what is not what it is to be, and nothing of it is left', async () => {
    const { store, directory } = await openStore();
    const { bundle, ...key } = modelOf('a');
    const other = { ...key, sha256: modelOf('b').sha256 };
    await expect(store.write(other, bundle.length, chunksOf(bundle))).rejects.toThrow('are those of a model');
    await expect(store.write(key, 900, chunksOf(bundle))).rejects.toThrow('more than the 900 bytes');
    await expect(store.write(key, 1000, chunksOf(bundle.subarray(0, 950)))).rejects.toThrow('50 bytes before the end');
    const broken = async function* () {
      yield bundle.subarray(0, 500);
      throw new Error('the connection is gone');
    };
    await expect(store.write(key, 1000, broken())).rejects.toThrow('the connection is gone');
    expect([store.models, await readdir(join(directory, 'unfinished'))]).toEqual([0, []]);
    await keep(store, { bundle, ...key });
    expect(store.models).toBe(1);
  });

  test('takes no more than there is room for, also of what is being written', async () => {
    const { store } = await openStore();
    await expect(keep(store, modelOf('a', 'team', 3001))).rejects.toMatchObject({ name: 'TooLarge' });
    const [slow, other, third] = [modelOf('s', 'team', 2000), modelOf('o', 'team', 1001), modelOf('t', 'team', 1000)];
    const { promise, resolve } = Promise.withResolvers<void>();
    const slowly = async function* () {
      yield slow.bundle.subarray(0, 500);
      await promise;
      yield slow.bundle.subarray(500);
    };
    const writing = store.write(slow, 2000, slowly());
    await expect(keep(store, slow)).rejects.toMatchObject({ name: 'Busy' });
    await expect(keep(store, other)).rejects.toMatchObject({ name: 'Busy' });
    await keep(store, third);
    resolve();
    await writing;
    expect(await kept(store, slow, third)).toEqual([true, true]);
  });

  test('forgets what it is told to, and what somebody else has taken away', async () => {
    const { store, directory } = await openStore();
    const [a, b] = [modelOf('a'), modelOf('b')];
    for (const model of [a, b]) await keep(store, model);
    await store.remove(a);
    await store.remove(a);
    rmSync(join(directory, 'models/team', b.sha256));
    expect([await read(store, a), await read(store, b), store.models]).toEqual([undefined, undefined, 0]);
  });
});
