import { expect, test } from '@jest/globals';
import type { CallOptions, KubeClient } from './client.ts';
import { createEventRecorder, withinBytes } from './events.ts';

const model = {
  apiVersion: 'serving.slipway.dev/v1alpha1',
  kind: 'ModelDeployment',
  metadata: { name: 'iris', namespace: 'n', uid: 'u', resourceVersion: '7' },
};

function setUp() {
  const posted: { reason: string; note: string }[] = [];
  let now = 0;
  const client: KubeClient = {
    async call<T>(_method: string, _path: string, options?: CallOptions) {
      posted.push(options?.body as { reason: string; note: string });
      return {} as T;
    },
    watch: () => {
      throw new Error('nothing is watched');
    },
  };
  const recorder = createEventRecorder(client, 'controller', 'instance', () => now);
  return { posted, recorder, pass: (milliseconds: number) => (now += milliseconds) };
}

test('the same happening is recorded once in ten minutes, another of the same words at once', async () => {
  const { posted, recorder, pass } = setUp();
  const event = { type: 'Warning', reason: 'UndoPutBack', message: 'put back' } as const;
  await recorder.record(model, { ...event, occurrence: '1' });
  await recorder.record(model, { ...event, occurrence: '1' });
  expect(posted).toHaveLength(1);
  await recorder.record(model, { ...event, occurrence: '2' });
  await recorder.record({ ...model, metadata: { ...model.metadata, uid: 'other' } }, { ...event, occurrence: '1' });
  expect(posted).toHaveLength(3);
  pass(600_001);
  await recorder.record(model, { ...event, occurrence: '1' });
  expect(posted).toHaveLength(4);
});

test('what is longer than a note may be is cut, and the object is named', async () => {
  const { posted, recorder } = setUp();
  await recorder.record(model, { type: 'Normal', reason: 'Long', message: 'x'.repeat(5000) });
  expect(posted).toEqual([
    expect.objectContaining({
      reason: 'Long',
      note: 'x'.repeat(1024),
      regarding: expect.objectContaining({ kind: 'ModelDeployment', namespace: 'n', name: 'iris', uid: 'u' }),
    }),
  ]);
});

test('a note is cut by its bytes, and never within a character', () => {
  expect(withinBytes('abc', 8)).toBe('abc');
  expect(withinBytes('a\u{1f6a2}b', 4)).toBe('a');
  expect(withinBytes('\u00e9'.repeat(600), 1024)).toBe('\u00e9'.repeat(512));
});
