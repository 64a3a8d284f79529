import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { Agent } from 'undici';
import { createClient } from '../kube/client.ts';
import { directCall, type PodCall, proxiedCall } from './pod-calls.ts';

const pod = { namespace: 'n', name: 'iris-1', ip: '127.0.0.1' };
let server: Server;
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function listen(listener: RequestListener): Promise<number> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const ways: readonly (readonly [string, (port: number) => PodCall])[] = [
  ['directly', (port) => directCall(port)],
  [
    'through the API server',
    (port) => {
      const connection = { server: `http://127.0.0.1:${port}`, dispatcher: new Agent(), headers: {} };
      return proxiedCall(createClient({ connection: async () => connection, userAgent: 'test' }));
    },
  ],
];

const hostile: readonly (readonly [string, RequestListener])[] = [
  ['drips its answer', (_, response) => void setInterval(() => response.write(' '), 100).unref()],
  ['answers nothing', () => undefined],
  ['answers without end', (_, response) => void setInterval(() => response.write('x'.repeat(60_000)), 1).unref()],
  ['asks to be called again tomorrow', (_, response) => response.writeHead(429, { 'retry-after': '86400' }).end('{}')],
  ['answers with an endless error', (_, response) => void response.writeHead(500).write('x'.repeat(100_000))],
];

test.each(ways.flatMap(([way, callOf]) => hostile.map(([what, listener]) => [what, way, callOf, listener] as const)))(
  'a pod that %s, called %s, is given up within seconds',
  async (_, __, callOf, listener) => {
    const call = callOf(await listen(listener));
    const start = performance.now();
    await expect(call(pod, '/link', {})).rejects.toThrow();
    expect(performance.now() - start).toBeLessThan(5000);
  },
);

test.each(ways)('a pod that answers, called %s, is heard', async (_, callOf) => {
  const call = callOf(await listen((_request, response) => response.end('{"a":1}')));
  expect(await call(pod, '/link', {})).toEqual({ a: 1 });
});
