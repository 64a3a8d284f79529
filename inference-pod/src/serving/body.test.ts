import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type Body, readBody } from './body.ts';
import { Transfers } from './transfers.ts';

const mebibyte = 2 ** 20;
const transfers = new Transfers({ mostBytes: 2 ** 30, leastBytesPerSecond: 1, graceMilliseconds: 60_000 }, () =>
  performance.now(),
);

let limit: number;
let bodies: Promise<Body>[];
const server = createServer((request: IncomingMessage, response) => {
  const body = readBody(request, limit, undefined, transfers, undefined);
  bodies.push(body);
  body.then(
    ({ bytes }) => response.end(String(bytes.length)),
    () => undefined,
  );
});
let sockets: Socket[];

beforeEach(async () => {
  limit = 64 * mebibyte;
  bodies = [];
  sockets = [];
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  server.close();
  await once(server, 'close');
});

async function begin(announced: number, headers = ''): Promise<Socket> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(socket);
  const request = once(server, 'request');
  socket.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${announced}\r\n${headers}\r\n`);
  await request;
  return socket;
}

test('what is announced and does not come takes little memory', async () => {
  const before = process.memoryUsage().arrayBuffers;
  for (let client = 0; client < 8; client++) (await begin(60 * mebibyte)).write(Buffer.alloc(1000));
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 4 * mebibyte);
  for (const socket of sockets) socket.destroy();
  for (const body of bodies) await expect(body).rejects.toThrow('the body ended early');
});

test('a body is whole, however it is cut', async () => {
  const sent = Buffer.from(Uint8Array.from({ length: 3_000_001 }, (_, index) => (index * 7) % 251));
  for (const firstBytes of [1, 1000, 100_000, 187_500, 187_501, 2_999_999]) {
    const socket = await begin(sent.length);
    socket.write(sent.subarray(0, firstBytes));
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.write(sent.subarray(firstBytes));
    const body = await bodies.at(-1);
    expect(body?.bytes.equals(sent)).toBe(true);
    body?.release();
    socket.destroy();
  }
});

test('what is inflated is bounded, whatever length was announced', async () => {
  // A comment (RFC 1952) makes it as long as the pieces in which zlib inflates.
  const inflated = gzipSync(Buffer.alloc(15 * mebibyte));
  const head = Buffer.from(inflated.subarray(0, 10));
  head[3] = 0x10;
  const comment = Buffer.alloc(16_384 - inflated.length - 1, 'a');
  limit = mebibyte;
  const socket = await begin(16_384, 'content-encoding: gzip\r\n');
  socket.write(Buffer.concat([head, comment, Buffer.of(0), inflated.subarray(10)]));
  await expect(bodies.at(-1)).rejects.toThrow('the body is larger than');
});
