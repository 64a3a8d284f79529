import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { startPodIn } from '../../inference-pod/test/running-pod.ts';
import { iris, listen, Workplace } from './played-store.ts';
import { Repository, serveGit } from './served-repository.ts';

/**
 * Models of repositories that Git itself serves, behind what asks for a password, as servers of Git do. The large files of Git LFS are
 * played, by its specification.
 */
const bytes = readFileSync(iris);
/** Longer than a pointer of Git LFS can be. */
const longer = readFileSync(exampleModel('iris', '2').path);
const sha256 = createHash('sha256').update(bytes).digest('hex');
const account = { username: 'user', password: 'the-password-of-the-user' };
const authorization = `Basic ${Buffer.from(`${account.username}:${account.password}`).toString('base64')}`;
const models = join(import.meta.dirname, '../../inference-pod/test/models');
const lfsType = 'application/vnd.git-lfs+json';

let work: Workplace;
let server: { readonly server: Server; readonly url: string };
/** Where the large files are, which is shown no password. */
let store: { readonly server: Server; readonly url: string };
const shownToTheStore: unknown[] = [];
let secret: readonly string[];
let commits: { readonly first: string; readonly second: string; readonly large: string; readonly newer: string };

/** What the server does to the requests and answers of a test. */
let meddle: {
  readonly request?: (body: string) => string;
  readonly cutAfter?: number;
  readonly isAnnounced?: true;
  /** Knows no objects but those of SHA-1, and ends at what it does not know. */
  readonly isOld?: true;
  /** How many questions are answered with nothing. */
  silences?: number;
  readonly large?: object;
} = {};
beforeEach(() => {
  meddle = {};
});

const pointer = (digest: string, size: number) =>
  `version https://git-lfs.github.com/spec/v1\noid sha256:${digest}\nsize ${size}\n`;
const missing = createHash('sha256').update('nobody has it').digest('hex');

/** Folders so alike that Git tells most of them by their differences. */
const manyFiles = Object.fromEntries(
  Array.from({ length: 6 }, (_, folder) =>
    Array.from({ length: 120 }, (_, file) => [`notes/${folder}/${file}.txt`, `${file} ${folder === file ? 'x' : ''}`]),
  ).flat(),
);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { url = '', headers } = request;
  if (url.startsWith('/page/')) return void response.end('<html>a page</html>');
  if (url.startsWith('/old/')) {
    delete headers['git-protocol'];
    return serveGit(work.folder, Object.assign(request, { url: url.slice('/old'.length) }), response);
  }
  if (url.startsWith('/moved/'))
    return void response.writeHead(301, { location: `${server.url}${url.slice('/moved'.length)}` }).end();
  if (headers.authorization !== authorization && !/^\/(open|signed)\//.test(url))
    return void response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
  if (url.endsWith('/info/lfs/objects/batch')) return await answerBatch(request, response);
  if (url.startsWith('/signed/'))
    return void response.end(headers.authorization === undefined ? bytes : 'two answers to who asks');
  if (url.startsWith('/picky/'))
    return void response.writeHead(headers.accept === 'application/vnd.git-lfs' ? 200 : 404).end(bytes);
  if (url.startsWith('/large/')) return void response.end(bytes);
  if (meddle.isAnnounced === true && request.method === 'GET') announce(response);
  if (meddle.silences !== undefined && request.method === 'POST' && meddle.silences-- > 0) return void response.end();
  if (meddle.isOld === true) return await answerAsOld(request, response);
  if (meddle.request !== undefined && request.method === 'POST')
    return serveGit(work.folder, request, response, meddle.request(await textOf(request)));
  if (meddle.cutAfter !== undefined && request.method === 'POST') cut(response, meddle.cutAfter);
  return serveGit(work.folder, request, response);
}

async function answerAsOld(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = request.method === 'POST' ? await textOf(request) : undefined;
  if (body?.includes('object-format') === true) return void response.end();
  const write = response.write.bind(response);
  response.write = (chunk: Buffer) =>
    write(Buffer.from(chunk.toString('latin1').replace(/[0-9a-f]{4}object-format=sha1\n/, ''), 'latin1'));
  serveGit(work.folder, request, response, body);
}

/** As GitHub does it. */
function announce(response: ServerResponse): void {
  const write = response.write.bind(response);
  response.write = (chunk: Buffer) => {
    response.write = write;
    return write(Buffer.concat([Buffer.from('001e# service=git-upload-pack\n0000'), chunk]));
  };
}

