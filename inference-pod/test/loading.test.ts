import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, symlinkSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { get, outputData, post } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { failToStart, startPod } from './running-pod.ts';

const iris = exampleModel('iris', '1').path;
const modelsFolder = join(import.meta.dirname, 'models');
let directory: string;
let bytes: Buffer;
let sha256: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-test-'));
  bytes = await readFile(iris);
  sha256 = createHash('sha256').update(bytes).digest('hex');
});
afterAll(() => rm(directory, { recursive: true }));

/** Starts a pod that must load iris, and ends it. */
async function expectLoaded(...args: string[]): Promise<void> {
  const pod = await startPod(...args);
  try {
    expect((await get(`${pod.controlUrl}/model`)).json).toMatchObject({ digest: `sha256:${sha256}` });
  } finally {
    await pod.stop();
  }
}

describe('a model with its data in files beside it', () => {
  const names = ['nested.onnx', 'external.onnx_data', 'weights/w 1.bin'];
  const listed = names.toSorted().map((name) => {
    const hash = createHash('sha256')
      .update(readFileSync(join(modelsFolder, name)))
      .digest('hex');
    return `${hash}  ${name}\n`;
  });
  const together = createHash('sha256').update(listed.join('')).digest('hex');
  let server: Server;
  const asked: string[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request.url ?? '');
      const path = decodeURIComponent((request.url ?? '').replace(/\?.*$/, ''));
      if (names.includes(path.slice(1))) response.end(readFileSync(join(modelsFolder, path)));
      else response.writeHead(404).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/nested.onnx?version=3`;

  test.each([
    ['a volume', () => ['--model-uri', 'pvc://models/nested.onnx', '--mount-directory', modelsFolder]],
    ['a web server', () => ['--model-uri', url()]],
  ])('is fetched whole from %s, and checked whole', async (_, args) => {
    const pod = await startPod(...args(), '--model-name', 'nested', '--model-sha256', together);
    try {
      const data = [1, 1, 1, 1];
      const inputs = [{ name: 'x', datatype: 'FP32', shape: [4], data }];
      const answer = await post(`${pod.url}/v2/models/nested/infer`, { inputs });
      expect(outputData(answer)).toEqual({ y: [3, 5, 7, 9] });
      expect((await get(`${pod.controlUrl}/model`)).json).toMatchObject({ digest: `sha256:${together}` });
    } finally {
      await pod.stop();
    }
  });

  test('is asked for beside it, with the same query', () => {
    expect(asked).toEqual(['/nested.onnx?version=3', '/external.onnx_data?version=3', '/weights/w%201.bin?version=3']);
  });

  test('is copied once for all containers of a pod, and again when a file has changed', async () => {
    const work = await mkdtemp(join(directory, 'work-'));
    const args = [
      '--model-uri',
      'pvc://models/nested.onnx',
      '--mount-directory',
      modelsFolder,
      '--work-directory',
      work,
    ];
    const from = async () => {
      const pod = await startPod(...args, '--model-name', 'nested');
      await pod.stop();
      return pod.logs.find(({ msg }) => msg === 'the model file is here')?.['from'];
    };
    expect([await from(), await from()]).toEqual(['Store', 'EarlierContainer']);
    await writeFile(join(work, 'model/weights/w 1.bin'), Buffer.alloc(16));
    expect([await from(), await from()]).toEqual(['Store', 'EarlierContainer']);
  });

  test.each([
    ['is refused where it is outside of its folder', 'outside.onnx', [], 'ModelInvalid', "data in '../outside.bin'"],
    ['is refused where it is missing', 'external.onnx', [], 'ModelNotFound', 'external.onnx_data'],
    ['counts', 'nested.onnx', ['--model-max-bytes', '390'], 'ModelTooLarge', 'at most'],
    [
      'is checked',
      'nested.onnx',
      ['--model-sha256', 'a'.repeat(64)],
      'ModelDigestMismatch',
      'and the files beside it, nested.onnx, external.onnx_data, weights/w 1.bin, have together',
    ],
  ])('%s', async (_, name, more, reason, message) => {
    const mount = name === 'external.onnx' ? await mkdtemp(join(directory, 'alone-')) : modelsFolder;
    if (mount !== modelsFolder) await copyFile(join(modelsFolder, name), join(mount, name));
    const args = ['--model-uri', `pvc://models/${name}`, '--mount-directory', mount, '--model-name', 'm', ...more];
    const { terminationMessage } = await failToStart(...args);
    expect(terminationMessage).toMatchObject({ reason, message: expect.stringContaining(message) });
  });
});

