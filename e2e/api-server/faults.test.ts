import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../eventually.ts';
import { inParallel } from '../in-parallel.ts';
import type { AnsweredWrite, Fate, FaultProxy } from './fault-proxy.ts';
import { endState, scenarios as everyScenario, type FaultScenario, type User, userOf } from './fault-scenarios.ts';
import { type InProcessOperator, startInProcessOperator } from './in-process-operator.ts';
import { installGatewayApi } from './played-gateway.ts';
import { startNodes } from './played-nodes.ts';
import { startPodLife } from './pod-life.ts';
import { makeNamespace, testClient } from './test-cluster.ts';

/**
 * Faults at every write, after Sieve (OSDI 2022) and Anvil (OSDI 2024): whatever goes wrong at the k-th write of a
 * scenario, the end is the one of the undisturbed run, with as many objects made and deleted, and then nothing is written.
 *
 * A sample with a printed seed by default; SLIPWAY_FAULTS=all runs every case (npm run test:long), SLIPWAY_SEED repeats a
 * sample, and SLIPWAY_SCENARIO takes only what has that in its name.
 */
const all = process.env['SLIPWAY_FAULTS'] === 'all';
const seed = Number(process.env['SLIPWAY_SEED'] ?? Date.now() % 1_000_000);
const sampledPerScenario = 4;
const parallel = 6;
const scenarios = everyScenario.filter(({ name }) => name.includes(process.env['SLIPWAY_SCENARIO'] ?? ''));

type Fault = 'crash' | 'crash-then-stale-view' | 'conflict' | 'error' | 'lost-answer' | 'throttled';
const faults: readonly Fault[] = ['crash', 'crash-then-stale-view', 'conflict', 'error', 'lost-answer', 'throttled'];

interface Case {
  readonly scenario: FaultScenario;
  readonly fault: Fault;
  /** Counted from 1. */
  readonly write: number;
}

interface Life {
  readonly end: object;
  readonly counts: Readonly<Record<string, number>>;
  readonly writes: readonly AnsweredWrite[];
  /** Whether the fault has happened: there may be fewer writes than in the undisturbed run. */
  readonly hasHappened: boolean;
}

const client = testClient();
let podLife: ReturnType<typeof startPodLife>;
let nodes: Awaited<ReturnType<typeof startNodes>>;
beforeAll(async () => {
  await installGatewayApi();
  nodes = await startNodes(client);
  podLife = startPodLife();
});
afterAll(async () => {
  podLife.stop();
  await nodes.stop();
});

/** @param expected the end to wait for; without it, the end is what is there when nothing has been written for a while */
async function live(
  scenario: FaultScenario,
  fault: Pick<Case, 'fault' | 'write'> | undefined,
  expected?: object,
): Promise<Life> {
  const namespace = await makeNamespace(client);
  const user = userOf(namespace);
  const operators = [await startInProcessOperator(namespace)];
  const newest = () => operators.at(-1) as InProcessOperator;
  try {
    await scenario.prepare(user);
    await newest().quiet();
    const before = operators.flatMap(({ proxy }) => proxy.writes).length;
    const resourceVersion = await currentVersion();
    const armed = fault === undefined ? undefined : armedFault(fault);
    if (scenario.whileDown) {
      await newest().crash();
      await scenario.act(user);
      operators.push(await startInProcessOperator(namespace, (proxy) => armed?.arm(proxy)));
    } else {
      armed?.arm(newest().proxy);
      await scenario.act(user);
    }
    if (armed !== undefined) {
      const hasHappened = async () => armed.fired || (await scenario.done(user));
      await eventually(hasHappened, (happened) => happened, { seconds: 60 });
      // The write may come after what the user sees; and it is made before the operator is gone.
      await newest().quiet();
      // Later writes are let through: an operator that nobody ends would be cut off, and end by itself without its lease.
      armed.disarm();
    }
    if (armed?.fatal === true) {
      await newest().crash();
      const isStale = fault?.fault === 'crash-then-stale-view';
      operators.push(
        await startInProcessOperator(namespace, (proxy) => {
          if (isStale) makeStale(proxy, resourceVersion);
        }),
      );
    }
    await done(scenario, user);
    await newest().quiet();
    const end = await settledEnd(user, expected);
    const writes = operators.flatMap(({ proxy }) => proxy.writes).slice(before);
    return { end, counts: madeAndDeleted(writes), writes, hasHappened: armed?.fired === true };
  } finally {
    await newest().stop();
    void client.call('DELETE', `/api/v1/namespaces/${namespace}`, { body: {} });
  }
}

interface ArmedFault {
  fired: boolean;
  /** Whether it has ended the operator, as far as the API server can tell. */
  fatal: boolean;
  arm(proxy: FaultProxy): void;
  /** Lets everything through from now on, unless it has happened. */
  disarm(): void;
}

