import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ProtobufWriter } from '../protocol/protobuf.ts';
import { externalDataOf, foreignOperatorsOf } from './model-file.ts';
import { StartupError } from './startup-error.ts';

const models = join(import.meta.dirname, '../../test/models');
const folder = mkdtempSync(join(tmpdir(), 'slipway-external-'));
afterAll(() => rmSync(folder, { recursive: true }));

const fileOf = (bytes: Uint8Array): string => {
  const path = join(folder, 'model.onnx');
  writeFileSync(path, bytes);
  return path;
};
const filesBeside = (path: string) => externalDataOf(path, new AbortController().signal);
/** A tensor with its data elsewhere, as onnx.proto has it. */
const tensor = (location: string, isExternal = true) => {
  const entry = (key: string, value: string) => new ProtobufWriter().text(1, key).text(2, value);
  return new ProtobufWriter()
    .message(13, entry('offset', '0'))
    .message(13, entry('location', location))
    .number(14, isExternal ? 1 : 0);
};
const modelWith = (...tensors: readonly ProtobufWriter[]) => {
  const graph = new ProtobufWriter();
  for (const one of tensors) graph.message(5, one);
  return Buffer.concat(new ProtobufWriter().number(1, 8).message(7, graph).finish());
};

test.each([
  ['external.onnx', ['external.onnx_data']],
  ['nested.onnx', ['external.onnx_data', 'weights/w 1.bin']],
  ['average.onnx', []],
  ['build.py', []],
])('%s has %j beside it', async (name, found) => {
  expect(await filesBeside(join(models, name))).toEqual(found);
});

test('each file once, and only where a tensor says that it is elsewhere', async () => {
  const path = fileOf(modelWith(tensor('./w'), tensor('w'), tensor('a/../b'), tensor('none', false)));
  expect(await filesBeside(path)).toEqual(['b', 'w']);
});

test.each(['../w', '/etc/passwd', 'a/../../w', '..', '.', '', 'a\\b', 'a/', 'w\0'])(
  '%j is refused',
  async (location) => {
    await expect(filesBeside(fileOf(modelWith(tensor(location))))).rejects.toThrow(
      'which is no file within its folder',
    );
  },
);

const node = (type: string, domain?: string) => {
  const written = new ProtobufWriter().text(4, type);
  return domain === undefined ? written : written.text(7, domain);
};
const foreign = (bytes: readonly Uint8Array[]) =>
  foreignOperatorsOf(fileOf(Buffer.concat(bytes)), new AbortController().signal);

test("operators are told that are neither ONNX's own nor functions of the model, also those within operators and functions", async () => {
  const within = new ProtobufWriter().message(1, node('Gelu', 'com.microsoft'));
  const branch = new ProtobufWriter().message(6, within);
  const graph = new ProtobufWriter()
    .message(1, node('Add'))
    .message(1, node('Scaler', 'ai.onnx.ml'))
    .message(1, node('Rotary', 'pkg.torch'))
    .message(1, node('If').message(5, branch));
  const inFunction = new ProtobufWriter()
    .text(1, 'Rotary')
    .message(7, node('Own', 'org.example'))
    .text(10, 'pkg.torch');
  const other = new ProtobufWriter().text(1, 'Gelu').text(10, 'pkg.torch');
  const model = new ProtobufWriter().number(1, 8).message(25, inFunction).message(25, other).message(7, graph);
  expect(await foreign(model.finish())).toEqual(['com.microsoft.Gelu', 'org.example.Own']);
  expect(await foreign([Buffer.from('no model')])).toEqual([]);
});

test('operators of kinds without end are told in part', async () => {
  const graph = new ProtobufWriter();
  for (let kind = 0; kind < 1000; kind++) graph.message(1, node(`Kind${kind}`, 'x'.repeat(10_000)));
  const told = await foreign(new ProtobufWriter().message(7, graph).finish());
  expect(told).toHaveLength(64);
  expect(Math.max(...told.map(({ length }) => length))).toBeLessThan(5000);
});

test('no more files than anybody has', async () => {
  const many = Array.from({ length: 1025 }, (_, index) => tensor(`w${index}`));
  await expect(filesBeside(fileOf(modelWith(...many)))).rejects.toThrow('more than 1024 files');
});

test('what is not asked about is not read, however large it is', async () => {
  const gigabytes = 3 * 2 ** 30;
  const writer = new ProtobufWriter().message(5, tensor('w'));
  const graph = Buffer.concat(writer.finish());
  // A graph with a tensor of raw data, which are a hole in the file.
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
  const raw = Buffer.from([9 * 8 + 2, ...varint(gigabytes)]);
  const head = Buffer.from([5 * 8 + 2, ...varint(raw.length + gigabytes)]);
  const size = graph.length + head.length + raw.length + gigabytes;
  const path = fileOf(Buffer.concat([Buffer.from([7 * 8 + 2, ...varint(size)]), graph, head, raw]));
  truncateSync(path, readFileSync(path).length + gigabytes);
  const before = process.memoryUsage().rss;
  expect(await filesBeside(path)).toEqual(['w']);
  expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
  truncateSync(path, 0);
});

test('a gigabyte of zeros is no model, and takes no time', async () => {
  const path = fileOf(Buffer.alloc(0));
  truncateSync(path, 2 ** 30);
  expect(await filesBeside(path)).toEqual([]);
});

test('a length that no file has is no model', async () => {
  expect(await filesBeside(fileOf(Buffer.from([0x3a, ...Array<number>(8).fill(0xff), 0x7f])))).toEqual([]);
});

/** As forests have them: a field for each number. */
const numbers = (count: number): Buffer => Buffer.alloc(2 * count, Buffer.from([8, 0]));

test('others have their turn while many fields are read', async () => {
  const path = fileOf(Buffer.concat([numbers(2 ** 20), modelWith(tensor('w'))]));
  let turns = 0;
  const timer = setInterval(() => {
    turns += 1;
  });
  const found = await filesBeside(path);
  clearInterval(timer);
  expect(found).toEqual(['w']);
  expect(turns).toBeGreaterThan(1);
});

test('what takes too long is given up', async () => {
  const path = fileOf(numbers(2 ** 20));
  await expect(externalDataOf(path, AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late');
});

test('any bytes are read or refused', async () => {
  const bytes = readFileSync(join(models, 'nested.onnx'));
  const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
      const changed = Buffer.from(bytes);
      for (const [at, byte] of changes) changed[at] = byte;
      try {
        await filesBeside(fileOf(changed));
      } catch (error) {
        if (!(error instanceof StartupError)) throw error;
      }
    }),
    { numRuns: 1000 },
  );
});
