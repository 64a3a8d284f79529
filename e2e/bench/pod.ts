import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { print, until } from '../cluster/progress.ts';
import type { LoadResult, LoadSettings } from './load.ts';

interface Options {
  readonly seconds: number;
  readonly rounds: number;
}

/** A model, and a request for it. */
interface Case {
  readonly title: string;
  readonly model: string;
  readonly request: Buffer;
}

/** A server that answers the cases, on a port of its own. */
interface Contender {
  readonly title: string;
  readonly command: (model: string, port: number) => readonly string[];
}

const repository = join(import.meta.dirname, '../..');
const connectionCounts = [1, 8, 64];
const serverCore = '0';
const clientCore = '1';

const contenders: readonly Contender[] = [
  {
    title: 'bare node:http, same thread',
    command: (model, port) => [join(import.meta.dirname, 'bare-server.ts'), model, String(port)],
  },
  {
    title: 'the pod',
    command: (model, port) => [
      join(repository, 'dist/inference-pod/src/main.js'),
      ...['--model', model, '--model-name', 'model', '--host', '127.0.0.1', '--drain-seconds', '0'],
      ...['--port', String(port), '--grpc-port', '0', '--control-port', '0', '--log-level', 'error'],
    ],
  },
];

/**
 * Requests a second on one core, at 1, 8 and 64 connections, of the pod and of the bare limit, one after the other in each
 * round; of each the best round is told, because whatever else the machine does only slows them down. Memory is that of all
 * processes of a server, each shared page counted once.
 */
export async function benchPod({ seconds, rounds }: Options): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  try {
    for (const each of cases()) await benchCase(each, directory, { seconds, rounds });
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function benchCase({ title, model, request }: Case, directory: string, { seconds, rounds }: Options) {
  const file = join(directory, 'request');
  await writeFile(file, request);
  const results = new Map<string, number[]>(
    contenders.map((contender) => [contender.title, connectionCounts.map(() => 0)]),
  );
  const memory = new Map<string, number>();
  let failed = 0;
  for (let round = 0; round < rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      const port = 17_100 + index;
      const server = await startServer(contender.command(model, port), port);
      // What is compiled, proven and grown at first is not what is measured.
      await load({ port, request: file, connections: 8, seconds: 2 });
      for (const [column, connections] of connectionCounts.entries()) {
        const result = await load({ port, request: file, connections, seconds });
        failed += result.failed;
        const best = results.get(contender.title) ?? [];
        best[column] = Math.max(best[column] ?? 0, result.perSecond);
      }
      memory.set(contender.title, memoryOf(server));
      server.kill('SIGTERM');
      await once(server, 'exit');
    }
  }
  print(`${title}: requests a second at ${connectionCounts.join(' / ')} connections`);
  const [limit] = contenders.map((contender) => results.get(contender.title) ?? []);
  for (const { title: name } of contenders) {
    const own = results.get(name) ?? [];
    const ratios = own.map((each, column) => (each / (limit?.[column] ?? 1)).toFixed(2));
    print(
      `  ${name.padEnd(28)} ${own.map((each) => each.toFixed(0).padStart(7)).join('')}   ${ratios.join(' / ')}   ${memory.get(name)} MB`,
    );
  }
  if (failed > 0) throw new Error(`${failed} requests failed`);
}

function cases(): readonly Case[] {
  const image = Float32Array.from({ length: 3 * 224 * 224 }, (_, index) => Number(((index % 255) / 255).toFixed(7)));
  const iris = join(repository, 'examples/models/iris/1.onnx');
  const average = join(repository, 'inference-pod/test/models/average.onnx');
  const row = { name: 'X', shape: [1, 4], datatype: 'FP32', data: [5.1, 3.5, 1.4, 0.2] };
  const pixels = { name: 'image', shape: [1, 3, 224, 224], datatype: 'FP32' };
  // As clients write it: seven digits, which are what a float32 holds.
  const digits = Array.from(image, (value) => Number(value.toFixed(7)));
  return [
    { title: 'a tiny model (iris)', model: iris, request: post({ inputs: [row] }) },
    { title: 'an image in JSON', model: average, request: post({ inputs: [{ ...pixels, data: digits }] }) },
    {
      title: 'an image in binary',
      model: average,
      request: post(
        { inputs: [{ ...pixels, parameters: { binary_data_size: image.byteLength } }] },
        Buffer.from(image.buffer),
      ),
    },
  ];
}

function post(json: object, binary?: Buffer): Buffer {
  const header = Buffer.from(JSON.stringify(json));
  const body = binary === undefined ? header : Buffer.concat([header, binary]);
  const headers = binary === undefined ? '' : `inference-header-content-length: ${header.length}\r\n`;
  const head = `POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${headers}content-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

async function startServer(command: readonly string[], port: number): Promise<ChildProcess> {
  const server = spawn('taskset', ['-c', serverCore, process.execPath, ...command], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  await until('the server answers', 60, () => isReady(port));
  return server;
}

/** The pod says when it is ready; the bare server answers anything once it has loaded. */
async function isReady(port: number): Promise<boolean> {
  try {
    const { status } = await fetch(`http://127.0.0.1:${port}/v2/health/ready`, { signal: AbortSignal.timeout(1000) });
    return status !== 503;
  } catch {
    return false;
  }
}

async function load(settings: LoadSettings): Promise<LoadResult> {
  const command = ['-c', clientCore, process.execPath, join(import.meta.dirname, 'load.ts'), JSON.stringify(settings)];
  const client = spawn('taskset', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  client.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(client, 'close');
  return JSON.parse(text);
}

/** Megabytes of a process and of those that it started, shared pages divided among those that share them. */
function memoryOf({ pid }: ChildProcess): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  const kilobytes = [String(pid), ...children].map((each) =>
    Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${each}/smaps_rollup`, 'utf8'))?.[1]),
  );
  return Math.round(kilobytes.reduce((sum, each) => sum + each, 0) / 1000);
}
