import { type ChildProcess, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { request as forward, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { cacheFolder } from '../cluster/cache.ts';
import { run } from '../cluster/command.ts';
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { iris, listen, Workplace } from '../stores/played-store.ts';

/** Models of Azure Storage (Azurite, Microsoft's own server for tests), which checks signatures. Entra is played. */
const version = '3.37.0';
const account = 'account';
const key = Buffer.from('the key of the account, of 64 bytes as Azure makes them, or so.').toString('base64');
const blob = 'iris/v1 (final)/a+b=c&d~é*!.onnx';
const uri = `azblob://${account}/models/${blob}`;

let work: Workplace;
let azurite: ChildProcess;
let entra: { readonly server: Server; readonly url: string };
let endpoint: string;

async function ensureAzurite(): Promise<string> {
  const folder = join(cacheFolder, `azurite-${version}`);
  const main = join(folder, 'node_modules/azurite/dist/src/blob/main.js');
  if (existsSync(main)) return main;
  await mkdir(folder, { recursive: true });
  await run('npm', [
    'install',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    '--prefix',
    folder,
    `azurite@${version}`,
  ]);
  return main;
}

/** As the specification of shared keys has it, by the test itself. */
async function call(
  method: string,
  path: string,
  body = Buffer.alloc(0),
  more: Record<string, string> = {},
): Promise<number> {
  const headers: Record<string, string> = {
    'x-ms-date': new Date().toUTCString(),
    'x-ms-version': '2021-12-02',
    ...more,
  };
  const own = Object.entries(headers)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}:${value}\n`);
  const [bare = '', query = ''] = path.split('?');
  const { pathname } = new URL(`${endpoint}${bare}`);
  const parameters = Array.from(new URLSearchParams(query), ([name, value]) => `\n${name}:${value}`)
    .toSorted()
    .join('');
  const length = body.length === 0 ? '' : String(body.length);
  const lines = `${method}\n\n\n${length}\n\n\n\n\n\n\n\n\n${own.join('')}/${account}${pathname}${parameters}`;
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(lines).digest('base64');
  const authorization = `SharedKey ${account}:${signature}`;
  const answer = await fetch(`${endpoint}${path}`, {
    method,
    headers: { ...headers, authorization },
    ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
  });
  return answer.status;
}

/** A signature for whoever has it to read the container (learn.microsoft.com: Create a service SAS, version 2020-12-06). */
function sharedAccess(permissions: string): string {
  const expiry = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+/, '');
  const fields = [
    permissions,
    '',
    expiry,
    `/blob/${account}/models`,
    '',
    '',
    '',
    '2021-12-02',
    'c',
    '',
    '',
    '',
    '',
    '',
    '',
    '',
  ];
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(fields.join('\n')).digest('base64');
  return new URLSearchParams({ sp: permissions, se: expiry, sv: '2021-12-02', sr: 'c', sig: signature }).toString();
}

beforeAll(async () => {
  const main = await ensureAzurite();
  work = await Workplace.make('azure');
  const port = await freePort();
  // The account is in the path here, and not in the name of the host.
  endpoint = `http://127.0.0.1:${port}/${account}`;
  const args = [
    main,
    '--blobHost',
    '127.0.0.1',
    '--blobPort',
    String(port),
    '--location',
    work.folder,
    '--silent',
    '--skipApiVersionCheck',
    '--disableTelemetry',
  ];
  azurite = spawn(process.execPath, args, {
    env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${key}` },
    stdio: 'ignore',
  });
  await eventually(
    () => call('PUT', '/models?restype=container').catch(() => 0),
    (status) => status === 201,
    { seconds: 60 },
  );
  const path = `/models/${blob.split('/').map(encodeURIComponent).join('/')}`;
  expect(await call('PUT', path, await readFile(iris), { 'x-ms-blob-type': 'BlockBlob' })).toBe(201);
  entra = await listen((request, response) => void answer(request, response));
}, 600_000);
afterAll(async () => {
  const ended = once(azurite, 'exit');
  azurite.kill();
  await ended;
  entra.server.close();
  await work.remove();
});

const asked: Record<string, string>[] = [];
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const form = Object.fromEntries(new URLSearchParams(await text(request)));
  asked.push({ path: request.url ?? '', ...form });
  const isKnown = form['client_secret'] === 'the-secret-of-the-client';
  const body = isKnown ? { access_token: 'no-token-azurite-takes', expires_in: 3600 } : { error: 'invalid_client' };
  response.writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const withSecret = (values: Record<string, string>) =>
  work.secretOf({ AZURE_STORAGE_BLOB_ENDPOINT: endpoint, AZURE_AUTHORITY_HOST: entra.url, ...values });

describe('a model comes from Azure Storage', () => {
  test('with the key of its account, which nothing tells', async () => {
    await work.expectLoaded(uri, await withSecret({ AZURE_STORAGE_KEY: key }));
  });

  test.each(['', '?'])("with a shared access signature, written with '%s' before it", async (mark) => {
    await work.expectLoaded(uri, await withSecret({ AZURE_STORAGE_SAS_TOKEN: `${mark}${sharedAccess('r')}` }));
  });

  test.each<[string, Record<string, string>, string, string]>([
    [
      'with another key',
      { AZURE_STORAGE_KEY: Buffer.from('another').toString('base64') },
      'ModelFetchFailed',
      'AuthorizationFailure: check AZURE_STORAGE_KEY',
    ],
    ['without any', {}, 'ModelFetchFailed', 'AuthorizationFailure: give AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_KEY'],
    [
      'with a client that Entra does not know',
      { AZURE_CLIENT_ID: 'the-application', AZURE_TENANT_ID: 'the-tenant', AZURE_CLIENT_SECRET: 'another-secret' },
      'ModelFetchFailed',
      'Entra gives no token for AZURE_CLIENT_ID (invalid_client)',
    ],
  ])('not %s', async (_, values, reason, message) => {
    await work.expectRefused(uri, await withSecret(values), [reason, message]);
  });

  test('with a token of Entra for the client, which is asked for storage', async () => {
    const client = {
      AZURE_CLIENT_ID: 'the-application',
      AZURE_TENANT_ID: 'the-tenant',
      AZURE_CLIENT_SECRET: 'the-secret-of-the-client',
    };
    // Azurite takes tokens over TLS alone: it says no to a token that it has been shown.
    await work.expectRefused(uri, await withSecret(client), [
      'ModelFetchFailed',
      'check AZURE_CLIENT_ID, and what it may read',
    ]);
    expect(asked).toContainEqual(
      expect.objectContaining({
        path: '/the-tenant/oauth2/v2.0/token',
        client_id: 'the-application',
        scope: 'https://storage.azure.com/.default',
      }),
    );
  });

  test('and goes on where it was cut off, which is signed as well', async () => {
    const ranges: unknown[] = [];
    const { host: store } = new URL(endpoint);
    const [hostname = '', port = ''] = store.split(':');
    const cutting = await listen(({ url: path, headers }, response) => {
      ranges.push(headers.range);
      forward({ hostname, port, path, headers }, (told) => {
        response.writeHead(told.statusCode ?? 500, told.headers);
        if (ranges.length > 1) told.pipe(response);
        else told.once('data', (bytes: Buffer) => response.write(bytes.subarray(0, 200), () => response.destroy()));
      }).end();
    });
    try {
      const secret = {
        AZURE_STORAGE_KEY: key,
        AZURE_STORAGE_BLOB_ENDPOINT: endpoint.replace(store, cutting.url.slice(7)),
      };
      await work.expectLoaded(uri, await withSecret(secret));
      expect(ranges).toEqual([undefined, 'bytes=200-']);
    } finally {
      cutting.server.close();
    }
  });

  test('not when it is not there', async () => {
    const secret = await withSecret({ AZURE_STORAGE_KEY: key });
    await work.expectRefused(`azblob://${account}/models/none.onnx`, secret, [
      'ModelNotFound',
      'the container has no such blob',
    ]);
    await work.expectRefused(`azblob://${account}/others/none.onnx`, secret, [
      'ModelNotFound',
      'there is no such container',
    ]);
  });
});
