import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { patched } from './git-delta.ts';
import { objectsOf, openBlob } from './git-pack.ts';
import { StartupError } from './startup-error.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-pack-'));
  git('', 'init', '--quiet');
});
afterAll(() => rmSync(folder, { recursive: true }));

function git(input: string | Buffer, ...args: string[]): Buffer {
  return execFileSync('git', args, { cwd: folder, input, maxBuffer: 2 ** 30, stdio: ['pipe', 'pipe', 'ignore'] });
}
const idOf = (type: string, content: Buffer) =>
  git(content, 'hash-object', '-w', '-t', type, '--stdin').toString().trim();
const packOf = (...ids: string[]) => git(`${ids.join('\n')}\n`, 'pack-objects', '--stdout', '--quiet', '--window=50');

/** A folder with so many files, one of them told apart by a number. */
function treeOf(files: number, changed: number): Buffer {
  const entries = Array.from({ length: files }, (_, index) => {
    const id = createHash('sha1')
      .update(`${index === changed ? 'another' : index}`)
      .digest();
    return Buffer.concat([Buffer.from(`100644 ${String(index).padStart(5, '0')}.txt\0`), id]);
  });
  return Buffer.concat(entries);
}
const header = (objects: number) => {
  const bytes = Buffer.from('PACK\0\0\0\x02\0\0\0\0', 'latin1');
  bytes.writeUInt32BE(objects, 8);
  return bytes;
};
/** Of a type and a size below 2048. */
const entry = (type: number, size: number, ...bytes: readonly Buffer[]) =>
  Buffer.concat([Buffer.from([128 | (type << 4) | (size & 15), size >> 4]), ...bytes]);

async function readBlob(pack: Buffer, id: string, chunkBytes = 4096): Promise<Buffer> {
  async function* chunks() {
    for (let at = 0; at < pack.length; at += chunkBytes) yield pack.subarray(at, at + chunkBytes);
  }
  const { content } = await openBlob(chunks(), id, 'sha1');
  const whole: Buffer[] = [];
  for await (const chunk of content) whole.push(chunk);
  return Buffer.concat(whole);
}

describe('the folders in a pack that Git has made', () => {
  test('are those that Git has, most of them told by their differences', async () => {
    const trees = Array.from({ length: 40 }, (_, changed) => treeOf(300, changed));
    const ids = trees.map((tree) => idOf('tree', tree));
    const files = ['a file', 'a file with more'].map((text) => idOf('blob', Buffer.from(text.repeat(500))));
    const pack = packOf(...ids, ...files);
    expect(pack.length).toBeLessThan(trees.reduce((sum, { length }) => sum + length, 0) / 10);
    const objects = await objectsOf(pack, 'sha1');
    expect(new Set(objects.keys())).toEqual(new Set(ids));
    for (const [index, id] of ids.entries()) expect(objects.get(id)).toEqual(trees[index]);
  });

  test.each([16_383, 16_384, 16_385, 32_768, 65_536])('are found behind an object of %d bytes', async (size) => {
    const id = idOf('tree', treeOf(3, 0));
    const objects = await objectsOf(
      packOf(idOf('blob', randomBytes(size)), idOf('blob', Buffer.alloc(size)), id),
      'sha1',
    );
    expect(objects.get(id)).toEqual(treeOf(3, 0));
  });

  test('are found whatever order their bases come in', async () => {
    const base = treeOf(2, 0);
    const id = createHash('sha1').update(`tree ${base.length}\0`).update(base).digest();
    const more = Buffer.from('40000 z\0'.padEnd(28, 'x'));
    // The base's size, the size, all of the base, and what is new.
    const delta = Buffer.from([base.length, base.length + 28, 0x90, base.length, 28, ...more]);
    const told = entry(7, delta.length, id, deflateSync(delta));
    const whole = entry(2, base.length, deflateSync(base));
    for (const entries of [
      [whole, told],
      [told, whole],
    ]) {
      const objects = await objectsOf(Buffer.concat([header(2), ...entries]), 'sha1');
      expect(Array.from(objects.values())).toEqual([base, Buffer.concat([base, more])]);
    }
  });
});

describe('a file in a pack', () => {
  test.each([0, 1, 1000, 16_384, 300_000])('is read, of %d bytes, in pieces of any size', async (size) => {
    const content = randomBytes(size);
    const id = idOf('blob', content);
    for (const chunkBytes of [7, 4096, 1_000_000]) expect(await readBlob(packOf(id), id, chunkBytes)).toEqual(content);
  });

  test('is refused where it is another', async () => {
    const id = idOf('blob', Buffer.from('one'));
    await expect(readBlob(packOf(id), 'a'.repeat(40))).rejects.toMatchObject({ reason: 'ModelDigestMismatch' });
  });

  test('is refused where it is longer than it says, and not read to its end', async () => {
    const zeros = deflateSync(Buffer.alloc(64 * 2 ** 20));
    const pack = Buffer.concat([header(1), entry(3, 100, zeros)]);
    await expect(readBlob(pack, 'a'.repeat(40))).rejects.toMatchObject({ reason: 'ModelDigestMismatch' });
  });

  test('is refused where there is something else', async () => {
    const [tree, file] = [idOf('tree', treeOf(1, 0)), idOf('blob', Buffer.from('one'))];
    await expect(readBlob(packOf(tree), tree)).rejects.toThrow('what it has is no file');
    await expect(readBlob(packOf(tree, file), file)).rejects.toThrow('more than the one file');
    await expect(readBlob(Buffer.from('<html>'), file)).rejects.toThrow('it does not begin as one');
  });
});

