import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { bundleHeaderLine, digestOfFiles } from '../../contract/src/model-bundle.ts';
import { cachedModelPath } from '../../contract/src/node-cache.ts';
import { exampleModel, testModel } from '../../inference-pod/test/models.ts';
import { failToStart, type RunningPod, startPod } from '../../inference-pod/test/running-pod.ts';
import { eventually } from '../eventually.ts';
import { portOf } from '../free-port.ts';
import { grantCacheRights, type RunningCache, startCache, tokenOf } from './running-cache.ts';
import { makeNamespace, testClient } from './test-cluster.ts';

/** The cache of a node, asked by real pods with tokens of a real API server; the store is a web server that counts. */
const client = testClient();
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const iris = readFileSync(exampleModel('iris', '1').path);
const nested = readFileSync(testModel('nested'));
const beside = {
  'external.onnx_data': readFileSync(join(testModel('nested'), '../external.onnx_data')),
  'weights/w 1.bin': readFileSync(join(testModel('nested'), '../weights/w 1.bin')),
};
const nestedSha256 = digestOfFiles([
  { name: 'nested.onnx', sha256: digestOf(nested) },
  ...Object.entries(beside).map(([name, bytes]) => ({ name, sha256: digestOf(bytes) })),
]);
const signer = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

let folder: string;
let store: Server;
let asked: string[] = [];
let cache: RunningCache;
let namespace: string;
const tokenFiles = new Map<string, string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-node-cache-'));
  await grantCacheRights(client);
  const files: Readonly<Record<string, Buffer>> = {
    '/iris.onnx': iris,
    '/iris.onnx.sig': Buffer.from(sign('sha256', iris, signer.privateKey).toString('base64')),
    '/nested.onnx': nested,
    ...Object.fromEntries(Object.entries(beside).map(([name, bytes]) => [`/${encodeURI(name)}`, bytes])),
  };
  store = createServer((request, response) => {
    asked.push(request.url ?? '');
    const bytes = files[request.url ?? ''];
    response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
  });
  await new Promise<void>((resolve) => store.listen(0, '127.0.0.1', resolve));
  cache = await startCache(client, { directory: await mkdtemp(join(folder, 'cache-')) });
});
beforeEach(async () => {
  namespace = await makeNamespace(client);
  asked = [];
});
afterAll(async () => {
  await cache.stop();
  store.close();
  await rm(folder, { recursive: true });
});

async function tokenFileOf(of: string): Promise<string> {
  const known = tokenFiles.get(of);
  if (known !== undefined) return known;
  const file = join(folder, `token-${of}`);
  await writeFile(file, await tokenOf(client, of));
  tokenFiles.set(of, file);
  return file;
}

interface PodOptions {
  readonly namespace?: string;
  readonly tokenFile?: string;
  readonly url?: string;
  readonly file?: string;
  readonly sha256?: string;
  readonly more?: readonly string[];
}

async function argumentsOf(options: PodOptions): Promise<readonly string[]> {
  const tokenFile = options.tokenFile ?? (await tokenFileOf(options.namespace ?? namespace));
  return [
    ...['--model-uri', `http://127.0.0.1:${portOf(store)}/${options.file ?? 'iris.onnx'}`, '--model-name', 'm'],
    ...['--model-sha256', options.sha256 ?? digestOf(iris)],
    ...['--node-cache-url', options.url ?? cache.url, '--node-cache-token-file', tokenFile],
    ...(options.more ?? []),
  ];
}

async function podOf(options: PodOptions = {}): Promise<RunningPod> {
  return startPod(...(await argumentsOf(options)));
}

const line = ({ logs }: RunningPod, message: string) => logs.find(({ msg }) => msg === message);
const taken = 'the cache of the node has the model now';
const noHelp = 'the cache of the node is no help';

