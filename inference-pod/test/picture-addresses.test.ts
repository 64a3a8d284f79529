import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { get, post } from './http.ts';
import { type RunningPod, startPod } from './running-pod.ts';

/** Pictures that requests name by their addresses. */
let folder: string;
let store: Server;
let address: string;
let picture: Buffer;
let asked: IncomingMessage[] = [];
const answers: Record<string, (response: ServerResponse) => void> = {};
let pod: RunningPod;
let anywhere: RunningPod;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-addresses-'));
  await mkdir(join(folder, 'onnx'));
  await cp(join(import.meta.dirname, 'models/pictures/first.onnx'), join(folder, 'onnx/model.onnx'));
  const id2label = Object.fromEntries(Array.from({ length: 7 }, (_, at) => [at, `label ${at}`]));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ id2label }));
  const size = { width: 32, height: 32 };
  const processing = { size, image_mean: [0.48, 0.46, 0.41], image_std: [0.27, 0.26, 0.28] };
  await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(processing));
  picture = await sharp({ create: { width: 40, height: 30, channels: 3, background: '#2060a0' } })
    .png()
    .toBuffer();
  store = createServer((request, response) => {
    asked.push(request);
    const answer = answers[request.url ?? ''];
    if (answer === undefined) response.writeHead(404).end();
    else answer(response);
  });
  await new Promise<void>((resolve) => store.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(store.address() as AddressInfo).port}`;
  answers['/picture.png'] = (response) => response.end(picture);
  pod = await startPod(...argumentsOf('127.0.0.1,*.example.com'));
  anywhere = await startPod(...argumentsOf('*'), '--request-timeout-milliseconds', '20000');
});
afterAll(async () => {
  await pod.stop();
  await anywhere.stop();
  store.closeAllConnections();
  store.close();
  await rm(folder, { recursive: true });
});

const argumentsOf = (hosts: string) => [
  ...['--model', join(folder, 'onnx/model.onnx'), '--model-name', 'pictures', '--task', 'ImageClassification'],
  ...['--max-body-bytes', '262144', ...(hosts === '' ? [] : ['--picture-hosts', hosts])],
];

const classify = (input: unknown, of = pod, headers: Record<string, string> = {}) =>
  post(`${of.url}/v1/classify`, { model: 'pictures', input }, headers);
const messageOf = async (input: unknown, of = pod) => {
  const { status, json: body } = await classify(input, of);
  return [status, body.error.message];
};

describe('pictures by their addresses', () => {
  test('are answered as the same in Base64, in every form', async () => {
    const encoded = picture.toString('base64');
    const url = `${address}/picture.png`;
    asked = [];
    const wanted = await classify([encoded, encoded, encoded]);
    expect(wanted.status).toBe(200);
    expect(await classify([url, { image: url }, encoded])).toMatchObject({ status: 200, json: wanted.json });
    // Each address once in a request.
    expect(asked).toHaveLength(1);
    expect(asked[0]?.headers).not.toHaveProperty('authorization');
    expect((await classify(url)).json.data).toEqual(wanted.json.data.slice(0, 1));
    expect((await classify({ image: url })).status).toBe(200);
    expect((await classify(new Array(64).fill(url))).json.data).toHaveLength(64);
  });

  test('are fetched from nowhere unless that is asked for', async () => {
    const plain = await startPod(...argumentsOf(''));
    asked = [];
    expect(await messageOf(`${address}/picture.png`, plain)).toEqual([400, expect.stringContaining('is an address')]);
    expect(asked).toEqual([]);
    await plain.stop();
  });

  test.each([
    'http://localhost/a.png',
    'http://127.0.0.1.evil.example/a.png',
    'http://example.com/a.png',
    'http://evil-example.com/a.png',
    'http://10.0.0.1/a.png',
  ])('are not fetched from %s, which is not named', async (url) => {
    expect(await messageOf(url)).toEqual([
      400,
      expect.stringMatching(
        /^'input': there is no picture at .*: pictures are fetched from 127.0.0.1, \*.example.com alone/,
      ),
    ]);
  });

  test.each([
    ['127.0.0.1', 'http://127.0.0.1:9/'],
    ['as a number', 'http://2130706433:9/'],
    ['in octal', 'http://0177.0.0.1:9/'],
    ['in short', 'http://127.1:9/'],
    ['IPv6', 'http://[::1]:9/'],
    ['IPv4 in IPv6', 'http://[::ffff:127.0.0.1]:9/'],
    ['a translated one', 'http://[64:ff9b::7f00:1]:9/'],
    ['a private network', 'http://10.1.2.3/'],
    ['another', 'http://192.168.1.1/'],
    ['and another', 'http://172.16.0.1/'],
    ['that of a carrier', 'http://100.64.0.1/'],
    ['a cluster of IPv6', 'http://[fd00::1]/'],
    ['a metadata service', 'http://169.254.169.254/latest/'],
    ['another of them', 'http://[fd00:ec2::254]/'],
    ['one of ISATAP', 'http://[2001:470::5efe:a9fe:a9fe]/'],
    ['no address', 'http://0.0.0.0:9/'],
    ['many', 'http://224.0.0.1/'],
    ['all', 'http://255.255.255.255/'],
  ])('everybody is not everything: %s', async (_what, url) => {
    expect(await messageOf([url], anywhere)).toEqual([400, expect.stringMatching(/is refused: /)]);
  });

  test('a metadata service is none, also where a redirect leads there, or its host is named', async () => {
    answers['/metadata'] = (response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
    answers['/elsewhere'] = (response) => response.writeHead(302, { location: 'http://localhost/a.png' }).end();
    answers['/file'] = (response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end();
    answers['/round'] = (response) => response.writeHead(302, { location: '/round' }).end();
    answers['/moved'] = (response) => response.writeHead(301, { location: '/picture.png' }).end();
    expect(await messageOf(`${address}/metadata`)).toEqual([400, expect.stringContaining('not from 169.254.169.254')]);
    expect(await messageOf(`${address}/elsewhere`)).toEqual([400, expect.stringContaining('not from localhost')]);
    expect(await messageOf(`${address}/file`)).toEqual([400, expect.stringContaining('nothing is fetched over file:')]);
    expect(await messageOf(`${address}/round`)).toEqual([400, expect.stringContaining('more than 3 redirects')]);
    expect((await classify(`${address}/moved`)).status).toBe(200);
    const named = await startPod(...argumentsOf('169.254.169.254'));
    expect(await messageOf('http://169.254.169.254/', named)).toEqual([400, expect.stringContaining('is refused: ')]);
    await named.stop();
  });

  test('what is none is told by its field', async () => {
    answers['/text'] = (response) => response.end('no picture');
    answers['/large'] = (response) => response.end(Buffer.alloc(300_000));
    const good = `${address}/picture.png`;
    expect(await messageOf([good, `${address}/gone`])).toEqual([
      400,
      expect.stringContaining("'input[1]': there is no picture at"),
    ]);
    expect(await messageOf([{ image: `${address}/gone?secret=1` }])).toEqual([
      400,
      expect.stringContaining("'input[0].image'"),
    ]);
    expect(await messageOf([`${address}/text`])).toEqual([400, expect.stringContaining("'input[0]'")]);
    expect(await messageOf([`${address}/large`])).toEqual([400, expect.stringContaining('larger than this server')]);
    expect(await messageOf('http://user:password@127.0.0.1/a.png')).toEqual([400, expect.stringContaining('a user')]);
    expect(await messageOf('http://nowhere.example.com/a.png')).toEqual([
      400,
      expect.stringContaining('nowhere.example.com'),
    ]);
    expect(await messageOf(new Array(65).fill(good))).toEqual([400, expect.stringContaining('64')]);
    expect((await get(`${pod.url}/v2/health/ready`)).status).toBe(200);
  });

  test('a server that stalls costs its request, and no longer than that may take', async () => {
    answers['/stall'] = (response) => response.write(picture.subarray(0, 20));
    const start = performance.now();
    const { status } = await classify(`${address}/stall`, pod, { 'x-request-timeout-ms': '700' });
    expect(status).toBe(504);
    expect(performance.now() - start).toBeLessThan(5000);
    expect((await classify(`${address}/picture.png`)).status).toBe(200);
  });

  test('everything else of a request stays as it was sent', async () => {
    const url = `${address}/picture.png`;
    const send = (text: string) => post(`${pod.url}/v1/classify`, text);
    const escaped = JSON.stringify(url).replaceAll('/', '\\/');
    expect((await send(`{"model":"pictures","input":[${escaped}],"user":"${url}"}`)).status).toBe(200);
    const wrong = await send(`{"model":"pictures","input":[${JSON.stringify(url)}],"top_n":1e400}`);
    expect([wrong.status, wrong.json.error.message]).toEqual([400, expect.stringContaining("'top_n'")]);
    expect((await send(`{"model":"pictures","input":[${JSON.stringify(url)}],"model":"pictures"}`)).status).toBe(400);
    const nested = `${'{"image":'.repeat(20_000)}${JSON.stringify(url)}${'}'.repeat(20_000)}`;
    expect((await send(`{"model":"pictures","input":${nested}}`)).status).toBe(400);
    expect((await send(`{"model":"pictures","input":[${JSON.stringify(url)}`)).status).toBe(400);
  });

  test('names of the network are not told to everybody', async () => {
    const reason = 'its server cannot be reached, or is none that everybody can reach';
    for (const host of ['localhost', 'there-is-no-such-host.invalid'])
      expect(await messageOf(`http://${host}/`, anywhere)).toEqual([400, expect.stringContaining(reason)]);
  });

  test('a large body with an address in it is refused', async () => {
    const big = await startPod(...argumentsOf('127.0.0.1'), '--max-body-bytes', String(8 * 2 ** 20));
    const { status, json: body } = await classify([`${address}/picture.png`, 'A'.repeat(2 ** 20)], big);
    expect([status, body.error.message]).toEqual([400, expect.stringContaining('in bodies of at most 1 MiB')]);
    await big.stop();
  });
});