describe('a model comes from', () => {
  test('a file of a claim', async () => {
    await mkdir(join(directory, 'iris/3'), { recursive: true });
    await writeFile(join(directory, 'iris/3/model.onnx'), bytes);
    await expectLoaded(
      '--model-uri',
      'pvc://models/iris/3/model.onnx',
      '--mount-directory',
      directory,
      '--model-sha256',
      sha256,
    );
  });

  test('a folder of MLflow\u2019s, as its file says', async () => {
    const folder = join(directory, 'logged');
    await mkdir(join(folder, 'onnx'), { recursive: true });
    await writeFile(join(folder, 'onnx/model.onnx'), bytes);
    await writeFile(join(folder, 'MLmodel'), 'flavors:\n  onnx:\n    data: onnx/model.onnx\n');
    const uri = ['--model-uri', 'pvc://models/logged/MLmodel', '--mount-directory', directory, '--model-name', 'iris'];
    await expectLoaded(...uri, '--model-sha256', sha256);
    await writeFile(join(folder, 'MLmodel'), 'flavors:\n  sklearn: {}\n');
    expect((await failToStart(...uri)).terminationMessage).toMatchObject({
      reason: 'ModelInvalid',
      message: expect.stringContaining('it has the flavors sklearn, and no onnx: log it with mlflow.onnx'),
    });
    await writeFile(join(folder, 'MLmodel'), 'a'.repeat(2_000_000));
    expect((await failToStart(...uri)).terminationMessage).toMatchObject({
      reason: 'ModelTooLarge',
      message: expect.stringContaining('name the model itself in spec.model.uri'),
    });
  });

  test('a key of a ConfigMap, which is a symbolic link', async () => {
    await mkdir(join(directory, '..data'));
    await writeFile(join(directory, '..data/model.onnx'), bytes);
    await symlink('..data/model.onnx', join(directory, 'model.onnx'));
    await expectLoaded('--model-uri', 'configmap://iris/model.onnx', '--mount-directory', directory);
  });

  describe('HTTP', () => {
    let server: Server;
    let url: string;
    let failures = 0;
    const asked: string[] = [];
    const ranges: (string | undefined)[] = [];
    /** Sends 200 bytes and breaks off, three times; or something else first, and the whole when the rest of it is asked for. */
    const answerInParts = ({ url: path, headers }: IncomingMessage, response: ServerResponse) => {
      const { range } = headers;
      ranges.push(range);
      const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
      // A server that sends what follows of another version, whatever it is asked to look at.
      if (path === '/mixed' && range !== undefined && ranges.length === 2) {
        const other = { etag: '"2"', 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
        return response.writeHead(206, other).end(Buffer.alloc(bytes.length - from));
      }
      const isChanged = path === '/changed';
      if (isChanged && range !== undefined) return response.writeHead(200, { etag: '"2"' }).end(bytes);
      const rest = isChanged ? Buffer.alloc(bytes.length) : bytes.subarray(from);
      const part = { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
      const known = { etag: '"1"', 'content-length': rest.length, ...(from === 0 ? {} : part) };
      response.writeHead(from === 0 ? 200 : 206, known);
      if (from >= 600) return response.end(rest);
      return response.write(rest.subarray(0, 200), () => setTimeout(() => response.destroy(), 50));
    };
    beforeAll(async () => {
      server = createServer((request, response) => {
        asked.push(request.url ?? '');
        switch (request.url) {
          case '/model.onnx':
            return response.end(bytes);
          case '/moved':
            return response.writeHead(302, { location: '/model.onnx' }).end();
          case '/loop':
            return response.writeHead(302, { location: '/loop' }).end();
          case '/to-file':
            return response.writeHead(302, { location: 'file:///etc/passwd' }).end();
          case '/to-metadata':
            return response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end();
          case '/flaky':
            return failures++ < 2 ? response.writeHead(503).end() : response.end(bytes);
          case '/chunked':
            response.write(bytes);
            return response.end(Buffer.alloc(2000));
          case '/cut':
            response.writeHead(200, { 'content-length': String(bytes.length) });
            return response.write(bytes.subarray(0, 100), () => response.destroy());
          case '/resumed':
          case '/mixed':
          case '/changed':
            return answerInParts(request, response);
          case '/stalled':
            response.writeHead(200, { 'content-length': String(bytes.length) });
            return response.write(bytes.subarray(0, 100));
          case '/to-full-disk':
            // All that is written there is answered as a full disk does.
            symlinkSync('/dev/full', join(directory, 'full/model.partial/model.onnx'));
            return response.end(bytes);
          case '/model.onnx?sig=secret':
            return response.end(bytes);
          case '/to-signed':
            return response.writeHead(302, { location: '/forbidden?X-Amz-Signature=secret' }).end();
          case '/forbidden?X-Amz-Signature=secret':
          case '/forbidden':
            return response.writeHead(403).end();
          default:
            return response.writeHead(404).end();
        }
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    afterAll(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });

    test('as it is, behind a redirect, and after errors that pass', async () => {
      await expectLoaded(
        '--model-uri',
        `${url}/model.onnx`,
        '--model-sha256',
        sha256,
        '--model-max-bytes',
        String(bytes.length),
      );
      await expectLoaded('--model-uri', `${url}/moved`);
      await expectLoaded('--model-uri', `${url}/flaky`);
      expect(asked.filter((path) => path === '/flaky')).toHaveLength(3);
    });

    test.each([
      ['/missing', 'ModelNotFound', 'answered 404'],
      ['/forbidden', 'ModelFetchFailed', 'answered 403'],
      ['/loop', 'ModelFetchFailed', 'more than 5 redirects'],
      ['/to-file', 'ModelFetchFailed', 'redirects from http:// to file://, which is refused'],
      ['/to-metadata', 'ModelFetchFailed', '169.254.169.254 is a link-local address'],
    ])('not %s', async (path, reason, message) => {
      const failure = await failToStart('--model-uri', url + path);
      expect(failure.terminationMessage).toEqual({ reason, message: expect.stringContaining(message) });
      expect(failure.exitCode).toBe(1);
    });

    test('without telling the query of where it was redirected to, which may be a signature', async () => {
      const { output, terminationMessage } = await failToStart('--model-uri', `${url}/to-signed`);
      expect(terminationMessage).toMatchObject({ message: expect.stringContaining('/forbidden answered 403') });
      expect(output).not.toMatch(/Signature|=secret/);
    });

    test('without telling the query of its own URI, in the log or in the name', async () => {
      const pod = await startPod('--model-uri', `${url}/model.onnx?sig=secret`);
      try {
        expect((await get(`${pod.url}/v2/models/model`)).status).toBe(200);
        expect((await get(`${pod.controlUrl}/metrics`)).text).toContain('slipway_model_info{name="model"');
        expect(pod.output()).not.toContain('secret');
      } finally {
        await pod.stop();
      }
    });

    test('once for a pod: a container that is started anew uses what verifies', async () => {
      const work = join(directory, 'kept');
      const uri = ['--model-uri', `${url}/model.onnx`, '--work-directory', work];
      const times = () => asked.filter((path) => path === '/model.onnx').length;
      const start = async (...more: string[]) => {
        const pod = await startPod(...uri, ...more);
        await pod.stop();
        return pod.logs.find(({ msg }) => msg === 'the model file is here')?.['from'];
      };
      const before = times();
      expect([await start(), await start(), await start('--model-sha256', sha256)]).toEqual([
        'Store',
        'EarlierContainer',
        'EarlierContainer',
      ]);
      expect(times()).toBe(before + 1);
      await truncate(join(work, 'model/model.onnx'), 100);
      expect(await start()).toBe('Store');
      await writeFile(join(work, 'model.json'), 'null');
      expect(await start()).toBe('Store');
      // Of another digest, it is not what is asked for any more.
      const failure = await failToStart(...uri, '--model-sha256', '0'.repeat(64));
      expect(failure.terminationMessage).toMatchObject({ reason: 'ModelDigestMismatch' });
    });

    test('in parts, where it was cut off, as long as it is the same', async () => {
      ranges.length = 0;
      await expectLoaded('--model-uri', `${url}/resumed`, '--model-sha256', sha256);
      expect(ranges).toEqual([undefined, 'bytes=200-', 'bytes=400-', 'bytes=600-']);
    });

    test('from the beginning, when what it is sent for the rest is of another', async () => {
      ranges.length = 0;
      await expectLoaded('--model-uri', `${url}/mixed`, '--model-sha256', sha256);
      expect(ranges.slice(0, 3)).toEqual([undefined, 'bytes=200-', undefined]);
    });

    test('from the beginning, when it is another by then', async () => {
      ranges.length = 0;
      await expectLoaded('--model-uri', `${url}/changed`, '--model-sha256', sha256);
      expect(ranges).toEqual([undefined, 'bytes=200-']);
    });

    test('not when it takes longer than it may', async () => {
      const failure = await failToStart('--model-uri', `${url}/stalled`, '--fetch-timeout-seconds', '1');
      expect(failure.terminationMessage).toEqual({
        reason: 'ModelFetchFailed',
        message: expect.stringContaining('was not there after 1 s: the store is too slow'),
      });
    });

    test('not when it is larger than allowed, announced or not', async () => {
      const limit = ['--model-max-bytes', '1000'];
      for (const path of ['/chunked']) {
        const failure = await failToStart('--model-uri', url + path, ...limit);
        expect(failure.terminationMessage).toEqual({
          reason: 'ModelTooLarge',
          message: expect.stringContaining('raise spec.model.maxBytes'),
        });
      }
      const announced = await failToStart('--model-uri', `${url}/model.onnx`, '--model-max-bytes', '100');
      expect(announced.terminationMessage).toEqual({
        reason: 'ModelTooLarge',
        message: expect.stringContaining(`${bytes.length} bytes`),
      });
    });

    test('not when the disk has no room for it, and nothing of it is left there', async () => {
      const work = join(directory, 'full');
      const failure = await failToStart('--model-uri', `${url}/to-full-disk`, '--work-directory', work);
      expect(failure.terminationMessage).toEqual({
        reason: 'ModelTooLarge',
        message: expect.stringMatching(/there is no space left for the model at .*\/to-full-disk in .*\/full: raise/),
      });
      expect(failure.exitCode).toBe(1);
      expect((await readdir(work)).filter((name) => name.startsWith('model'))).toEqual([]);
    });

    test('not when the server ends the connection early', async () => {
      const failure = await failToStart('--model-uri', `${url}/cut`);
      expect(failure.terminationMessage).toMatchObject({ reason: 'ModelFetchFailed' });
    }, 60_000);
  });
});

describe('a start that fails ends with one clear error', () => {
  test.each<[string, () => Promise<string[]>, string, string]>([
    ['a missing file', async () => ['--model', join(directory, 'none.onnx')], 'ModelNotFound', 'there is no model at'],
    ['a directory', async () => ['--model', directory], 'ModelNotFound', 'is not a file'],
    [
      'a wrong digest',
      async () => ['--model', iris, '--model-sha256', '0'.repeat(64)],
      'ModelDigestMismatch',
      'not the expected 0000',
    ],
    [
      'a truncated file',
      async () => {
        const cut = join(directory, 'cut.onnx');
        await writeFile(cut, bytes);
        await truncate(cut, 200);
        return ['--model', cut];
      },
      'ModelInvalid',
      'not an ONNX model that can be loaded',
    ],
    [
      'a file of another kind',
      async () => ['--model', join(import.meta.dirname, 'models/build.py')],
      'ModelInvalid',
      'not an ONNX model',
    ],
    [
      'an empty file',
      async () => {
        await writeFile(join(directory, 'empty.onnx'), '');
        return ['--model', join(directory, 'empty.onnx')];
      },
      'ModelInvalid',
      'not an ONNX model',
    ],
    [
      'a model that cannot be run, whatever it is given',
      async () => ['--model', testModel('greedy')],
      'ModelInvalid',
      'the model fails on its first run: Non-zero status code returned while running ConstantOfShape',
    ],
    [
      'a type that cannot be sent',
      async () => ['--model', testModel('bfloat16')],
      'ModelInvalid',
      'is of type bfloat16',
    ],
    [
      'a path that leaves its volume',
      async () => ['--model-uri', 'pvc://claim/../../etc/passwd'],
      'InvalidConfiguration',
      'leaves its volume',
    ],
    [
      'an unknown scheme',
      async () => ['--model-uri', 'ftp://example/model.onnx'],
      'InvalidConfiguration',
      'has the scheme ftp',
    ],
    ['no model', async () => [], 'InvalidConfiguration', 'no model is given'],
  ])('%s', async (_name, args, reason, message) => {
    const failure = await failToStart(...(await args()));
    expect(failure.terminationMessage).toEqual({ reason, message: expect.stringContaining(message) });
    expect(failure.exitCode).toBe(1);
    expect(failure.output.match(/"level":60/g)).toHaveLength(1);
  });

  test('a link that leaves its volume', async () => {
    const volume = join(directory, 'volume');
    await mkdir(volume);
    await symlink(iris, join(volume, 'model.onnx'));
    const failure = await failToStart('--model-uri', 'pvc://claim/model.onnx', '--mount-directory', volume);
    expect(failure.terminationMessage).toMatchObject({
      message: expect.stringContaining('a link that leaves its volume'),
    });
  });

  test('a reason that is too long for the kubelet is cut, and can still be read', async () => {
    const failure = await failToStart('--model', join(directory, 'x'.repeat(200), 'y'.repeat(2000)));
    expect(JSON.stringify(failure.terminationMessage).length).toBeLessThan(4096);
    expect(failure.terminationMessage).toMatchObject({ reason: 'ModelNotFound' });
  });

  test('a file that is in the work directory already is served, and stays as it is', async () => {
    const work = join(directory, 'work');
    await mkdir(work);
    await writeFile(join(work, 'model.onnx'), bytes);
    await expectLoaded('--model', join(work, 'model.onnx'), '--work-directory', work);
    expect(await readFile(join(work, 'model.onnx'))).toEqual(bytes);
  });

  test('an option that is out of range is named', async () => {
    const failure = await failToStart('--model', iris, '--threads', '0');
    expect(failure.output).toContain(
      "option '--threads <n>' argument '0' is invalid. It must be a whole number from 1 to 1024.",
    );
    expect(failure.terminationMessage).toEqual({
      reason: 'InvalidConfiguration',
      message: expect.stringContaining("option '--threads <n>' argument '0' is invalid"),
    });
    expect(failure.exitCode).toBe(1);
    expect(failure.exitCode).toBe(1);
  });
});

test('a model that refuses zeros is served, and that is told', async () => {
  const pod = await startPod('--model', testModel('offset'));
  try {
    expect(pod.logs).toContainEqual(
      expect.objectContaining({
        msg: 'the model refused the warm-up on zeros',
        reason: expect.stringContaining('out of data bounds'),
      }),
    );
    const ask = (id: number) =>
      post(`${pod.url}/v2/models/offset/infer`, {
        inputs: [{ name: 'id', datatype: 'INT64', shape: [1], data: [id] }],
      });
    expect(outputData(await ask(11))).toEqual({ row: [2, 3] });
    expect((await ask(0)).status).toBe(400);
  } finally {
    await pod.stop();
  }
});