/** Starts a pod, and waits until the cache has what it has fetched. */
async function startedFrom(options: PodOptions = {}) {
  const pod = await podOf(options);
  const from = line(pod, 'the model file is here')?.['from'];
  try {
    if (from === 'Store')
      await eventually(
        async () => line(pod, taken),
        (told) => told !== undefined,
        { seconds: 20 },
      );
  } catch {
    throw new Error(`the cache has not taken the model: ${pod.output()}`);
  } finally {
    await pod.stop();
  }
  return from;
}

const kept = (of: string, sha256: string) => join(cache.directory, 'models', of, sha256);

describe('the cache of a node', () => {
  test('gives what one pod has fetched to the next, who asks no store', async () => {
    expect(await startedFrom()).toBe('Store');
    expect(asked).toEqual(['/iris.onnx']);
    expect(await startedFrom()).toBe('NodeCache');
    expect(asked).toEqual(['/iris.onnx']);
    expect(await cache.counts()).toMatchObject({
      'slipway_node_cache_requests_total{outcome="hit"}': expect.any(Number),
      slipway_node_cache_models: expect.any(Number),
    });
  });

  test('gives a namespace nothing of another, whose digests it may know', async () => {
    const others = await makeNamespace(client);
    expect(await startedFrom()).toBe('Store');
    expect(await startedFrom({ namespace: others })).toBe('Store');
    expect(asked).toHaveLength(2);
    const url = cache.url + cachedModelPath(digestOf(iris));
    const headers = { authorization: `Bearer ${await tokenOf(client, await makeNamespace(client))}` };
    expect([await fetch(url, { headers }), await fetch(url, { headers, method: 'HEAD' })]).toMatchObject([
      { status: 404 },
      { status: 404 },
    ]);
  });

  test('gives files beside a model as well, and a signature that is checked by who takes it', async () => {
    const several = { file: 'nested.onnx', sha256: nestedSha256 };
    expect([await startedFrom(several), await startedFrom(several)]).toEqual(['Store', 'NodeCache']);
    expect(asked).toHaveLength(3);
    const key = signer.publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const signed = { more: ['--model-signature-key', key] };
    expect([await startedFrom(signed), await startedFrom(signed)]).toEqual(['Store', 'NodeCache']);
    const stranger = generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const before = asked.length;
    await expect(podOf({ more: ['--model-signature-key', stranger] })).rejects.toThrow('ModelUntrusted');
    expect(asked.length).toBeGreaterThan(before);
  });

  test('a pod that asks for a signature does without one that was kept unsigned', async () => {
    expect(await startedFrom()).toBe('Store');
    const key = signer.publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const pod = await podOf({ more: ['--model-signature-key', key] });
    await eventually(
      async () => line(pod, taken),
      (told) => told !== undefined,
      { seconds: 20 },
    );
    await pod.stop();
    expect(line(pod, 'the model file is here')).toMatchObject({ from: 'Store', signedBy: expect.any(String) });
    // The one with a signature has taken its place.
    expect(await startedFrom({ more: ['--model-signature-key', key] })).toBe('NodeCache');
  });

  test('what somebody of the namespace has put there in its place is not taken, and is replaced', async () => {
    const list = Object.entries({ ...beside, 'nested.onnx': nested })
      .map(([name, bytes]) => `${digestOf(bytes)}  ${name}\n`)
      .toSorted((one, other) => (one.slice(66) < other.slice(66) ? -1 : 1));
    const bytes = Buffer.from(list.join(''));
    const file = { path: 'model.onnx', name: 'nested.onnx', location: 'nested.onnx', bytes: bytes.length };
    const header = bundleHeaderLine({ files: [{ ...file, sha256: digestOf(bytes) }] });
    expect(digestOf(bytes)).toBe(nestedSha256);
    const headers = { authorization: `Bearer ${await tokenOf(client, namespace)}` };
    const put = { method: 'PUT', headers, body: Buffer.concat([header, bytes]) };
    expect((await fetch(cache.url + cachedModelPath(nestedSha256), put)).status).toBe(201);
    const several = { file: 'nested.onnx', sha256: nestedSha256 };
    expect([await startedFrom(several), await startedFrom(several)]).toEqual(['Store', 'NodeCache']);
  });

  test('many pods at once are all served, and it keeps one', async () => {
    const pods = await Promise.all(Array.from({ length: 4 }, () => podOf()));
    await Promise.all(pods.map(({ stop }) => stop()));
    expect(await startedFrom()).toBe('NodeCache');
    expect(await readFile(kept(namespace, digestOf(iris)))).toEqual(Buffer.concat([await headerOf(namespace), iris]));
  });

  test('what was changed on its disk is not taken, and forgotten', async () => {
    expect(await startedFrom()).toBe('Store');
    const file = await open(kept(namespace, digestOf(iris)), 'r+');
    const { size } = await file.stat();
    await file.write(Buffer.from('!'), 0, 1, size - 1);
    await file.close();
    const pod = await podOf();
    await eventually(
      async () => line(pod, taken),
      (told) => told !== undefined,
      { seconds: 20 },
    );
    await pod.stop();
    expect(line(pod, noHelp)?.['reason']).toContain('iris.onnx has sha256');
    expect(line(pod, 'the model file is here')).toMatchObject({ from: 'Store' });
    expect(await startedFrom()).toBe('NodeCache');
  });

  test('has a model from a pod that does no more than fetch it, and that ends', async () => {
    const prefetched = async (options: PodOptions) => {
      const { exitCode, terminationMessage } = await failToStart(
        ...(await argumentsOf({ ...options, more: ['--prefetch', '1'] })),
      );
      return [exitCode, terminationMessage];
    };
    expect(await prefetched({})).toEqual([0, undefined]);
    expect(await prefetched({})).toEqual([0, undefined]);
    expect(asked).toHaveLength(1);
    expect(await startedFrom()).toBe('NodeCache');
    expect(await prefetched({ url: 'http://127.0.0.1:9' })).toEqual([
      1,
      { reason: 'ModelFetchFailed', message: expect.stringContaining('has not taken the model') },
    ]);
  });

  test('has what it had when it is started anew, however it ended', async () => {
    const directory = await mkdtemp(join(folder, 'cache-'));
    const first = await startCache(client, { directory });
    expect(await startedFrom({ url: first.url })).toBe('Store');
    await first.stop('SIGKILL');
    const second = await startCache(client, { directory });
    expect(await startedFrom({ url: second.url })).toBe('NodeCache');
    await second.stop();
  });
});

