import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { ModelDeployment } from '../api/model-deployment.ts';
import type { CallOptions, KubeClient } from '../kube/client.ts';
import { ApiError } from '../kube/errors.ts';
import { modelDeployment } from '../testing/test-objects.ts';
import { Caches } from './caches.ts';
import { Memory } from './memory.ts';
import type { PassOptions } from './pass-options.ts';
import { reconcile } from './reconcile.ts';

/** What becomes of a request: `undefined` lets it through. */
type Fault = (method: string, path: string, options: CallOptions) => ApiError | undefined;

function setUp(fault: Fault = () => undefined, model: ModelDeployment = modelDeployment({ replicas: 2 })) {
  const calls: string[] = [];
  const client: KubeClient = {
    async call<T>(method: string, path: string, options: CallOptions = {}) {
      const error = fault(method, path, options);
      calls.push(`${method} ${path.split('/').slice(-2).join('/')}${error === undefined ? '' : ` ${error.status}`}`);
      if (error !== undefined) throw error;
      const body = typeof options.body === 'string' ? JSON.parse(options.body) : options.body;
      return { ...body, metadata: { ...body?.metadata, uid: 'uid', resourceVersion: '9' } } as T;
    },
    watch: () => {
      throw new Error('nothing is watched');
    },
  };
  const caches = new Caches();
  caches.models.replace([model], '1');
  const recorded: string[] = [];
  const memory = new Memory();
  const authority = new AbortController();
  const none = { get: () => undefined, forget: () => undefined };
  const options: PassOptions = {
    caches,
    client,
    memory,
    inquiries: { reports: none, loading: none, mountFailures: none },
    queries: none,
    events: { record: async (_, { reason }) => void recorded.push(reason) },
    link: {
      follow: () => ({ kind: 'pending' }),
      rest: () => undefined,
      forget: () => undefined,
      forgetModel: () => undefined,
      tell: () => undefined,
      seriesOf: () => [],
      countedSince: () => undefined,
    },
    metrics: { setCanary: () => undefined },
    policy: () => ({ defaultImage: 'slipway:1', publicKeys: '{}' }),
    log: pino({ level: 'silent' }),
    authority: authority.signal,
    now: () => 0,
  };
  return { calls, recorded, memory, model, authority, pass: () => reconcile('n/iris', options) };
}

const whole = [
  'POST n/controllerrevisions',
  'PATCH iris/status',
  'PATCH configmaps/iris-link',
  'PATCH services/iris',
  'PATCH deployments/iris',
  'PATCH poddisruptionbudgets/iris',
];
const failing =
  (what: string, status: number, reason = 'Fault'): Fault =>
  (method, path) =>
    `${method} ${path.split('/').slice(-2).join('/')}` === what ? new ApiError(status, reason, 'a fault') : undefined;

describe('a pass', () => {
  test('makes its writes in order, and tells of them', async () => {
    const { calls, recorded, pass } = setUp();
    expect(await pass()).toEqual({});
    expect(calls).toEqual(whole);
    expect(recorded).toEqual(['RolloutStarted']);
  });

  test.each(whole.slice(1))('of which %s is refused goes on with the others, and tells soon', async (what) => {
    const { calls, memory, model, pass } = setUp(failing(what, 422));
    if (what === 'PATCH iris/status') {
      await expect(pass()).rejects.toThrow('a fault');
      expect(calls).toEqual([whole[0], `${what} 422`]);
      return;
    }
    expect(await pass()).toEqual({ requeueAfterMilliseconds: 50 });
    expect(calls).toEqual(whole.map((call) => (call === what ? `${call} 422` : call)));
    expect(Array.from(memory.of(model).refusals.values(), ({ message }) => message)).toEqual(['a fault']);
  });

  test('whose record is refused writes nothing more', async () => {
    const { calls, pass } = setUp(failing('POST n/controllerrevisions', 403));
    expect(await pass()).toEqual({ requeueAfterMilliseconds: 50 });
    expect(calls).toEqual(['POST n/controllerrevisions 403']);
  });

  test.each(whole.slice(1))('of which %s conflicts ends there, and is made anew', async (what) => {
    const { calls, pass } = setUp(failing(what, 409, 'Conflict'));
    expect(await pass()).toEqual({ requeueAfterMilliseconds: 250 });
    expect(calls.at(-1)).toBe(`${what} 409`);
  });

  test.each(whole)('of which %s fails ends there, with the error', async (what) => {
    const { calls, recorded, pass } = setUp(failing(what, 500));
    await expect(pass()).rejects.toThrow('a fault');
    expect(calls.at(-1)).toBe(`${what} 500`);
    // What was decided is told only once the status says so: before, the next pass decides it again.
    expect(recorded).toEqual(whole.indexOf(what) > 1 ? ['RolloutStarted'] : []);
  });

  test('by a process that leads no more ends without an error', async () => {
    const { authority, pass } = setUp(() => {
      authority.abort();
      return new ApiError(500, 'Fault', 'a fault');
    });
    expect(await pass()).toEqual({});
  });
});