function armedFault({ fault, write }: Pick<Case, 'fault' | 'write'>): ArmedFault {
  const fateOf = (): Fate => {
    switch (fault) {
      case 'crash':
      case 'crash-then-stale-view':
      case 'lost-answer':
        return { kind: 'lose-answer' };
      case 'conflict':
        return { kind: 'answer', status: 409 };
      case 'error':
        return { kind: 'answer', status: 500 };
      case 'throttled':
        return { kind: 'answer', status: 429, headers: { 'retry-after': '1' } };
    }
  };
  let isArmed = true;
  const armed: ArmedFault = {
    fired: false,
    fatal: false,
    arm(proxy) {
      let seen = 0;
      proxy.decide = ({ isWrite }) => {
        // The write is made; the operator is gone before it learns so.
        if (armed.fatal) return { kind: 'stall' };
        if (!isArmed || !isWrite || ++seen !== write) return { kind: 'pass' };
        armed.fired = true;
        armed.fatal = fault.startsWith('crash');
        return fateOf();
      };
    },
    disarm() {
      isArmed = false;
    },
  };
  return armed;
}

/** First lists are of the past, and the watches lag behind. */
function makeStale(proxy: FaultProxy, resourceVersion: string): void {
  const listed = new Set<string>();
  proxy.decide = async ({ method, path, resource, query, isWatch }) => {
    if (isWatch) await new Promise((resolve) => setTimeout(resolve, 500));
    const isList = method === 'GET' && path.endsWith(`/${resource}`);
    if (isList && !isWatch && resource !== 'events' && !listed.has(resource)) {
      listed.add(resource);
      query.set('resourceVersion', resourceVersion);
      query.set('resourceVersionMatch', 'Exact');
    }
    return { kind: 'pass' };
  };
}

async function currentVersion(): Promise<string> {
  const { metadata }: { metadata: { resourceVersion: string } } = await client.call('GET', '/api/v1/namespaces', {
    query: { limit: 1 },
  });
  return metadata.resourceVersion;
}

async function done(scenario: FaultScenario, user: User): Promise<void> {
  await eventually(
    () => scenario.done(user),
    (isDone) => isDone,
    { seconds: 60 },
  );
}