async function headerOf(of: string): Promise<Buffer> {
  const bytes = await readFile(kept(of, digestOf(iris)));
  return bytes.subarray(0, bytes.indexOf(0x0a) + 1);
}

describe('a cache that is no help costs time, and not the start', () => {
  const expectStarted = async (options: PodOptions, reason: string) => {
    const pod = await podOf(options);
    await pod.stop();
    expect(line(pod, 'the model file is here')).toMatchObject({ from: 'Store' });
    expect(line(pod, noHelp)?.['reason']).toContain(reason);
  };

  test('one that is not there', async () => {
    await expectStarted({ url: 'http://127.0.0.1:9' }, 'ECONNREFUSED');
    await expectStarted({ url: 'http://there-is-no-such-host.invalid' }, 'there-is-no-such-host');
  });

  test('one that takes connections and says nothing', async () => {
    const silent = createTcpServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    await expectStarted({ url: `http://127.0.0.1:${portOf(silent)}` }, 'it takes more than 5000 ms');
    silent.close();
  });

  test('one that stalls in the middle, or says too much', async () => {
    const header = bundleHeaderLine({
      files: [{ path: 'model.onnx', name: 'm', location: 'm', bytes: iris.length, sha256: digestOf(iris) }],
    });
    let sent: Buffer = Buffer.alloc(0);
    let length = 0;
    const played = createServer((request, response) => {
      if (request.method !== 'GET') return void response.writeHead(404).end();
      response.writeHead(200, { 'content-length': length });
      if (sent.length === length) response.end(sent);
      else response.write(sent);
    });
    await new Promise<void>((resolve) => played.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${portOf(played)}`;
    const expectRefused = async (bytes: Buffer, reason: string, announced = bytes.length) => {
      [sent, length] = [bytes, announced];
      await expectStarted({ url }, reason);
    };
    await expectRefused(Buffer.concat([header, iris.subarray(0, 10)]), 'it takes more than 5000 ms', 2000);
    await expectRefused(Buffer.concat([header, iris, iris]), 'more bytes than the header says');
    await expectRefused(Buffer.concat([header, iris.subarray(1)]), 'it ends 1 bytes before the end of a file');
    const outside = header.toString().replace('model.onnx', '../../../outside');
    await expectRefused(Buffer.concat([Buffer.from(outside), iris]), 'leaves the folder of the model');
    await expectRefused(Buffer.alloc(8 * 2 ** 20, 'a'), 'its header has more than');
    played.closeAllConnections();
    played.close();
  });

  test('one that does not know who asks', async () => {
    const file = async (name: string, token: string) => {
      const path = join(folder, name);
      await writeFile(path, token);
      return path;
    };
    const forApiServer = await tokenOf(client, namespace, 'default', null);
    await expectStarted({ tokenFile: await file('for-another', forApiServer) }, 'it answered 401');
    await expectStarted({ tokenFile: await file('none', 'a.b.c') }, 'it answered 401');
    await expectStarted({ tokenFile: await file('empty', '') }, 'it answered 401');
    await expectStarted({ tokenFile: join(folder, 'is-not-there') }, 'ENOENT');
  });

  test('one whose API server is away', async () => {
    const blind = await startCache(client, {
      directory: await mkdtemp(join(folder, 'cache-')),
      apiServer: 'https://127.0.0.1:9',
    });
    await expectStarted({ url: blind.url }, 'it answered 503');
    await blind.stop();
  });
});

describe('what somebody sends who means no good', () => {
  const model = Buffer.from('not a model');
  const header = bundleHeaderLine({
    files: [{ path: 'model.onnx', name: 'm', location: 'm', bytes: model.length, sha256: digestOf(model) }],
  });
  const put = async (path: string, body: Buffer) => {
    const headers = { authorization: `Bearer ${await tokenOf(client, namespace)}` };
    const answer = await fetch(`${cache.url}${path}`, { method: 'PUT', headers, body });
    return [answer.status, ((await answer.json().catch(() => ({}))) as { error?: string }).error];
  };

  test('is not kept, and told why', async () => {
    const whole = Buffer.concat([header, model]);
    expect(await put(cachedModelPath('a'.repeat(64)), whole)).toEqual([
      400,
      expect.stringContaining('are those of a model'),
    ]);
    expect(await put(cachedModelPath(digestOf(model)), header)).toEqual([
      400,
      expect.stringContaining('before the end'),
    ]);
    expect(await put(cachedModelPath(digestOf(model)), Buffer.concat([whole, model]))).toEqual([
      400,
      expect.stringContaining('more bytes'),
    ]);
    expect(await put('/v1/models/..%2f..%2fetc', whole)).toEqual([400, expect.stringContaining('64 lower-case')]);
    expect(await put('/v1/models/', whole)).toEqual([404, expect.stringContaining('there is only')]);
    expect(await put(cachedModelPath(digestOf(model)), whole)).toEqual([201, undefined]);
  });

  test('more than is kept altogether is refused before it is sent', async () => {
    const { connect } = await import('node:net');
    const socket = connect(Number(new URL(cache.url).port), '127.0.0.1');
    const token = await tokenOf(client, namespace);
    socket.write(
      `PUT ${cachedModelPath('a'.repeat(64))} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${token}\r\ncontent-length: ${2 ** 40}\r\n\r\n`,
    );
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    expect(answer).toContain('413');
  });

  test('nothing is told without a token', async () => {
    const path = cache.url + cachedModelPath(digestOf(iris));
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE'])
      expect((await fetch(path, { method, ...(method === 'PUT' ? { body: 'a' } : {}) })).status).toBe(401);
  });
});
