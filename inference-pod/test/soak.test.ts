import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { exampleModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

/** A minute; SLIPWAY_SOAK_SECONDS says otherwise (npm run test:long: ten minutes). */
const seconds = Number(process.env['SLIPWAY_SOAK_SECONDS'] ?? 60);
/** What good clients ask for, of what the pod can do while nobody misbehaves. */
const load = 0.8;
const mebibyte = 2 ** 20;

const body = JSON.stringify({
  inputs: [{ name: 'X', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }],
  outputs: [{ name: 'label' }],
});
const path = '/v2/models/iris/infer';

/** Asks over connections that it keeps. @returns what was wrong, undefined for a right answer */
function ask(url: string, agent: Agent): Promise<string | undefined> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const sent = request(url + path, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => {
        const isRight = response.statusCode === 200 && text.includes('"data":[0]');
        resolve(isRight ? undefined : `${response.statusCode} ${text}`);
      });
    });
    sent.on('error', (error) => resolve(error.message));
    sent.end(body);
  });
}

/** Requests a second that the pod answers to as many as ask at once. */
async function capacityOf(url: string, agent: Agent): Promise<number> {
  const milliseconds = 3000;
  const end = performance.now() + milliseconds;
  let answered = 0;
  const client = async () => {
    while (performance.now() < end) {
      await ask(url, agent);
      answered++;
    }
  };
  await Promise.all(Array.from({ length: 8 }, client));
  return answered / (milliseconds / 1000);
}

/** A connection of its own over which bytes are sent, and which is gone after a while. */
function rawSend(url: string, bytes: string | Buffer, milliseconds: number): void {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(bytes);
  setTimeout(() => socket.destroy(), milliseconds).unref();
}

const head = (length: number, more = '') =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n${more}\r\n`;
const bomb = gzipSync(Buffer.alloc(50 * mebibyte));
const manyRows = JSON.stringify({
  inputs: [{ name: 'X', datatype: 'FP32', shape: [20_000, 4], data: new Array(80_000).fill(1) }],
});

/** Streams of gRPC that are opened and dealt with, over a connection that is gone after a while. */
function rawStreams(
  address: string,
  count: number,
  method: string,
  deal: (stream: ReturnType<ReturnType<typeof connectHttp2>['request']>) => void,
): void {
  const session = connectHttp2(`http://${address}`);
  session.on('error', () => undefined);
  for (let index = 0; index < count && !session.destroyed; index++) {
    const stream = session.request({
      ':method': 'POST',
      ':path': method,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('error', () => undefined);
    deal(stream);
  }
  setTimeout(() => session.destroy(), 2000).unref();
}

const infer = '/inference.GRPCInferenceService/ModelInfer';

/** Everything that a client can do wrong. */
function misdeeds({ url, grpcAddress }: RunningPod): readonly (() => void)[] {
  let turn = 0;
  const garbage = () => Buffer.from(Array.from({ length: 500 }, (_, index) => (index * 31 + turn * 17) % 256));
  return [
    () => rawSend(url, Buffer.concat([Buffer.from(`${head(5)}12345`), garbage()]), 500),
    () => rawSend(url, `${head(2)}{}${head(2)}{}${head(2)}{}GET nonsense`, 500),
    () => rawSend(url, head(2, `x-giant: ${'a'.repeat(200_000)}\r\n`), 500),
    () => rawSend(url, `${head(body.length)}${body.slice(0, 20)}`, 20),
    () => rawSend(url, `${head(1_000_000)}x`, 3000),
    () => rawSend(url, Buffer.concat([Buffer.from(head(bomb.length, 'content-encoding: gzip\r\n')), bomb]), 1000),
    () => rawSend(url, `${head(40_000)}${'['.repeat(40_000)}`, 500),
    () => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      socket.on('error', () => undefined);
      socket.pause();
      socket.write(head(manyRows.length) + manyRows);
      setTimeout(() => socket.destroy(), 3000).unref();
    },
    () => rawStreams(grpcAddress, 20, infer, () => undefined),
    () => rawStreams(grpcAddress, 1000, infer, (stream) => stream.close(constants.NGHTTP2_CANCEL)),
    () => rawStreams(grpcAddress, 20, infer, (stream) => stream.write(garbage())),
    () => rawStreams(grpcAddress, 20, '/grpc.health.v1.Health/Watch', (stream) => stream.end(Buffer.alloc(5))),
    () => rawStreams(grpcAddress, 20, '/no.Such/Method', (stream) => stream.end(garbage())),
    () => {
      turn++;
      rawSend(url, `GET /${'../'.repeat(turn % 20)}%ff?${turn} HTTP/1.1\r\nhost: x\r\n\r\n`, 500);
    },
  ];
}

