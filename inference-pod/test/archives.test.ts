import { execFile } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { get, outputData, post } from './http.ts';
import { exampleModel } from './models.ts';
import { failToStart, startPod } from './running-pod.ts';
import { textRepository } from './text-repository.ts';

const run = promisify(execFile);
const models = join(import.meta.dirname, 'models');
const iris = exampleModel('iris', '1').path;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-archived-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Packs files, by their paths in the archive and what they are copies of, or what is in them. */
async function pack(archive: string, files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const tree = await mkdtemp(join(folder, 'tree-'));
  for (const [path, from] of Object.entries(files)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    if (typeof from === 'string') await cp(from, join(tree, path));
    else await writeFile(join(tree, path), from);
  }
  await packFolder(archive, tree);
  return createHash('sha256')
    .update(await readFile(join(folder, archive)))
    .digest('hex');
}

async function packFolder(archive: string, tree: string): Promise<void> {
  const path = join(folder, archive);
  if (archive.endsWith('.zip')) {
    await run('python3', ['-m', 'zipfile', '-c', path, '.'], { cwd: tree });
  } else await run('tar', ['-C', tree, archive.endsWith('gz') ? '-czf' : '-cf', path, '.']);
}

const argumentsOf = (archive: string, ...more: string[]) => [
  ...['--model-uri', `pvc://models/${archive}`, '--mount-directory', folder, '--model-name', 'm', ...more],
];

async function servedWith<T>(use: (url: string, logs: readonly object[]) => Promise<T>, ...args: string[]): Promise<T> {
  const pod = await startPod(...args);
  try {
    return await use(pod.url, pod.logs);
  } finally {
    await pod.stop();
  }
}

const nested = {
  'nested/nested.onnx': join(models, 'nested.onnx'),
  'nested/external.onnx_data': join(models, 'external.onnx_data'),
  'nested/weights/w 1.bin': join(models, 'weights/w 1.bin'),
};

async function expectNested(url: string): Promise<void> {
  const inputs = [{ name: 'x', datatype: 'FP32', shape: [4], data: [1, 1, 1, 1] }];
  expect(outputData(await post(`${url}/v2/models/m/infer`, { inputs }))).toEqual({ y: [3, 5, 7, 9] });
}

describe('a model is served from', () => {
  test.each(['n.tar', 'n.tar.gz', 'n.tgz', 'n.zip', 'whatever'])(
    '%s, with its data, whatever it is called',
    async (name) => {
      const sha256 = await pack(name, nested);
      await servedWith(expectNested, ...argumentsOf(name, '--model-sha256', sha256));
    },
  );

  test('an archive that a Mac has packed', async () => {
    const rubbish = Buffer.from('\0\x05\x16\x07Mac OS X');
    await pack('mac.zip', { ...nested, '__MACOSX/nested/._nested.onnx': rubbish, 'nested/._nested.onnx': rubbish });
    await servedWith(expectNested, ...argumentsOf('mac.zip'));
  });

  test('one of several, which is named', async () => {
    await pack('both.tar', { ...nested, 'iris.onnx': iris });
    await servedWith(expectNested, ...argumentsOf('both.tar', '--model-archive-path', 'nested/nested.onnx'));
    expect((await failToStart(...argumentsOf('both.tar'))).terminationMessage).toMatchObject({
      reason: 'ModelInvalid',
      message: expect.stringMatching(/has 2 models, .*'nested\/nested.onnx'.*: name one in spec.model.archivePath/),
    });
  });

  test('a folder of MLflow\u2019s', async () => {
    const file = Buffer.from('flavors:\n  onnx:\n    data: data/model.onnx\n');
    await pack('logged.tgz', { 'model/MLmodel': file, 'model/data/model.onnx': iris, 'model/other.onnx': iris });
    await servedWith(
      async (url) => {
        expect((await get(`${url}/v2/models/m`)).status).toBe(200);
      },
      ...argumentsOf('logged.tgz'),
    );
  });

  test('a repository of a hub, with what its task needs above it', async () => {
    const repository = await mkdtemp(join(folder, 'hub-'));
    await textRepository(join(repository, 'embedder'), { tokenizer: 'wordpiece', model: 'model' });
    await packFolder('hub.tar.gz', repository);
    await servedWith(
      async (url) => {
        const answer = await post(`${url}/v1/embeddings`, { model: 'm', input: 'a text' });
        expect(answer.status).toBe(200);
      },
      ...argumentsOf('hub.tar.gz', '--task', 'TextEmbedding'),
    );
    expect(
      (await failToStart(...argumentsOf('hub.tar.gz', '--task', 'TextClassification'))).terminationMessage,
    ).toMatchObject({
      reason: 'ModelNotFound',
      message: expect.stringContaining(
        "the model's task or handler needs config.json beside 'embedder/onnx/model.onnx'",
      ),
    });
  });

  test('what an earlier container of its pod has copied', async () => {
    await pack('kept.tar.gz', nested);
    const work = await mkdtemp(join(folder, 'work-'));
    const args = argumentsOf('kept.tar.gz', '--work-directory', work);
    const here = () =>
      servedWith(
        async (url, logs) => {
          await expectNested(url);
          return logs.find((line) => 'from' in line);
        },
        ...args,
      );
    expect(await here()).toMatchObject({ from: 'Store' });
    expect(await here()).toMatchObject({ from: 'EarlierContainer' });
  });
});

