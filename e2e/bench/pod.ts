import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { print } from '../cluster/progress.ts';
import { load } from './client.ts';
import { type Assignment, type Contender, limits, pod } from './contenders.ts';
import { peers } from './peers.ts';
import { type Case, caseOf, type Plan, plans } from './pod-cases.ts';
import { better, type Column, describeColumn, describeTables, type Rate, type Result } from './pod-results.ts';
import { RunningServer, type ServerCommand } from './running-server.ts';
import { verify } from './verification.ts';

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  /** Without the peers. */
  readonly quick?: boolean;
  readonly peers?: readonly string[];
  readonly cases?: readonly string[];
}

/** A server that is installed, or why it is not. */
type Entry =
  | { readonly contender: Contender; readonly start: (assignment: Assignment) => Promise<ServerCommand> }
  | { readonly contender: Contender; readonly start: undefined; readonly reason: string };

const connectionCounts = [1, 8, 64];
const serverCore = '0';
const clientCore = '1';
const firstPort = 17_100;
/** What is compiled, proven and grown at first is not what is measured. */
const warmUp = { connections: 8, seconds: 2 };

export const peerNames = peers.map(({ name }) => name);
export const caseNames = plans.map(({ name }) => name);

/**
 * Requests a second on one core, at 1, 8 and 64 connections, of the pod, of the two limits and of the peers, one after the
 * other in each round; of each the best round is told. Memory is that of all processes of a server, each shared page counted
 * once; what they computed for each request tells the same as requests a second, and less of what else the machine did.
 */
export async function benchPod({ seconds, rounds, ...choice }: Options): Promise<void> {
  const chosenPeers = choice.quick ? [] : peers.filter(({ name }) => choice.peers?.includes(name) ?? true);
  const chosenPlans = plans.filter(({ name }) => choice.cases?.includes(name) ?? true);
  const contenders = [pod, ...limits, ...chosenPeers];
  const entries: Entry[] = [];
  for (const contender of contenders) entries.push(await entryOf(contender));
  const directory = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  // However this ends, by an interrupt too.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const columns: Column[] = [];
  for (const plan of chosenPlans) {
    const column = await measureCase(plan, entries, directory, { seconds, rounds });
    if (column === undefined) continue;
    columns.push(column);
    for (const line of describeColumn(column, connectionCounts)) print(line);
  }
  process.stdout.write(`\n${describeTables(columns, contenders, connectionCounts)}\n`);
  const failed = columns.filter(({ results }) => results.get(pod)?.kind === 'failed');
  if (failed.length > 0) throw new Error(`the pod failed at: ${failed.map(({ title }) => title).join(', ')}`);
}

async function entryOf(contender: Contender): Promise<Entry> {
  try {
    return { contender, start: await contender.install() };
  } catch (error) {
    const reason = `could not be installed: ${lastLineOf(error)}`;
    print(`  ${contender.title} ${reason}`);
    return { contender, start: undefined, reason };
  }
}

async function measureCase(
  plan: Plan,
  entries: readonly Entry[],
  directory: string,
  { seconds, rounds }: Options,
): Promise<Column | undefined> {
  let whole: Case;
  try {
    whole = await caseOf(plan);
  } catch (error) {
    print(`${plan.title}: its model could not be had: ${lastLineOf(error)}`);
    return undefined;
  }
  const results = new Map<Contender, Result>();
  for (let round = 1; round <= rounds; round++) {
    for (const [index, entry] of entries.entries()) {
      const { contender } = entry;
      if (!contender.forms.includes(whole.form) || results.get(contender)?.kind === 'failed') continue;
      print(`  ${plan.title}, round ${round} of ${rounds}: ${contender.title}`);
      const result = await measure(whole, entry, { directory, seconds, index });
      if (result.kind === 'failed') print(`  ${contender.title} ${result.reason}`);
      results.set(contender, better(results.get(contender), result));
    }
  }
  return { title: plan.title, results };
}

interface MeasureSettings {
  readonly directory: string;
  readonly seconds: number;
  /** Which of all servers it is: each has ports of its own. */
  readonly index: number;
}

/** One round of one server. */
async function measure(whole: Case, entry: Entry, { directory, seconds, index }: MeasureSettings): Promise<Result> {
  const { contender } = entry;
  if (entry.start === undefined) return { kind: 'failed', reason: entry.reason };
  const own = await mkdtemp(join(directory, `${contender.name}-`));
  const port = firstPort + 3 * index;
  const ports = { http: port, grpc: port + 1, control: port + 2 };
  let server: RunningServer | undefined;
  try {
    const command = await entry.start({ model: whole.model, ports, directory: own });
    const { readyPath } = contender;
    const needsGrpc = whole.form === 'grpc';
    server = await RunningServer.start({ ...command, core: serverCore, ports, readyPath, needsGrpc, directory: own });
    await verify(whole, ports);
    const request = join(own, 'request');
    await writeFile(request, needsGrpc ? whole.body : httpRequest(whole));
    const address = needsGrpc
      ? ({ protocol: 'grpc', port: ports.grpc, requests: [request] } as const)
      : ({ protocol: 'http', port: ports.http, requests: [request] } as const);
    await load({ ...address, ...warmUp }, clientCore);
    const rates: Rate[] = [];
    let clientBound = false;
    for (const connections of connectionCounts) {
      const before = server.computed();
      const { answered, perSecond, clientShare } = await load({ ...address, connections, seconds }, clientCore);
      rates.push({ perSecond, microseconds: (1e6 * (server.computed() - before)) / answered });
      clientBound ||= clientShare > 0.95;
    }
    return { kind: 'measured', rates, megabytes: server.memory(), clientBound };
  } catch (error) {
    return { kind: 'failed', reason: `failed: ${lastLineOf(error)}` };
  } finally {
    await server?.stop();
  }
}

function httpRequest({ headers, body }: Case): Buffer {
  const lines = Object.entries({ host: 'localhost', ...headers, 'content-length': String(body.length) });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([Buffer.from(`POST /v2/models/model/infer HTTP/1.1\r\n${head}\r\n`), body]);
}

function lastLineOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}
