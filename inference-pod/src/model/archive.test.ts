import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { unpack } from './archive.ts';
import { archiveFormatOf } from './archive-format.ts';

/** Archives as Python writes them, and hostile ones. */
const script = join(import.meta.dirname, '../../test/clients/archives.py');
let archives: string;
let folders = 0;
beforeAll(async () => {
  archives = await mkdtemp(join(tmpdir(), 'slipway-archives-'));
  await promisify(execFile)('python3', [script, archives]);
}, 120_000);
afterAll(() => rm(archives, { recursive: true }));

const never = new AbortController().signal;

async function unpacked(name: string, { maxBytes = 2 ** 24, signal = never } = {}) {
  const path = join(archives, name);
  const format = await archiveFormatOf(path);
  if (format === undefined) throw new Error(`${name} is taken for no archive`);
  folders += 1;
  const folder = join(archives, `unpacked/${folders}/folder`);
  const files = await unpack(path, format, folder, { maxBytes, signal });
  const contents = files.map(async (file) => [file, (await readFile(join(folder, file))).toString()] as const);
  return Object.fromEntries(await Promise.all(contents));
}

const tree = { 'a/one.txt': 'one', 'a/b/two.txt': 'two'.repeat(100_000), three: '' };
const longName = `${'x'.repeat(200)}/${'y'.repeat(200)}`;

test.each([
  ['good.tar', tree],
  ['good.tar.gz', tree],
  ['good.zip', tree],
  ['stored.zip', { 'a/one.txt': 'one' }],
  ['streamed.zip', { one: 'one' }],
  ['long.tar', { [longName]: 'long', 'a/ä世.txt': 'long' }],
  ['gnu.tar', { [longName]: 'long' }],
  ['git.tar', { one: '' }],
  ['old.tar', { one: 'one' }],
  ['unsaid.zip', { 'м/о.txt': 'one' }],
  ['padded.tar.gz', { [longName]: 'long', 'a/ä世.txt': 'long' }],
  ['empty.zip', {}],
])('%s is unpacked', async (name, files) => {
  expect(await unpacked(name)).toEqual(files);
});

const outside = 'is no path within its folder';

test.each([
  ['up.tar', `"../evil" in it ${outside}`],
  ['within.tar', outside],
  ['absolute.tar', outside],
  ['backslash.tar', outside],
  ['up.zip', '../evil'],
  ['absolute.zip', '/tmp/evil'],
  ['twice.tar', "'./one' in it cannot be beside the others"],
  ['twice.zip', "'./one' in it cannot be beside the others"],
  ['under.tar', 'cannot be beside the others'],
  ['over.tar', 'cannot be beside the others'],
  ['named.tar', 'cannot be beside the others: ENAMETOOLONG'],
  ['symbolic.tar', "'link' in it is a SymbolicLink: pack the files themselves"],
  ['hard.tar', "'link' in it is a Link"],
  ['device.tar', "'zero' in it is a CharacterDevice"],
  ['fifo.tar', "'fifo' in it is a FIFO"],
  ['symbolic.zip', "'link' in it is no file"],
  ['fifo.zip', "'fifo' in it is no file"],
  ['many.tar.gz', 'more than 2048 files'],
  ['many.zip', 'more than 2048 files'],
  ['folders.tar.gz', 'more than 100000 entries'],
  ['cut.tar', 'it was truncated'],
  ['body.tar', 'Truncated input'],
  ['body.tar.gz', 'Truncated input'],
  ['sniffed.tar.gz', 'it is compressed twice'],
  ['flipped.tar.gz', 'incorrect data check'],
  ['untold.tar.gz', 'unexpected end of file'],
  ['deep.tar', 'more than 32 folders'],
  ['wide.tar.gz', 'more than 2048 folders'],
  ['newline.tar', outside],
  ['sparse.tar', 'is a SparseFile that is not known here'],
  ['hole.tar', 'is sparse: pack it without --sparse'],
  ['renamed.tar', 'is a ExtendedHeader that is not known here, or too long'],
  ['meta.tar.gz', 'too long'],
  ['headers.tar.gz', 'more than 100000 entries'],
  ['located.zip', 'it names places outside of itself'],
  ['cut.tar.gz', 'unexpected end of file'],
  ['cut.zip', 'End of central directory'],
  ['header.tar', 'it is no tar, or was changed: TAR_ENTRY_INVALID: checksum failure'],
  ['text.gz', 'it is no tar'],
  ['gzip.tar.gz', 'it is compressed twice'],
  ['sum.zip', 'another checksum than it says'],
  ['lying.zip', 'too many bytes'],
  ['encrypted.zip', 'encrypted'],
  ['lzma.zip', 'compressed by method 14'],
])('%s is refused: %s', async (name, message) => {
  await expect(unpacked(name)).rejects.toMatchObject({
    reason: 'ModelInvalid',
    message: expect.stringContaining(message),
  });
  expect([existsSync('/tmp/evil'), existsSync(join(archives, `unpacked/${folders}/evil`))]).toEqual([false, false]);
  expect(await readdir(join(archives, `unpacked/${folders}`)).catch(() => ['folder'])).toEqual(['folder']);
});

test.each(['bomb.tar.gz', 'tail.tar.gz', 'bomb.zip'])('%s is unpacked to the end of what may be', async (name) => {
  const before = process.memoryUsage().rss;
  await expect(unpacked(name)).rejects.toMatchObject({
    reason: 'ModelTooLarge',
    message: expect.stringContaining('more in it than the 16777216 bytes that spec.model.maxBytes leaves'),
  });
  expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 27);
});

test('a model is none, whatever it says at some place', async () => {
  expect(await archiveFormatOf(join(archives, 'ustar.onnx'))).toBeUndefined();
});

test('it is given up when nobody waits any more', async () => {
  const reason = new Error('no time');
  await expect(unpacked('good.tar', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  await expect(unpacked('good.zip', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});
