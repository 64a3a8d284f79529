import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync, verify } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { request as forward, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ensureBinaries } from '../cluster/binaries.ts';
import { freePort, portOf } from '../free-port.ts';
import { makeCertificates } from './certificates.ts';
import { type PlayedProxy, startProxy } from './played-proxy.ts';
import { iris, listen, startStore, Workplace } from './played-store.ts';

/**
 * Models of Google Cloud Storage (fake-gcs-server). That lets everybody in, so before it stands what does not: it gives tokens for what
 * the key of an account has signed, and to a pod by the metadata of its node, and asks for them.
 */
const object = 'iris/v1 (final)/a+b=c&d~é*!.onnx';
const uri = `gs://models/${object}`;
const account = 'server@project.iam.gserviceaccount.com';
const token = 'ya29.a-token-of-google';
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

let work: Workplace;
let store: ChildProcess;
let storePort: number;
let google: { readonly server: Server; readonly url: string };
/** Where Google gives tokens, which its library asks under that name alone. */
let oauth: SecureServer;
let proxy: PlayedProxy;
let authority: string;
beforeAll(async () => {
  const { 'fake-gcs-server': server } = await ensureBinaries('fake-gcs-server');
  work = await Workplace.make('google');
  const file = join(work.folder, 'data/models', object);
  await mkdir(join(file, '..'), { recursive: true });
  await copyFile(iris, file);
  storePort = await freePort();
  const args = ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(storePort), '-backend', 'memory'];
  store = await startStore(
    server,
    [...args, '-data', join(work.folder, 'data')],
    `http://127.0.0.1:${storePort}/storage/v1/b`,
  );
  google = await listen((request, response) => void answer(request, response));
  const made = await makeCertificates({ type: 'dns', value: 'oauth2.googleapis.com' });
  authority = join(work.folder, 'authority.pem');
  await writeFile(authority, made.authority);
  oauth = createSecureServer(
    { cert: made.certificate, key: made.key },
    (request, response) => void answer(request, response),
  );
  oauth.listen(0, '127.0.0.1');
  await once(oauth, 'listening');
  proxy = await startProxy(oauth);
}, 600_000);
afterAll(async () => {
  store.kill();
  google.server.close();
  proxy.close();
  oauth.close();
  await work.remove();
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { url = '', headers } = request;
  const json = (status: number, body: object) =>
    response
      .writeHead(status, { 'content-type': 'application/json', 'metadata-flavor': 'Google' })
      .end(JSON.stringify(body));
  if (url.startsWith('/token')) {
    const assertion = new URLSearchParams(await text(request)).get('assertion') ?? '';
    const [head = '', claims = '', signature = ''] = assertion.split('.');
    const isSigned = verify(
      'RSA-SHA256',
      Buffer.from(`${head}.${claims}`),
      publicKey,
      Buffer.from(signature, 'base64url'),
    );
    const { iss } = JSON.parse(Buffer.from(claims, 'base64url').toString());
    if (!isSigned || iss !== account)
      return void json(400, { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' });
    return void json(200, { access_token: token, expires_in: 3600, token_type: 'Bearer' });
  }
  if (url.startsWith('/computeMetadata/')) {
    if (url.includes('/service-accounts/default/token'))
      return void json(200, { access_token: token, expires_in: 3600, token_type: 'Bearer' });
    return void json(200, {});
  }
  if (headers.authorization !== `Bearer ${token}`)
    return void json(headers.authorization === undefined ? 401 : 403, {
      error: { message: 'does not have storage.objects.get access' },
    });
  forward(
    { port: storePort, host: '127.0.0.1', path: url, headers: { ...headers, host: `127.0.0.1:${storePort}` } },
    (told) => {
      response.writeHead(told.statusCode ?? 500, told.headers);
      told.pipe(response);
    },
  ).end();
}

const accountFile = (more: object = {}) =>
  JSON.stringify({
    type: 'service_account',
    client_email: account,
    private_key: pem,
    private_key_id: 'key',
    ...more,
  });
const withSecret = (file: string) =>
  work.secretOf({ STORAGE_EMULATOR_HOST: google.url, GOOGLE_APPLICATION_CREDENTIALS: file });
const toGoogle = () => ({ HTTPS_PROXY: proxy.url, NO_PROXY: '127.0.0.1', NODE_EXTRA_CA_CERTS: authority });
/** Nothing of the node is there to ask. */
const noNode = { METADATA_SERVER_DETECTION: 'none' };

describe('a model comes from Google Cloud Storage', () => {
  test('with the file of an account, which nothing tells', async () => {
    await work.expectLoaded(uri, await withSecret(accountFile()), toGoogle());
    expect(proxy.tunnels).toContain('oauth2.googleapis.com:443');
  });

  test("with the account of the node or of the pod's workload identity", async () => {
    const environment = {
      GCE_METADATA_HOST: google.url.replace('http://', ''),
      METADATA_SERVER_DETECTION: 'assume-present',
    };
    await work.expectLoaded(uri, await work.secretOf({ STORAGE_EMULATOR_HOST: google.url }), environment);
  });

  test('without any, where anybody may read it', async () => {
    await work.expectLoaded(uri, await work.secretOf({ STORAGE_EMULATOR_HOST: `127.0.0.1:${storePort}` }), noNode);
  });

  test('no later than it may take, though whoever gives tokens does not answer', async () => {
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const environment = { ...toGoogle(), HTTPS_PROXY: `http://127.0.0.1:${portOf(silent)}` };
    const secret = [...(await withSecret(accountFile())), '--fetch-timeout-seconds', '2'];
    const start = performance.now();
    await work.expectRefused(uri, secret, ['ModelFetchFailed', 'was not there after 2 s'], environment);
    expect(performance.now() - start).toBeLessThan(30_000);
    silent.close();
  });

  test('not where nobody may read it', async () => {
    const secret = await work.secretOf({ STORAGE_EMULATOR_HOST: google.url });
    const advice = 'set spec.model.secretName to a Secret with GOOGLE_APPLICATION_CREDENTIALS';
    await work.expectRefused(uri, secret, ['ModelFetchFailed', advice], noNode);
  });

  test.each<[string, () => string, string, string]>([
    ['with a file that is none', () => 'the-key-itself', 'InvalidConfiguration', 'must be the JSON file of an account'],
    [
      'with the key of another account',
      () =>
        accountFile({
          private_key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
            type: 'pkcs8',
            format: 'pem',
          }),
        }),
      'ModelFetchFailed',
      'no token is given for GOOGLE_APPLICATION_CREDENTIALS of the Secret of spec.model.secretName: invalid_grant',
    ],
  ])('not %s', async (_, file, reason, message) => {
    await work.expectRefused(uri, await withSecret(file()), [reason, message], toGoogle());
  });

  test.each(['gs://models/none.onnx', 'gs://others/none.onnx'])('not from %s, which is not there', async (missing) => {
    const answer = ['ModelNotFound', 'there is no such object, or no such bucket'] as const;
    await work.expectRefused(missing, await withSecret(accountFile()), answer, toGoogle());
  });
});
