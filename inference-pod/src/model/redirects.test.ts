import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Agent } from 'undici';
import { askSmall, postedForm } from './redirects.ts';

let server: Server | undefined;
let dispatcher: Agent;
beforeEach(() => {
  dispatcher = new Agent();
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  await dispatcher.destroy();
});

async function serve(listener: RequestListener): Promise<URL> {
  server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return new URL(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/token`);
}
const ask = (url: URL, form?: URLSearchParams) => {
  const context = { headers: {}, dispatcher, signal: new AbortController().signal };
  return askSmall({ url, headers: {} }, context, 65_536, form === undefined ? undefined : postedForm(form));
};

test.each([
  ['GET', undefined],
  ['POST', new URLSearchParams({ grant_type: 'client_credentials' })],
])('an answer to %s that never ends is not collected', async (_, form) => {
  let sent = 0;
  const url = await serve((request, response) => {
    request.resume();
    const more = () => {
      while (response.write(Buffer.alloc(16_384))) sent += 16_384;
    };
    response.on('drain', more);
    more();
  });
  await expect(ask(url, form)).rejects.toThrow('more than 65536 bytes where little is asked');
  expect(sent).toBeLessThan(16 * 2 ** 20);
});

test('of a refusal the beginning is enough, however long it is', async () => {
  const url = await serve((_, response) => {
    response.writeHead(404).write('not here'.padEnd(8192));
  });
  const { status, body } = await ask(url);
  expect([status, body.length]).toEqual([404, 4096]);
  expect(body.startsWith('not here')).toBe(true);
});

test.each([undefined, new URLSearchParams()])('nothing is asked of a refused address', async (form) => {
  await expect(ask(new URL('http://169.254.169.254/token'), form)).rejects.toThrow('is a link-local address');
  await expect(ask(new URL('http://0.0.0.0/token'), form)).rejects.toThrow('is refused');
});

test('what may pass tells how long it asks to wait', async () => {
  const url = await serve((_, response) => response.writeHead(429, { 'retry-after': '30' }).end());
  await expect(ask(url)).rejects.toMatchObject({ name: 'Passing', afterMilliseconds: 30_000 });
  const date = new Date(Date.now() + 60_000).toUTCString();
  server?.close();
  const later = await serve((_, response) => response.writeHead(503, { 'retry-after': date }).end());
  const failure = await ask(later).catch((error: unknown) => error);
  expect(failure).toMatchObject({ name: 'Passing' });
  expect(Object(failure).afterMilliseconds).toBeGreaterThan(50_000);
});
