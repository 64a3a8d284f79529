import { describe, expect, test } from '@jest/globals';
import type { CanaryAnswer, Verdict } from './canary-answer.ts';
import { type Channel, mostPassedBytes, Passing, within } from './passing.ts';

const request = { path: '/', headers: {}, body: Buffer.alloc(1), hold: () => true };
const never = new Promise<CanaryAnswer>(() => undefined);
const answer = (status: number): CanaryAnswer => ({
  kind: 'answer',
  status,
  contentType: 'application/json',
  headerLength: undefined,
  body: Buffer.from('{}'),
});

function passing(given: Promise<CanaryAnswer>, isAsked = false) {
  const counted: Verdict[] = [];
  const state = { underWay: 0 };
  const channel: Channel = {
    send: () => given,
    count: (verdict) => counted.push(verdict),
    begin: () => {
      state.underWay++;
      return () => state.underWay--;
    },
    patienceMilliseconds: () => 20,
    usualMilliseconds: () => 5,
  };
  const one = new Passing('b', isAsked, channel);
  const ask = () => one.ask('http', request, { at: 1000, milliseconds: 1000 }, 0, new AbortController());
  return { one, ask, counted, state };
}

describe('what a canary makes of a request that is passed on', () => {
  test.each<[string, CanaryAnswer, Verdict[]]>([
    ['200', answer(200), ['good']],
    ['204, which no model gives', answer(204), ['failed']],
    ['302', answer(302), ['failed']],
    ['500', answer(500), ['failed']],
    ['503', answer(503), ['saturated']],
    ['nothing', { kind: 'none', reason: 'reset' }, ['failed']],
    ['more than this pod has memory for', { kind: 'full' }, ['none']],
  ])('%s', async (_, given, verdicts) => {
    const { ask, counted, state } = passing(Promise.resolve(given));
    expect((await ask())?.status).toBe(verdicts[0] === 'good' ? 200 : undefined);
    expect([counted, state.underWay]).toEqual([verdicts, 0]);
  });

  test('that does not even end when it is aborted keeps nobody', async () => {
    const { ask, state } = passing(never);
    expect(await ask()).toBeUndefined();
    expect(state.underWay).toBe(0);
  });

  test.each([
    ['answers at once', 'answered', 5, 'failed'],
    ['takes nearly as long', 'answered', 15, 'good'],
    ['refuses', 'refused', 5, 'good'],
    ['fails as well', 'failed', 5, 'none'],
  ] as const)('late is held against it where this pod %s (%s after %d ms)', async (_, own, milliseconds, verdict) => {
    const { one, ask, counted } = passing(never);
    await ask();
    expect(counted).toEqual([]);
    one.judge(own, milliseconds);
    one.judge(own, milliseconds);
    expect(counted).toEqual([verdict]);
  });

  test('what is too large to be sent twice is not passed on', async () => {
    const { one, counted } = passing(Promise.resolve(answer(200)));
    const large = { ...request, body: Buffer.alloc(mostPassedBytes + 1) };
    const told = one.ask('http', large, { at: 1000, milliseconds: 1000 }, 0, new AbortController());
    expect([await told, counted]).toEqual([undefined, []]);
  });

  test('that clients do not wait for is a fault of the canary, if they have waited longer than this pod needs', async () => {
    for (const [milliseconds, verdicts] of [
      [0, []],
      [15, ['failed']],
    ] as const) {
      const { one, counted } = passing(never);
      const gone = new AbortController();
      const told = one.ask('http', request, { at: 1000, milliseconds: 1000 }, 0, gone);
      if (milliseconds === 0) gone.abort();
      else setTimeout(() => gone.abort(), milliseconds);
      expect([await told, counted]).toEqual([undefined, verdicts]);
    }
  });

  test('a request that asks for the canary is told what it says, if that is an answer', async () => {
    expect((await passing(Promise.resolve(answer(400)), true).ask())?.status).toBe(400);
    await expect(passing(Promise.resolve(answer(302)), true).ask()).rejects.toThrow('revision b does not answer');
    await expect(passing(Promise.resolve({ kind: 'none', reason: 'reset' }), true).ask()).rejects.toThrow('reset');
  });
});

test('nobody waits for what is too late, or for a client that has gone', async () => {
  expect(await within(10, new AbortController(), () => never)).toBe('late');
  const gone = new AbortController();
  const waiting = within(10_000, gone, () => never);
  gone.abort();
  expect(await waiting).toBe('gone');
  expect(await within(10_000, gone, () => never)).toBe('gone');
});
