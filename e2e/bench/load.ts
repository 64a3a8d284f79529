/**
 * A closed-loop client that costs little: each of its connections sends the same request again as soon as it has the whole
 * answer. Run as a process of its own, pinned to a core that the server does not use.
 */

import { readFileSync } from 'node:fs';
import { GrpcCaller } from './grpc-caller.ts';
import { HttpCaller } from './http-caller.ts';

export interface LoadSettings {
  readonly port: number;
  readonly protocol: 'http' | 'grpc';
  /** Files with a request each: head and body, or a message of gRPC in its frame. Each connection sends one after the other. */
  readonly requests: readonly string[];
  readonly connections: number;
  readonly seconds: number;
}

export interface LoadResult {
  readonly answered: number;
  readonly perSecond: number;
  readonly failed: number;
  readonly meanMilliseconds: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  /** How much of its core the client used; near 1 it was what limited the server. */
  readonly clientShare: number;
}

/** One connection, which asks again and again. */
export interface Caller {
  readonly latencies: readonly number[];
  readonly failed: number;
  /** Waits until it is closed. */
  closed(): Promise<void>;
}

async function run({ port, protocol, requests, connections, seconds }: LoadSettings): Promise<LoadResult> {
  const read = requests.map((request) => readFileSync(request));
  const start = performance.now();
  const isOver = () => performance.now() - start > seconds * 1000;
  const callers: readonly Caller[] = Array.from({ length: connections }, (_, at) => {
    // Each begins elsewhere, so that they do not ask for the same at once.
    const own = [...read.slice(at % read.length), ...read.slice(0, at % read.length)];
    return protocol === 'http' ? new HttpCaller(port, own, isOver) : new GrpcCaller(port, own[0] ?? noRequest, isOver);
  });
  const before = process.cpuUsage();
  await Promise.all(callers.map((caller) => caller.closed()));
  const used = process.cpuUsage(before);
  const took = (performance.now() - start) / 1000;
  const latencies = callers.flatMap((caller) => caller.latencies).sort((a, b) => a - b);
  return {
    answered: latencies.length,
    perSecond: latencies.length / took,
    failed: callers.reduce((sum, caller) => sum + caller.failed, 0),
    meanMilliseconds: latencies.reduce((sum, latency) => sum + latency, 0) / latencies.length,
    p50Milliseconds: latencies[Math.floor(latencies.length / 2)] ?? 0,
    p99Milliseconds: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    clientShare: (used.user + used.system) / 1e6 / took,
  };
}

const noRequest = Buffer.alloc(0);

const settings: LoadSettings = JSON.parse(process.argv[2] ?? '{}');
process.stdout.write(JSON.stringify(await run(settings)));