test('an archive is signed as a file', async () => {
  await pack('signed.tar', nested);
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const signature = sign('sha256', await readFile(join(folder, 'signed.tar')), privateKey);
  await writeFile(join(folder, 'signed.tar.sig'), signature.toString('base64'));
  const key = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const args = argumentsOf('signed.tar', '--model-signature-key', key);
  await servedWith(expectNested, ...args);
  await pack('signed.tar', { ...nested, other: Buffer.from('x') });
  expect((await failToStart(...args)).terminationMessage).toMatchObject({ reason: 'ModelUntrusted' });
});

describe('an archive is refused', () => {
  const refused = async (name: string, reason: string, message: string, ...more: string[]) => {
    const { terminationMessage } = await failToStart(...argumentsOf(name, ...more));
    expect(terminationMessage).toMatchObject({ reason, message: expect.stringContaining(message) });
  };

  test('by its own digest', async () => {
    await pack('other.tar', nested);
    await refused('other.tar', 'ModelDigestMismatch', 'not the expected', '--model-sha256', 'a'.repeat(64));
  });

  test('with no model in it, or not the one that is named', async () => {
    await pack('none.zip', { 'read.me': Buffer.from('x') });
    await refused('none.zip', 'ModelNotFound', "it has no file that ends in .onnx; the model's archive has 'read.me'");
    await refused('none.zip', 'ModelNotFound', "it has no 'a.onnx'", '--model-archive-path', 'a.onnx');
  });

  test('without the data of its model', async () => {
    await pack('part.tar', { 'nested.onnx': join(models, 'nested.onnx') });
    await refused('part.tar', 'ModelNotFound', "the model 'nested.onnx' has data in 'external.onnx_data'");
  });

  test('with data outside of its folder', async () => {
    await pack('out.tar', { 'a/outside.onnx': join(models, 'outside.onnx'), 'outside.bin': Buffer.alloc(16) });
    await refused('out.tar', 'ModelInvalid', "data in '../outside.bin'");
  });

  test('when it and what is in it have more bytes than may be', async () => {
    await pack('large.tar.gz', { 'iris.onnx': iris, zeros: Buffer.alloc(1_000_000) });
    await refused('large.tar.gz', 'ModelTooLarge', 'spec.model.maxBytes', '--model-max-bytes', '500000');
  });

  test('when it ends too early', async () => {
    await pack('cut.tgz', nested);
    const bytes = await readFile(join(folder, 'cut.tgz'));
    await writeFile(join(folder, 'cut.tgz'), bytes.subarray(0, bytes.length - 40));
    await refused('cut.tgz', 'ModelInvalid', 'cannot be unpacked: unexpected end of file');
  });

  test('and a path in it where there is none', async () => {
    await cp(iris, join(folder, 'iris.onnx'));
    await refused('iris.onnx', 'InvalidConfiguration', 'spec.model.archivePath', '--model-archive-path', 'a.onnx');
  });
});
