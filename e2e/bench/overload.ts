import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPod } from '../../inference-pod/test/running-pod.ts';
import { repository } from '../cluster/cache.ts';
import { print } from '../cluster/progress.ts';

interface Options {
  readonly seconds: number;
  readonly maxInFlight: number;
}

/** A request is to take about so long. */
const runMilliseconds = 20;
const overload = 2;

interface Outcome {
  readonly status: number;
  readonly milliseconds: number;
  readonly retryAfter: string | undefined;
}

/**
 * What becomes of requests when twice as many come as the pod can bear: how long those take that it accepts, beside one at a
 * time in the same run, and how soon the others are refused.
 */
export async function benchOverload({ seconds, maxInFlight }: Options): Promise<void> {
  const model = join(repository, 'inference-pod/test/models/slow.onnx');
  const pod = await startPod('--model', model, '--model-name', 'slow', '--max-in-flight', String(maxInFlight));
  const agent = new Agent({ keepAlive: true });
  try {
    const times = await calibrated(pod.url, agent);
    const alone: number[] = [];
    for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
      alone.push((await ask(pod.url, agent, times)).milliseconds);
    }
    const mean = alone.reduce((sum, each) => sum + each, 0) / alone.length;
    const outcomes = await offered(pod.url, agent, times, (overload * 1000) / mean, seconds);
    const accepted = outcomes.filter(({ status }) => status === 200).map(({ milliseconds }) => milliseconds);
    const refused = outcomes.filter(({ status }) => status === 503);
    const others = outcomes.length - accepted.length - refused.length;
    print(
      `one at a time          ${alone.length} requests, p50 ${percentile(alone, 50)} ms, p99 ${percentile(alone, 99)} ms`,
    );
    print(
      `${overload} times that, accepted  ${accepted.length} requests, p50 ${percentile(accepted, 50)} ms, p99 ${percentile(accepted, 99)} ms`,
    );
    print(`  p99 to p99           ${(percentile(accepted, 99) / percentile(alone, 99)).toFixed(2)}`);
    print(`  answered a second    ${((accepted.length / seconds / 1000) * mean).toFixed(2)} of what one at a time had`);
    const waits = refused.map(({ milliseconds }) => milliseconds);
    print(`refused                ${refused.length} requests, p99 after ${percentile(waits, 99)} ms`);
    print(`  without Retry-After  ${refused.filter(({ retryAfter }) => retryAfter === undefined).length}`);
    print(`neither                ${others}`);
  } finally {
    agent.destroy();
    await pod.stop();
  }
}

/** How often the model is to multiply, so that a request takes its time. */
async function calibrated(url: string, agent: Agent): Promise<number> {
  let times = 16;
  for (let round = 0; round < 12; round++) {
    await ask(url, agent, times);
    const { milliseconds } = await ask(url, agent, times);
    if (milliseconds > runMilliseconds) return times;
    times = Math.ceil(times * Math.min(2, (1.1 * runMilliseconds) / milliseconds));
  }
  return times;
}

/** Asks at a steady rate, whatever becomes of it. */
async function offered(
  url: string,
  agent: Agent,
  times: number,
  perSecond: number,
  seconds: number,
): Promise<readonly Outcome[]> {
  const outcomes: Promise<Outcome>[] = [];
  const start = performance.now();
  const count = Math.floor(perSecond * seconds);
  while (outcomes.length < count) {
    const due = ((performance.now() - start) / 1000) * perSecond;
    while (outcomes.length < Math.min(count, due)) outcomes.push(ask(url, agent, times));
    await sleep(1);
  }
  return Promise.all(outcomes);
}

function ask(url: string, agent: Agent, times: number): Promise<Outcome> {
  const body = JSON.stringify({ inputs: [{ name: 'times', datatype: 'INT64', shape: [], data: [times] }] });
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/v2/models/slow/infer`, { method: 'POST', agent }, (response) => {
      response.resume();
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          milliseconds: performance.now() - start,
          retryAfter: response.headers['retry-after'],
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Milliseconds, to a tenth. */
function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0;
  return Math.round(value * 10) / 10;
}