async function settledEnd(user: User, expected: object | undefined): Promise<object> {
  if (expected === undefined) return endState(user);
  const deadline = Date.now() + 15_000;
  for (;;) {
    const end = await endState(user);
    if (JSON.stringify(end) === JSON.stringify(expected) || Date.now() > deadline) return end;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function madeAndDeleted(writes: readonly AnsweredWrite[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { method, resource, status } of writes) {
    const what = status === 201 ? 'made' : method === 'DELETE' && status < 300 ? 'deleted' : undefined;
    if (what !== undefined) counts[`${resource} ${what}`] = (counts[`${resource} ${what}`] ?? 0) + 1;
  }
  return counts;
}

/** Lets something happen of which the operator's watches of some resources tell nothing, then or later. */
async function unseen(operator: InProcessOperator, resources: readonly string[], work: () => Promise<void>) {
  const { proxy } = operator;
  proxy.passEvent = ({ resource }) => !resources.includes(resource);
  await work();
  // What the API server has to tell of it arrives, and is thrown away.
  await new Promise((resolve) => setTimeout(resolve, 300));
  proxy.passEvent = () => true;
}

/** A small generator of random numbers (mulberry32), so that a sample can be repeated. */
function random(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

describe('whatever goes wrong at a write', () => {
  test('the end is the same, nothing is made twice, and then nothing is written', async () => {
    const references = new Map<string, Life>();
    await inParallel(
      scenarios,
      parallel,
      async (scenario) => void references.set(scenario.name, await live(scenario, undefined)),
    );
    const next = random(seed);
    const cases = scenarios.flatMap((scenario) => {
      const { writes } = references.get(scenario.name) as Life;
      const own = writes.flatMap((_, index) => faults.map((fault): Case => ({ scenario, fault, write: index + 1 })));
      if (all) return own;
      return own
        .map((one) => [next(), one] as const)
        .toSorted(([a], [b]) => a - b)
        .slice(0, sampledPerScenario)
        .map(([, one]) => one);
    });
    const failures: string[] = [];
    let happened = 0;
    await inParallel(cases, parallel, async ({ scenario, fault, write }) => {
      const { end, counts } = references.get(scenario.name) as Life;
      const title = `${scenario.name}: ${fault} at write ${write}`;
      try {
        const life = await live(scenario, { fault, write }, end);
        if (life.hasHappened) happened += 1;
        expect(life.end).toEqual(end);
        expect(life.counts).toEqual(counts);
      } catch (error) {
        const failure = `${title}\n${error instanceof Error ? error.message : String(error)}`;
        // A run that is ended has told what it has seen.
        process.stderr.write(`${failure}\n`);
        failures.push(failure);
      }
    });
    process.stderr.write(
      `faults: ${cases.length} cases of ${scenarios.length} scenarios, ${happened} happened, SLIPWAY_SEED=${seed}\n`,
    );
    expect(failures.join('\n\n')).toBe('');
    expect(happened).toBeGreaterThan(cases.length / 2);
    expect(cases.length).toBeGreaterThan(scenarios.length);
  }, 7_200_000);
});

describe('a change that was taken back before the operator saw it', () => {
  const lives: readonly (readonly [
    string,
    readonly string[],
    (user: User) => Promise<void>,
    (user: User) => Promise<void>,
  ])[] = [
    [
      'of the spec',
      ['modeldeployments'],
      (user) => user.change({ model: { version: '2' } }),
      (user) => user.change({ model: { version: '1' } }),
    ],
    [
      'of a child',
      ['services'],
      (user) => editService(user, { 'serving.slipway.dev/track': 'other' }),
      (user) => editService(user, { 'serving.slipway.dev/track': 'stable' }),
    ],
  ];

  test.each(lives)('%s leaves everything as it was, and writes nothing', async (_, resources, change, takeBack) => {
    const namespace = await makeNamespace(client);
    const user = userOf(namespace);
    const operator = await startInProcessOperator(namespace);
    try {
      await user.create({ replicas: 2 });
      await user.running('1');
      await operator.quiet();
      const { status } = await user.models.get('iris');
      const writes = operator.proxy.writes.length;
      await unseen(operator, resources, async () => {
        await change(user);
        await takeBack(user);
      });
      await operator.quiet();
      expect(operator.proxy.writes.slice(writes)).toEqual([]);
      expect((await user.models.get('iris')).status).toEqual(status);
      // What comes next is seen, and done.
      await user.change({ replicas: 3 });
      await eventually(
        () => user.models.requireChild('Deployment', 'iris'),
        ({ spec }) => spec.replicas === 3,
      );
      expect(await user.models.revisions('iris')).toHaveLength(1);
    } finally {
      await operator.stop();
    }
  });

  async function editService({ namespace }: User, selector: object): Promise<void> {
    await client.call('PATCH', `/api/v1/namespaces/${namespace}/services/iris`, {
      body: { spec: { selector } },
      contentType: 'application/merge-patch+json',
    });
  }
});

test('an undo that was answered is not taken for another by an operator whose view of the Deployment alone is old', async () => {
  const scenario = scenarios.find(({ name }) => name === 'undo while a canary is tried, and the operator is down');
  if (scenario === undefined) throw new Error('there is no such scenario');
  const namespace = await makeNamespace(client);
  const user = userOf(namespace);
  const first = await startInProcessOperator(namespace);
  await scenario.prepare(user);
  await first.quiet();
  await first.crash();
  await scenario.act(user);
  const undone = await currentVersion();
  const second = await startInProcessOperator(namespace);
  await done(scenario, user);
  await second.quiet();
  await second.crash();
  const { rollback } = (await user.models.get('iris')).status;
  let isOld = true;
  const third = await startInProcessOperator(namespace, (proxy) => {
    proxy.decide = ({ method, path, resource, query, isWatch }) => {
      if (isOld && method === 'GET' && !isWatch && resource === 'deployments' && path.endsWith('/deployments')) {
        query.set('resourceVersion', undone);
        query.set('resourceVersionMatch', 'Exact');
      }
      return { kind: 'pass' };
    };
    proxy.passEvent = ({ resource }) => !isOld || resource !== 'deployments';
  });
  try {
    // Long enough for many passes over the old view.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    isOld = false;
    third.proxy.cutWatches('deployments');
    await third.quiet();
    expect(third.proxy.writes).toEqual([]);
    expect((await user.models.get('iris')).status.rollback).toEqual(rollback);
    expect(await scenario.done(user)).toBe(true);
  } finally {
    await third.stop();
  }
});

test('a new spec beats an undo that came before it, whichever is seen first', async () => {
  const namespace = await makeNamespace(client);
  const user = userOf(namespace);
  const operator = await startInProcessOperator(namespace);
  try {
    await user.create({ replicas: 2 });
    await user.running('1');
    await user.change({ model: { version: '2' } });
    await user.running('2');
    await operator.quiet();
    const writes = operator.proxy.writes.length;
    await unseen(operator, ['deployments'], async () => {
      await user.undoTo('1');
      await user.change({ model: { version: '3' } });
      // Long enough for passes that see the spec alone.
      await new Promise((resolve) => setTimeout(resolve, 2000));
      expect(operator.proxy.writes.slice(writes)).toEqual([]);
    });
    operator.proxy.cutWatches('deployments');
    await user.running('3');
    const { status } = await user.models.get('iris');
    expect([status?.modelVersion, status?.rollback]).toEqual(['3', undefined]);
  } finally {
    await operator.stop();
  }
});