function processesOf({ process: { pid } }: RunningPod): readonly string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return [String(pid), ...children];
}

function memoryOf(pod: RunningPod): number {
  const pages = processesOf(pod).map((id) => Number(readFileSync(`/proc/${id}/statm`, 'utf8').split(' ')[1]));
  return pages.reduce((sum, count) => sum + count * 4096, 0) / mebibyte;
}

/** The most that is held over a few seconds: what is held from one moment to the next goes up and down. */
async function mostHeld(pod: RunningPod): Promise<{ readonly memory: number; readonly handles: number }> {
  let memory = 0;
  let handles = 0;
  for (let sample = 0; sample < 20; sample++) {
    memory = Math.max(memory, memoryOf(pod));
    handles = Math.max(handles, readdirSync(`/proc/${pod.process.pid}/fd`).length);
    await sleep(200);
  }
  return { memory, handles };
}

test(
  'beside clients that do everything wrong, good ones see no error, and nothing grows',
  async () => {
    // With a small budget for bodies and answers, what is held of them hides no growth.
    const limits = ['--max-body-bytes', '--max-answer-bytes'].flatMap((option) => [option, String(4 * mebibyte)]);
    const pod = await startPod('--model', exampleModel('iris', '1').path, '--model-name', 'iris', ...limits);
    const agent = new Agent({ keepAlive: true, maxSockets: 64 });
    const errors: string[] = [];
    let answered = 0;
    try {
      await capacityOf(pod.url, agent);
      const perSecond = load * (await capacityOf(pod.url, agent));
      const deeds = misdeeds(pod);
      let turn = 0;
      const bad = setInterval(() => deeds[turn++ % deeds.length]?.(), 100);
      const start = performance.now();
      let asked = 0;
      let waiting = 0;
      const good = setInterval(() => {
        const due = ((performance.now() - start) / 1000) * perSecond;
        // What one process cannot send, or the pod not answer, while others hold the processor up is not sent in a heap
        // afterwards: what waits for its answer would fill the memory of this process.
        const room = Math.max(0, perSecond - waiting);
        if (due - asked > room) asked = due - room;
        for (; asked < due; asked++) {
          waiting++;
          void ask(pod.url, agent).then((error) => {
            waiting--;
            if (error === undefined) answered++;
            else errors.push(error);
          });
        }
      }, 10);
      await sleep(seconds * 300);
      const before = await mostHeld(pod);
      await sleep(seconds * 700);
      const after = await mostHeld(pod);
      clearInterval(bad);
      clearInterval(good);
      await sleep(3000);
      console.log(`soak: ${answered} answered, ${errors.length} errors`, before, after);
      expect(errors.slice(0, 5)).toEqual([]);
      expect(answered).toBeGreaterThan(seconds * 50);
      expect(after.memory).toBeLessThan(1.25 * before.memory + 20);
      expect(after.handles).toBeLessThan(1.5 * before.handles + 100);
      expect(pod.logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    } finally {
      agent.destroy();
      await pod.stop();
    }
    expect(await pod.exit).toBe(0);
  },
  120_000 + seconds * 1500,
);