/** Once: what is sent ends in the middle of it. */
function cut(response: ServerResponse, after: number): void {
  let left = after;
  const write = response.write.bind(response);
  response.write = (chunk: Buffer) => {
    left -= chunk.length;
    if (left > 0) return write(chunk);
    meddle = {};
    response.destroy();
    return false;
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** Of Git LFS's Batch API, what is downloaded. */
async function answerBatch(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const question = JSON.parse(await textOf(request));
  const isOfSpecification =
    request.headers.accept === lfsType &&
    request.headers['content-type'] === lfsType &&
    question.operation === 'download' &&
    question.transfers.includes('basic');
  const [{ oid, size }] = question.objects;
  const object = () => {
    if (meddle.large !== undefined) return meddle.large;
    if (!isOfSpecification || oid === missing) return { error: { code: 404, message: 'Object does not exist' } };
    // What repositories of these names have is told in these ways.
    const href = request.url?.startsWith('/own.git/') ? `${server.url}/large/${oid}` : `${store.url}/${oid}`;
    return { actions: { download: { href, header: { 'X-Ticket': 'one' } } } };
  };
  response.writeHead(200, { 'content-type': lfsType });
  response.end(JSON.stringify({ transfer: 'basic', objects: [{ oid, size, ...object() }] }));
}

beforeAll(async () => {
  work = await Workplace.make('git');
  secret = await work.secretOf(account);
  store = await listen(({ headers, url = '' }, response) => {
    shownToTheStore.push(headers.authorization);
    if (headers['x-ticket'] !== 'one') return void response.writeHead(403).end();
    response.end(url === `/${sha256}` ? bytes : Buffer.from('something else'));
  });
  server = await listen((request, response) => void answer(request, response));

  const repository = await Repository.make(join(work.folder, 'models/iris.git'));
  const first = await repository.commit({ 'onnx/model.onnx': bytes, 'longer.onnx': longer, ...manyFiles });
  await repository.git('tag', '--annotate', '--message', 'one', 'v1');
  const second = await repository.commit({
    'onnx/model.onnx': readFileSync(join(models, 'nested.onnx')),
    'onnx/external.onnx_data': readFileSync(join(models, 'external.onnx_data')),
    'onnx/weights/w 1.bin': readFileSync(join(models, 'weights/w 1.bin')),
  });
  const large = await repository.commit({
    'onnx/model.onnx': pointer(sha256, bytes.length),
    'missing.onnx': pointer(missing, 7),
    'wrong.onnx': pointer(createHash('sha256').update('wrong').digest('hex'), 7),
    'odd.onnx': pointer(sha256, 7).replace('oid', 'ext-0-foo sha256:1\noid'),
    'small.onnx': 'no model',
  });
  await repository.git('branch', 'feature/one', first);
  await repository.git('tag', 'feature', first);
  await repository.git('symbolic-ref', 'refs/heads/linked', 'refs/heads/main');
  const newer = await repository.commit({ 'onnx/model.onnx': 'no model either' });
  await repository.git('repack', '-a', '-d', '-f', '--quiet');
  await repository.git('config', 'uploadpack.allowFilter', 'true');
  commits = { first, second, large, newer };

  const linked = await Repository.make(join(work.folder, 'linked.git'));
  await linked.commit({ 'model.onnx': bytes });
  await linked.git(
    'update-index',
    '--add',
    '--cacheinfo',
    `120000,${await linked.git('hash-object', '-w', 'model.onnx')},link.onnx`,
  );
  await linked.git('update-index', '--add', '--cacheinfo', `160000,${first},other`);
  await linked.git('commit', '--quiet', '--message', 'links');
  for (const name of ['own.git', 'open/iris'])
    await (await Repository.make(join(work.folder, name))).commit({
      'm.onnx': name === 'own.git' ? pointer(sha256, bytes.length) : bytes,
    });
  await (await Repository.make(join(work.folder, 'other-digests'), '--object-format=sha256')).commit({
    'm.onnx': bytes,
    ...manyFiles,
  });
}, 60_000);
afterAll(async () => {
  server.server.close();
  store.server.close();
  await work.remove();
});

const at = (repository: string, revision: string, path: string) =>
  `${server.url.replace('http:', 'git+http:')}/${repository}@${encodeURIComponent(revision)}/${path}`;

describe('a model comes from a repository of Git', () => {
  test.each(['v1', 'feature/one', 'refs/heads/feature/one', 'refs/tags/v1', 'feature'])('at %s', async (revision) => {
    await work.expectLoaded(at('models/iris.git', revision, 'onnx/model.onnx'), secret);
  });

  test('at a commit, also of a server that sends what it was not asked for', async () => {
    await work.expectLoaded(at('models/iris.git', commits.first, 'onnx/model.onnx'), secret);
    const repository = new Repository(join(work.folder, 'models/iris.git'));
    await repository.git('config', 'uploadpack.allowFilter', 'false');
    await work.expectLoaded(at('models/iris.git', commits.first, 'onnx/model.onnx'), secret);
    await repository.git('config', 'uploadpack.allowFilter', 'true');
  });

  test('that is no pointer, by its length', async () => {
    await work.expectLoadedOf(longer, at('models/iris.git', commits.first, 'longer.onnx'), secret);
  });

  test('without a password where none is asked for, and at what is checked out', async () => {
    await work.expectLoaded(at('open/iris', 'HEAD', 'm.onnx'), []);
  });

  test('of which it tells what its tag led to', async () => {
    const args = ['--model-uri', at('models/iris.git', 'v1', 'onnx/model.onnx'), '--model-name', 'iris', ...secret];
    const pod = await startPodIn({}, ...args);
    await pod.stop();
    const resolvedUri = at('models/iris.git', commits.first, 'onnx/model.onnx');
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', resolvedUri, sha256 }));
  });

  test('with the files that have its data', async () => {
    const args = ['--model-uri', at('models/iris.git', commits.second, 'onnx/model.onnx'), '--model-name', 'nested'];
    const pod = await startPodIn({}, ...args, ...secret);
    await pod.stop();
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', from: 'Store' }));
  });

  test('whose objects have the longer digests', async () => {
    await work.expectLoaded(at('other-digests', 'main', 'm.onnx'), secret);
  });

  test('of a server that says what it is asked for before it answers', async () => {
    meddle = { isAnnounced: true };
    await work.expectLoaded(at('models/iris.git', 'v1', 'onnx/model.onnx'), secret);
  });

  test('that has moved to another address, with what is in Git LFS', async () => {
    await work.expectLoaded(at('moved/models/iris.git', 'v1', 'onnx/model.onnx'), secret);
    await work.expectLoaded(at('moved/models/iris.git', commits.large, 'onnx/model.onnx'), secret);
  });

  test('of Git LFS, whose store is not shown the password', async () => {
    shownToTheStore.length = 0;
    await work.expectLoaded(at('models/iris.git', commits.large, 'onnx/model.onnx'), secret);
    await work.expectLoaded(at('models/iris', commits.large, 'onnx/model.onnx'), secret);
    expect(shownToTheStore).toEqual([undefined, undefined]);
  });

  test('of Git LFS on the server of the repository itself, which asks for the password', async () => {
    await work.expectLoaded(at('own.git', 'main', 'm.onnx'), secret);
  });

  test('of a server of before there were longer digests', async () => {
    meddle = { isOld: true };
    await work.expectLoaded(at('models/iris.git', 'v1', 'onnx/model.onnx'), secret);
  });

  test('of a server that answers with nothing, twice', async () => {
    meddle = { silences: 2 };
    await work.expectLoaded(at('models/iris.git', 'v1', 'onnx/model.onnx'), secret);
  });

  test('of Git LFS that says how it is to be asked', async () => {
    const header = { Accept: 'application/vnd.git-lfs', 'Transfer-Encoding': 'x', Range: 'bytes=5-' };
    meddle = { large: { actions: { download: { href: `${server.url}/picky/${sha256}`, header } } } };
    await work.expectLoaded(at('models/iris.git', commits.large, 'onnx/model.onnx'), secret);
  });

  test('of Git LFS that asks nobody who it is, and is not told', async () => {
    const download = { href: `${server.url}/signed/${sha256}` };
    meddle = { large: { authenticated: true, actions: { download } } };
    await work.expectLoaded(at('models/iris.git', commits.large, 'onnx/model.onnx'), secret);
  });

  test.each([
    [
      'says what it was shown',
      { code: 422, message: `no: ${authorization}, ${account.password}` },
      'answered 422: no: ',
    ],
    ['says nothing that is understood', { message: {} }, 'answered with an error'],
    ['does not let it be read', { code: 403 }, 'check username and password'],
  ])('not of Git LFS that %s', async (_, error, message) => {
    meddle = { large: { error } };
    const uri = at('models/iris.git', commits.large, 'onnx/model.onnx');
    await work.expectRefused(uri, secret, ['ModelFetchFailed', message]);
  });

  test.each([40, 300, 2000])('of a server that is cut off after %d bytes, once', async (cutAfter) => {
    meddle = { cutAfter };
    await work.expectLoaded(at('models/iris.git', commits.first, 'onnx/model.onnx'), secret);
    expect(meddle).toEqual({});
  });

  test.each<[string, () => string, string, string]>([
    ['a repository that is not there', () => at('none.git', 'main', 'm.onnx'), 'ModelNotFound', 'no such repository'],
    [
      'a revision that is not there',
      () => at('models/iris.git', 'v9', 'm.onnx'),
      'ModelNotFound',
      "has no branch or tag 'v9'",
    ],
    [
      'a commit that is cut short',
      () => at('models/iris.git', commits.first.slice(0, 12), 'm.onnx'),
      'ModelNotFound',
      'a commit by all its digits',
    ],
    [
      'a commit that is not there',
      () => at('models/iris.git', 'a'.repeat(40), 'm.onnx'),
      'ModelNotFound',
      `not our ref ${'a'.repeat(40)}`,
    ],
    [
      'a file that is not there',
      () => at('models/iris.git', 'v1', 'onnx/none.onnx'),
      'ModelNotFound',
      "has in onnx no file 'none.onnx'; there is 'model.onnx'",
    ],
    [
      'a folder',
      () => at('models/iris.git', 'v1', 'onnx'),
      'ModelNotFound',
      "has in its root no file 'onnx', which is a folder there",
    ],
    [
      'a file in a file',
      () => at('models/iris.git', 'v1', 'onnx/model.onnx/m'),
      'ModelNotFound',
      "has in onnx no folder 'model.onnx', which is a file there",
    ],
    ['a link', () => at('linked.git', 'main', 'link.onnx'), 'ModelNotFound', 'which is a link there'],
    [
      'another repository in it',
      () => at('linked.git', 'main', 'other'),
      'ModelNotFound',
      'which is a repository of its own there',
    ],
    ['a page', () => at('page/iris', 'main', 'm.onnx'), 'ModelFetchFailed', "is not Git's protocol"],
    [
      'a server that speaks an older protocol alone',
      () => at('old/models/iris.git', 'main', 'm.onnx'),
      'ModelFetchFailed',
      'does not speak version 2',
    ],
    [
      'a large file that nobody has pushed',
      () => at('models/iris.git', commits.large, 'missing.onnx'),
      'ModelNotFound',
      'git lfs push',
    ],
    [
      'a large file that has become another',
      () => at('models/iris.git', commits.large, 'wrong.onnx'),
      'ModelDigestMismatch',
      'its store says',
    ],
    [
      'a large file that is not kept as it is',
      () => at('models/iris.git', commits.large, 'odd.onnx'),
      'ModelFetchFailed',
      'a pointer of Git LFS that is not understood',
    ],
    ['a file that is no model', () => at('models/iris.git', commits.large, 'small.onnx'), 'ModelInvalid', ''],
  ])('not of %s', async (_, uri, reason, message) => {
    await work.expectRefused(uri(), secret, [reason, message]);
  });

  test.each<[string, Record<string, string>, string]>([
    ['without a password', {}, 'no such repository without a password'],
    ['with another password', { ...account, password: 'another-password' }, 'no such repository for this account'],
  ])('not %s', async (_, values, message) => {
    const refused = await work.secretOf(values);
    await work.expectRefused(at('models/iris.git', 'v1', 'onnx/model.onnx'), refused, ['ModelNotFound', message]);
  });

  test('not of a server that sends another file, or another commit', async () => {
    const repository = new Repository(join(work.folder, 'models/iris.git'));
    const uri = at('models/iris.git', commits.first, 'onnx/model.onnx');
    const [one, other] = [
      await repository.git('rev-parse', `${commits.first}:onnx/model.onnx`),
      await repository.git('rev-parse', `${commits.second}:onnx/model.onnx`),
    ];
    meddle = { request: (body) => body.replace(one, other) };
    await work.expectRefused(uri, secret, ['ModelDigestMismatch', `another file than Git's ${one}`]);
    meddle = { request: (body) => body.replace(commits.first, commits.second) };
    await work.expectRefused(uri, secret, ['ModelFetchFailed', `${commits.first} is not in it`]);
  });
});
