import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fileInLayer } from './image-layer.ts';
import { StartupError } from './startup-error.ts';

const model = randomBytes(200_000);
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-layer-'));
  const files: Readonly<Record<string, Buffer | string>> = {
    'etc/motd': 'hello',
    'models/a.onnx': model,
    'models/b.onnx': '',
    'removed/.wh.a.onnx': '',
    'opaque/.wh..wh..opq': '',
    '.wh.gone': '',
  };
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  symlinkSync('a.onnx', join(folder, 'models/link.onnx'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const tar = (...args: string[]) => execFileSync('tar', ['-C', folder, '-cf', '-', ...args], { maxBuffer: 2 ** 26 });
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

async function read(layer: Buffer, path: string, { chunkBytes = 65_536, digest = sha256(layer) } = {}) {
  async function* chunks() {
    for (let at = 0; at < layer.length; at += chunkBytes) yield layer.subarray(at, at + chunkBytes);
  }
  const file = fileInLayer(chunks(), path, digest);
  const whole: Buffer[] = [];
  for (;;) {
    const { done, value } = await file.next();
    if (done === true) return { inLayer: value, bytes: Buffer.concat(whole) };
    whole.push(value);
  }
}

describe('of a file, a layer', () => {
  test.each([
    ['a tar', (layer: Buffer) => layer, 65_536],
    ['a tar in small pieces', (layer: Buffer) => layer, 100],
    ['compressed', gzipSync, 65_536],
    ['compressed, in small pieces', gzipSync, 100],
  ])(
    'has the bytes: %s',
    async (_, packed, chunkBytes) => {
      const layer = packed(tar('.'));
      expect(await read(layer, 'models/a.onnx', { chunkBytes })).toEqual({ inLayer: 'Present', bytes: model });
      expect(await read(layer, 'models/b.onnx', { chunkBytes })).toEqual({
        inLayer: 'Present',
        bytes: Buffer.alloc(0),
      });
    },
    20_000,
  );

  test('whose names begin with a slash has the bytes', async () => {
    const layer = tar('--transform', 's,^,/,S', '--absolute-names', 'models/a.onnx');
    expect((await read(layer, 'models/a.onnx')).inLayer).toBe('Present');
  });

  test.each([
    ['removed/a.onnx', 'Removed'],
    ['removed/b.onnx', 'Absent'],
    ['opaque/a.onnx', 'Removed'],
    ['opaque/deep/a.onnx', 'Removed'],
    ['gone/models/a.onnx', 'Removed'],
    ['gone.onnx', 'Absent'],
    ['none.onnx', 'Absent'],
  ])('says of %s: %s', async (path, inLayer) => {
    expect(await read(tar('.'), path)).toEqual({ inLayer, bytes: Buffer.alloc(0) });
  });

  test('that has another thing in the place of a folder has taken away what was in it', async () => {
    mkdirSync(join(folder, 'replaced'));
    writeFileSync(join(folder, 'replaced/file'), 'no folder');
    symlinkSync('/data', join(folder, 'replaced/link'));
    const layer = tar('replaced');
    expect((await read(layer, 'replaced/file/models/a.onnx')).inLayer).toBe('Removed');
    expect((await read(layer, 'replaced/a.onnx')).inLayer).toBe('Absent');
    await expect(read(layer, 'replaced/link/a.onnx')).rejects.toThrow("'replaced/link' in the image is a SymbolicLink");
  });

  test('without what marks its end has what it has', async () => {
    // A header, and the bytes in blocks.
    const entries = 512 + 512 * Math.ceil(model.length / 512);
    const layer = tar('models/a.onnx').subarray(0, entries);
    expect(await read(layer, 'models/a.onnx')).toEqual({ inLayer: 'Present', bytes: model });
  });

  test.each(['gnu', 'posix'])('with a sparse file is refused, and not passed over (%s)', async (format) => {
    const path = join(folder, `sparse-${format}.onnx`);
    execFileSync('truncate', ['--size', '4M', path]);
    execFileSync('sh', ['-c', `printf end >> ${path}`]);
    const layer = tar('--sparse', `--format=${format}`, `sparse-${format}.onnx`);
    await expect(read(layer, `sparse-${format}.onnx`)).rejects.toBeInstanceOf(StartupError);
    expect((await read(layer, 'another.onnx')).inLayer).toBe('Absent');
  });

  test('that takes away what is below has what it has itself', async () => {
    mkdirSync(join(folder, 'both'));
    writeFileSync(join(folder, 'both/a.onnx'), 'new');
    writeFileSync(join(folder, 'both/.wh..wh..opq'), '');
    for (const names of [
      ['both/a.onnx', 'both/.wh..wh..opq'],
      ['both/.wh..wh..opq', 'both/a.onnx'],
    ])
      expect(await read(tar(...names), 'both/a.onnx')).toEqual({ inLayer: 'Present', bytes: Buffer.from('new') });
  });

  test.each<[string, () => Buffer, string, string, string]>([
    ['has a link', () => tar('.'), 'models/link.onnx', 'ModelNotFound', 'is a SymbolicLink'],
    ['has a folder', () => tar('.'), 'models', 'ModelNotFound', 'is a Directory'],
    [
      'has it twice',
      () => tar('--hard-dereference', 'models/b.onnx', 'models/b.onnx'),
      'models/b.onnx',
      'ModelFetchFailed',
      'twice',
    ],
    ['is empty', () => Buffer.alloc(0), 'a', 'ModelFetchFailed', 'it is empty'],
    [
      'is cut short',
      () => tar('models/a.onnx').subarray(0, 5000),
      'models/a.onnx',
      'ModelFetchFailed',
      'Truncated input',
    ],
    ['is something else', () => randomBytes(5000), 'a', 'ModelFetchFailed', 'is no tar'],
  ])('is refused that %s', async (_, layer, path, reason, problem) => {
    const refused = read(layer(), path);
    await expect(refused).rejects.toMatchObject({ reason });
    await expect(refused).rejects.toThrow(problem);
  });

  test('is refused that the manifest does not have', async () => {
    const refused = read(tar('models/a.onnx'), 'models/a.onnx', { digest: 'a'.repeat(64) });
    await expect(refused).rejects.toMatchObject({ reason: 'ModelDigestMismatch' });
  });

  test('is read or refused, whatever of it was changed', async () => {
    const layer = tar('etc', 'models/b.onnx', 'opaque');
    const change = fc.tuple(fc.nat(layer.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const changed = Buffer.from(layer);
        for (const [at, byte] of changes) changed[at] = byte;
        await read(changed, 'models/b.onnx').catch((error: unknown) => expect(error).toBeInstanceOf(StartupError));
      }),
      { numRuns: 300 },
    );
  });
});
