import { expect, test } from '@jest/globals';
import { annotations } from '../api/names.ts';
import type { LiveDeployment } from '../observed.ts';
import { observed } from '../testing/test-objects.ts';
import { rolloutState } from './rollout-state.ts';

const now = new Date('2026-01-01T00:10:00Z');
const startTime = '2026-01-01T00:00:00Z';
const counts = (replicas: number, updated: number, available: number) => ({
  observedGeneration: 2,
  replicas,
  updatedReplicas: updated,
  availableReplicas: available,
});

function live(status: object, spec: object = {}, revision = 'r'): LiveDeployment {
  return {
    metadata: { name: 'iris', uid: 'u', resourceVersion: '1', generation: 2 },
    spec: {
      replicas: 2,
      progressDeadlineSeconds: 300,
      selector: {},
      template: { metadata: { annotations: { [annotations.revision]: revision } } },
      ...spec,
    },
    status,
    applied: undefined,
    intruders: [],
  };
}

test.each<[string, LiveDeployment | undefined, object, object]>([
  ['nothing is there yet', undefined, {}, { kind: 'starting' }],
  ['another revision is there', live(counts(2, 2, 2), {}, 'other'), {}, { kind: 'starting' }],
  [
    'its controller has not seen it yet',
    live({ ...counts(2, 2, 2), observedGeneration: 1 }),
    {},
    { kind: 'progressing' },
  ],
  ['pods are being replaced', live(counts(3, 1, 2)), {}, { kind: 'progressing', updated: 1, wanted: 2 }],
  ['every pod is of it and available', live(counts(2, 2, 2)), {}, { kind: 'complete', wanted: 2 }],
  ['no pod is asked for', live(counts(0, 0, 0), { replicas: 0 }), {}, { kind: 'complete', wanted: 0 }],
  ['somebody has paused it', live(counts(2, 0, 2), { paused: true }), {}, { kind: 'paused' }],
  [
    'it was complete, and a pod is missing',
    live(counts(2, 2, 1)),
    { completeTime: startTime },
    { kind: 'scaling', available: 1, wanted: 2 },
  ],
  [
    'it never had a pod, and gets none',
    live(counts(0, 0, 0)),
    { progressTime: '2026-01-01T00:04:00Z' },
    { kind: 'overdue', seconds: 300 },
  ],
])('%s', (_, deployment, progress, state) => {
  expect(rolloutState(observed({ deployment }), 'r', { startTime, ...progress }, now)).toMatchObject(state);
});