describe('what is no pack', () => {
  test.each([
    ['is empty', Buffer.alloc(0), 'does not begin as one'],
    ['has less than it says', header(2), 'it ends within an object'],
    ['ends within the number of a size', Buffer.concat([header(1), Buffer.from([0xa0])]), 'it ends within an object'],
    [
      'has a size that nothing has',
      Buffer.concat([header(1), Buffer.alloc(19, 0xff), Buffer.from([1])]),
      'of a size that nothing has',
    ],
    ['is a bomb', Buffer.concat([header(1), entry(2, 100, deflateSync(Buffer.alloc(2 ** 26)))]), 'larger than 100'],
    [
      'says that it is one',
      Buffer.concat([header(1), Buffer.from([0xaf, 0xff, 0xff, 0xff, 0x7f]), deflateSync(Buffer.alloc(10))]),
      'it unpacks to more than',
    ],
    [
      'is shorter than it says',
      Buffer.concat([header(1), entry(2, 100, deflateSync(Buffer.alloc(10)))]),
      'another size',
    ],
    [
      'has bytes that are not compressed',
      Buffer.concat([header(1), entry(2, 100, Buffer.alloc(50, 7))]),
      'incorrect header',
    ],
  ])('is refused that %s', async (_, pack, problem) => {
    await expect(objectsOf(pack, 'sha1')).rejects.toThrow(StartupError);
    await expect(objectsOf(pack, 'sha1')).rejects.toThrow(problem);
  });

  test.each(['before', 'behind'])('is refused that makes much of little, with its base %s it', async (place) => {
    const base = treeOf(300, 0);
    const id = createHash('sha1').update(`tree ${base.length}\0`).update(base).digest();
    const varint = (value: number): number[] => (value < 128 ? [value] : [128 | (value & 127), ...varint(value >>> 7)]);
    // Of the first four kilobytes again and again.
    const size = 64 * 4096;
    const copies = Array.from({ length: 64 }, () => [0xb0, 4096 & 255, 4096 >> 8]).flat();
    const delta = Buffer.from([...varint(base.length), ...varint(size), ...copies]);
    const deltas = Array.from({ length: 2000 }, () => entry(7, delta.length, id, deflateSync(delta)));
    const whole = Buffer.concat([
      Buffer.from([0x80 | (2 << 4) | (base.length & 15), ...varint(base.length >> 4)]),
      deflateSync(base),
    ]);
    const entries = place === 'before' ? [whole, ...deltas] : [...deltas, whole];
    await expect(objectsOf(Buffer.concat([header(2001), ...entries]), 'sha1')).rejects.toThrow(
      'it unpacks to more than',
    );
  });

  test('is refused whose difference is of a byte, millions of times', async () => {
    const base = treeOf(3, 0);
    const id = createHash('sha1').update(`tree ${base.length}\0`).update(base).digest();
    const varint = (value: number): number[] => (value < 128 ? [value] : [128 | (value & 127), ...varint(value >>> 7)]);
    const copies = Buffer.alloc(2 * 2_000_000, Buffer.from([0x90, 1]));
    const delta = Buffer.concat([Buffer.from([...varint(base.length), ...varint(2_000_000)]), copies]);
    const told = Buffer.from([0x80 | (7 << 4) | (delta.length & 15), ...varint(delta.length >> 4)]);
    const pack = [header(2), entry(2, base.length, deflateSync(base)), told, id, deflateSync(delta)];
    await expect(objectsOf(Buffer.concat(pack), 'sha1')).rejects.toThrow('a difference in it fits nothing');
  });

  test('is refused, whatever of it has been changed', async () => {
    const pack = packOf(...Array.from({ length: 8 }, (_, changed) => idOf('tree', treeOf(30, changed))));
    const change = fc.tuple(fc.nat(pack.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(pack.length), async (changes, end) => {
        const changed = Buffer.from(pack.subarray(0, end));
        for (const [at, byte] of changes) if (at < end) changed[at] = byte;
        await objectsOf(changed, 'sha1').catch((error: unknown) => expect(error).toBeInstanceOf(StartupError));
      }),
      { numRuns: 500 },
    );
  });
});

describe('a difference', () => {
  const base = Buffer.from('0123456789');
  test.each<[string, readonly number[], string]>([
    ['of all of it', [10, 10, 0x90, 10], '0123456789'],
    ['of a part, and something new', [10, 5, 0x91, 4, 3, 2, 0x61, 0x62], '456ab'],
    ['of nothing', [10, 0], ''],
  ])('%s is made good', (_, delta, whole) => {
    expect(patched(base, Buffer.from(delta), { instructions: 10 }).toString()).toBe(whole);
  });

  test.each<[string, readonly number[]]>([
    ['is of another', [9, 1, 1, 0x61]],
    ['goes beyond it', [10, 5, 0x91, 8, 5]],
    ['is longer than it says', [10, 1, 2, 0x61, 0x62]],
    ['is shorter than it says', [10, 3, 1, 0x61]],
    ['ends within what is new', [10, 3, 3, 0x61]],
    ['ends within a number', [10, 3, 0x91]],
    ['has an instruction that nobody knows', [10, 1, 0]],
    ['has a size without end', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]],
    ['makes more than a folder has', [10, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x90, 10]],
    ['takes more than there is', [10, 11, ...Array(11).fill([1, 0x61]).flat()]],
    ['is empty', []],
  ])('is refused that %s', (_, delta) => {
    expect(() => patched(base, Buffer.from(delta), { instructions: 10 })).toThrow(StartupError);
  });
});
