import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type BundleHeader,
  type BundlePart,
  BundleReader,
  bundleHeaderLine,
  digestOfFiles,
  mostHeaderBytes,
} from './model-bundle.ts';

interface Content {
  readonly path: string;
  readonly bytes: Buffer;
}

function headerOf(contents: readonly [Content, ...Content[]]): BundleHeader {
  const fileOf = ({ path, bytes }: Content) => ({
    path,
    name: path,
    location: `models/${path}`,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  });
  const [first, ...others] = contents;
  return { files: [fileOf(first), ...others.map(fileOf)], signature: 'MEUC\n' };
}

const one: readonly [Content] = [{ path: 'model.onnx', bytes: Buffer.from('the bytes of a model') }];
const two: readonly [Content, ...Content[]] = [...one, { path: 'data/model.bin', bytes: Buffer.alloc(0) }];

function bundleOf(contents: readonly [Content, ...Content[]]): Buffer {
  return Buffer.concat([bundleHeaderLine(headerOf(contents)), ...contents.map(({ bytes }) => bytes)]);
}

function* chunksOf(bytes: Buffer, lengths: readonly number[] = [7]): Generator<Buffer> {
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = lengths[index % lengths.length] ?? 1;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

function read(chunks: Iterable<Buffer>, sha256: string) {
  const parts: BundlePart[] = [];
  const reader = new BundleReader(sha256);
  for (const chunk of chunks) parts.push(...reader.read(chunk));
  reader.end();
  const [header, ...rest] = parts;
  const files: Record<string, string> = {};
  let path = '';
  for (const part of rest) {
    if (part.kind === 'file') {
      path = part.file.path;
      files[path] = '';
    }
    if (part.kind === 'bytes') files[path] += part.bytes.toString('latin1');
  }
  return { header: header?.kind === 'header' ? header.header : undefined, files };
}

describe('a bundle', () => {
  test('is read as it was written, in whatever chunks it comes', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1, maxLength: 5 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }),
        (names, data, lengths) => {
          const [, ...others] = names;
          const contentOf = (path: string, index: number) => ({ path, bytes: Buffer.from(data.subarray(index * 20)) });
          const contents: [Content, ...Content[]] = [
            contentOf('model.onnx', 0),
            ...others.map((name, index) => contentOf(name, index + 1)),
          ];
          const header = headerOf(contents);
          const { header: told, files } = read(chunksOf(bundleOf(contents), lengths), digestOfFiles(header.files));
          expect(told).toEqual(header);
          expect(files).toEqual(
            Object.fromEntries(contents.map(({ path, bytes }) => [path, bytes.toString('latin1')])),
          );
        },
      ),
    );
  });

  const sha256 = digestOfFiles(headerOf(two).files);
  const whole = bundleOf(two);
  const withHeader = (change: (header: ReturnType<typeof headerOf>) => unknown) =>
    Buffer.concat([Buffer.from(`${JSON.stringify(change(headerOf(two)))}\n`), ...two.map(({ bytes }) => bytes)]);
  const withFile = (change: object) =>
    withHeader(({ files: [first, ...others] }) => ({ files: [{ ...first, ...change }, ...others] }));

  test.each([
    ['cut off', whole.subarray(0, -1), 'it ends 1 bytes before the end of a file'],
    ['cut off in its header', whole.subarray(0, 20), 'it ends within its header'],
    ['empty', Buffer.alloc(0), 'it ends within its header'],
    ['followed by more', Buffer.concat([whole, Buffer.from('!')]), 'there are more bytes than the header says'],
    ['of other bytes', Buffer.concat([whole.subarray(0, -1), Buffer.from('!')]), 'model.onnx has sha256'],
    ['without an end of its header', Buffer.alloc(mostHeaderBytes + 10, 'a'), 'its header has more than'],
    ['without JSON', Buffer.from('{\n'), 'the header is no JSON'],
    ['with null for a header', Buffer.from('null\n'), 'the header is no JSON object'],
    ['without files', withHeader(() => ({ files: [] })), 'files of the header is empty'],
    ['of too many files', withHeader(() => ({ files: new Array(2049).fill({}) })), 'no list of at most 2048 files'],
    ['of a file twice', withHeader(({ files }) => ({ files: [...files, files[0]] })), 'have the same path'],
    ['of another model', withFile({ sha256: 'a'.repeat(64) }), 'are those of a model with sha256'],
    ['of half a byte', withFile({ bytes: 0.5 }), 'is no number of bytes'],
    ['of fewer bytes than none', withFile({ bytes: -1 }), 'is no number of bytes'],
    [
      'with files in the places of others',
      withHeader(({ files: [first, other] }) => ({
        files: [
          { ...other, path: 'model.onnx' },
          { ...first, path: 'data/model.bin' },
        ],
      })),
      'lies elsewhere than its name says',
    ],
    ['without the model in its place', withFile({ path: 'other.onnx' }), 'lies elsewhere than its name says'],
    [
      'with a file for a signature',
      withHeader(({ files: [first, other] }) => ({
        files: [first, { ...other, path: '.signature', name: '.signature' }],
      })),
      'lies elsewhere than its name says',
    ],
    ['with two lines for a name', withFile({ name: `a\n${'a'.repeat(64)}  b` }), 'leaves the folder of the model'],
    ['of a number for a name', withFile({ name: 7 }), 'path or name of a file of the header is no text'],
    ['with a digest in capitals', withFile({ sha256: 'A'.repeat(64) }), 'is not 64 lower-case hexadecimal digits'],
    ...['../model.onnx', '/model.onnx', 'a/../../b', 'a//b', './a', '', 'a\u0000b'].map(
      (path) =>
        [`with the path ${JSON.stringify(path)}`, withFile({ path }), 'leaves the folder of the model'] as const,
    ),
  ])('%s is none', (_what, bytes, message) => {
    expect(() => read(chunksOf(bytes, [65_536]), sha256)).toThrow(message);
    expect(() => read(chunksOf(bytes), sha256)).toThrow(expect.objectContaining({ name: 'InvalidBundle' }));
  });

  test('the digest of several files is that of what sha256sum prints of them', () => {
    const files = [
      { name: 'b', sha256: 'b'.repeat(64) },
      { name: 'a', sha256: 'a'.repeat(64) },
    ];
    const text = `${'a'.repeat(64)}  a\n${'b'.repeat(64)}  b\n`;
    expect(digestOfFiles(files)).toBe(createHash('sha256').update(text).digest('hex'));
    expect(digestOfFiles(files.slice(0, 1))).toBe('b'.repeat(64));
  });
});
