import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { repository } from '../cluster/cache.ts';
import { print, step } from '../cluster/progress.ts';
import { load } from './client.ts';
import { podCommand } from './contenders.ts';
import { RunningServer, type ServerCommand } from './running-server.ts';

const connectionCounts = [1, 8, 64] as const;
const cores = { server: '0', client: '1' };
const ports = { http: 17_500, grpc: 17_501, control: 17_502 };
const warmUp = { connections: 4, seconds: 3 };
const body = JSON.stringify({ sepal_length: 51, sepal_width: 35, petal_length: 14, petal_width: 2, unit: 'mm' });
/** Of a probability, between builds of the runtime. */
const tolerance = 1e-4;

interface Contender {
  readonly title: string;
  readonly readyPath: string;
  readonly command: ServerCommand;
}

interface Answer {
  readonly kind: string;
  readonly sure: number;
}

interface Measured {
  readonly answer: Answer;
  readonly rates: readonly number[];
  readonly slowest: readonly number[];
  readonly megabytes: number;
}

/**
 * Requests a second on one core: of a handler, and of the service in Flask that the documentation moves over, both as they stand there. One
 * after the other in each round; each figure is the best of all rounds.
 */
export async function benchHandler({
  seconds,
  rounds,
}: {
  readonly seconds: number;
  readonly rounds: number;
}): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  try {
    await placeFiles(directory);
    const contenders = [podIn(directory), await flaskIn(directory)] as const;
    const best = new Map<Contender, Measured>();
    for (let round = 1; round <= rounds; round++)
      for (const contender of contenders) {
        print(`  round ${round} of ${rounds}: ${contender.title}`);
        const measured = await measure(contender, directory, seconds);
        best.set(contender, better(best.get(contender), measured));
      }
    refuseDifferent(Array.from(best.values(), ({ answer }) => answer));
    for (const [at, connections] of connectionCounts.entries()) {
      const [own = 0, peer = 0] = contenders.map((contender) => best.get(contender)?.rates[at] ?? 0);
      const [ownSlowest = 0, peerSlowest = 0] = contenders.map((contender) => best.get(contender)?.slowest[at] ?? 0);
      print(
        `${connections} connections: ${own.toFixed(0)} a second, Flask ${peer.toFixed(0)}: ${(own / peer).toFixed(2)} times; of 100, 99 within ${ownSlowest.toFixed(1)} ms, Flask ${peerSlowest.toFixed(1)} ms`,
      );
    }
    for (const contender of contenders) print(`${contender.title}: ${best.get(contender)?.megabytes} MB`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Both as the documentation has them, and the model. */
async function placeFiles(directory: string): Promise<void> {
  const text = await readFile(join(repository, 'docs/from-flask.md'), 'utf8');
  const block = (language: string) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(text)?.[1] ?? '';
  await writeFile(join(directory, 'service.py'), block('python'));
  await writeFile(join(directory, 'handler.mjs'), block('js'));
  await copyFile(join(repository, 'examples/models/iris/1.onnx'), join(directory, 'model.onnx'));
}

function podIn(directory: string): Contender {
  return {
    title: 'Slipway',
    readyPath: '/v2/health/ready',
    command: { command: podCommand(join(directory, 'model.onnx'), ports, '--handler', 'Enabled') },
  };
}

async function flaskIn(directory: string): Promise<Contender> {
  const list = join(import.meta.dirname, 'peers/requirements/web.txt');
  const python = await step('installing Flask', () => pythonWith(list));
  return {
    title: 'Flask, gunicorn, onnxruntime',
    readyPath: '/ready',
    command: {
      command: [
        ...[python, '-m', 'gunicorn', '--chdir', directory, '--bind', `127.0.0.1:${ports.http}`],
        // The other workers close each connection behind its first answer.
        ...['--worker-class', 'gthread', '--workers', '1', '--threads', '8', '--no-control-socket', 'service:app'],
      ],
      env: { MODEL_FILE: join(directory, 'model.onnx'), PYTHONDONTWRITEBYTECODE: '1' },
    },
  };
}

async function measure({ command, readyPath }: Contender, directory: string, seconds: number): Promise<Measured> {
  const settings = { ...command, core: cores.server, ports, readyPath, needsGrpc: false, directory };
  const server = await RunningServer.start(settings);
  try {
    const answer = await ask();
    const path = join(directory, 'request');
    const head = `POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    await writeFile(path, head + body);
    const address = { protocol: 'http', port: ports.http, requests: [path] } as const;
    await load({ ...address, ...warmUp }, cores.client);
    const rates: number[] = [];
    const slowest: number[] = [];
    for (const connections of connectionCounts) {
      const { perSecond, p99Milliseconds } = await load({ ...address, connections, seconds }, cores.client);
      rates.push(perSecond);
      slowest.push(p99Milliseconds);
    }
    return { answer, rates, slowest, megabytes: server.memory() };
  } finally {
    await server.stop();
  }
}

async function ask(): Promise<Answer> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`http://127.0.0.1:${ports.http}/predict`, { method: 'POST', headers, body });
  return JSON.parse(await response.text());
}

/** @throws Error when the contenders do not do the same */
function refuseDifferent([first, ...others]: readonly Answer[]): void {
  for (const { kind, sure } of others)
    if (first === undefined || kind !== first.kind || Math.abs(sure - first.sure) > tolerance)
      throw new Error(`one answered ${first?.kind}, ${first?.sure}, and another ${kind}, ${sure}`);
}

function better(before: Measured | undefined, now: Measured): Measured {
  if (before === undefined) return now;
  return {
    answer: now.answer,
    rates: now.rates.map((rate, at) => Math.max(rate, before.rates[at] ?? 0)),
    slowest: now.slowest.map((latency, at) => Math.min(latency, before.slowest[at] ?? latency)),
    megabytes: Math.min(now.megabytes, before.megabytes),
  };
}
