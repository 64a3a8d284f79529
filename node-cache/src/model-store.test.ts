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

/** What a file takes of a disk. */
const block = 4096;

/** A model whose bundle has so many bytes. */
function modelOf(name: string, namespace = 'team', length = block): Model {
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

async function openStore(mostBytes = 3 * block, directory = mkdtempSync(join(folder, 'store-'))) {
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
    expect(store.size(model)).toBe(block);
    expect(await read(store, { ...model, namespace: 'others' })).toBeUndefined();
    expect(store.size({ ...model, namespace: 'others' })).toBeUndefined();
  });

  test('lets the ones go that were not used for longest', async () => {
    const { store, evicted } = await openStore();
    const [a, b, c, d] = [modelOf('a'), modelOf('b'), modelOf('c', 'others'), modelOf('d')];
    for (const model of [a, b, c]) await keep(store, model);
    expect(store.bytes).toBe(3 * block);
    await read(store, a);
    await keep(store, d);
    expect(await kept(store, a, b, c, d)).toEqual([true, false, true, true]);
    await keep(store, modelOf('e', 'team', 2 * block));
    expect([await kept(store, a, c, d), evicted.count]).toEqual([[false, false, true], 3]);
  });

  test('who reads one that has to go reads it to its end', async () => {
    const { store } = await openStore(block);
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
    const { store: again } = await openStore(3 * block, directory);
    expect(await readdir(join(directory, 'unfinished'))).toEqual([]);
    expect([again.models, again.bytes]).toEqual([3, 3 * block]);
    await keep(again, modelOf('d'));
    expect(await kept(again, a, b, c)).toEqual([true, false, true]);
    const { store: smaller, evicted } = await openStore(block, directory);
    expect([smaller.models, evicted.count]).toEqual([1, 2]);
  });

  test('keeps none of what is not what it is to be, and nothing of it is left', async () => {
    const { store, directory } = await openStore();
    const { bundle, ...key } = modelOf('a');
    const other = { ...key, sha256: modelOf('b').sha256 };
    await expect(store.write(other, bundle.length, chunksOf(bundle))).rejects.toThrow('are those of a model');
    await expect(store.write(key, 900, chunksOf(bundle))).rejects.toThrow('more than the 900 bytes');
    await expect(store.write(key, block, chunksOf(bundle.subarray(0, -50)))).rejects.toThrow('50 bytes before the end');
    const broken = async function* () {
      yield bundle.subarray(0, 500);
      throw new Error('the connection is gone');
    };
    await expect(store.write(key, block, broken())).rejects.toThrow('the connection is gone');
    expect([store.models, await readdir(join(directory, 'unfinished'))]).toEqual([0, []]);
    await keep(store, { bundle, ...key });
    expect(store.models).toBe(1);
  });

  /** Of which a part has come, and the rest comes when it is told to. */
  const halfway = (store: ModelStore, { bundle, ...key }: Model) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const chunks = async function* () {
      yield bundle.subarray(0, bundle.length / 2);
      await promise;
      yield bundle.subarray(bundle.length / 2);
    };
    return { written: store.write(key, bundle.length, chunks()), resolve };
  };
  const isCome = async (store: ModelStore, bytes: number) => {
    while (store.bytes < bytes) await sleep(5);
  };

  test('takes no more than there is room for, also of what is being written', async () => {
    const { store } = await openStore();
    await expect(keep(store, modelOf('a', 'team', 3 * block + 1))).rejects.toMatchObject({ name: 'TooLarge' });
    const slow = modelOf('s', 'team', 2 * block);
    const { written, resolve } = halfway(store, slow);
    await isCome(store, block);
    await expect(keep(store, slow)).rejects.toMatchObject({ name: 'Busy' });
    await expect(keep(store, modelOf('o', 'others', 3 * block))).rejects.toMatchObject({ name: 'Busy' });
    expect(store.bytes).toBe(block);
    await keep(store, modelOf('t'));
    resolve();
    await written;
    expect([store.models, store.bytes]).toEqual([2, 3 * block]);
  });

  test('nothing goes for what was announced, and has not come', async () => {
    const { store, evicted } = await openStore();
    const kept = [modelOf('a'), modelOf('b')];
    for (const model of kept) await keep(store, model);
    const { bundle, ...key } = modelOf('huge', 'others', 3 * block);
    const { promise, resolve } = Promise.withResolvers<void>();
    const silent = async function* (): AsyncGenerator<Buffer> {
      await promise;
      yield Buffer.alloc(0);
    };
    const written = store.write(key, bundle.length, silent()).catch((error) => error.name);
    await keep(store, modelOf('c', 'team'));
    expect([store.models, evicted.count]).toEqual([3, 0]);
    resolve();
    expect(await written).toBe('InvalidBundle');
  });

  test('one namespace leaves room for others to write', async () => {
    const { store } = await openStore(100 * block);
    const writing = ['a', 'b'].map((name) => halfway(store, modelOf(name)));
    await isCome(store, block);
    const third = modelOf('c');
    expect(store.isBusy(third)).toBe(true);
    await expect(keep(store, third)).rejects.toMatchObject({ name: 'Busy' });
    await keep(store, modelOf('c', 'others'));
    for (const { resolve, written } of writing) {
      resolve();
      await written;
    }
    await keep(store, third);
    expect(store.models).toBe(4);
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
