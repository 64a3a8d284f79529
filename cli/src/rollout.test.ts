import { describe, expect, test } from '@jest/globals';
import { readRollout } from './rollout.ts';
import { historyLines, rolloutLines } from './rollout-view.ts';

const now = new Date('2026-01-01T00:10:00Z');
const pod = (track: string, ready: string) => ({
  metadata: { labels: { 'serving.slipway.dev/track': track } },
  status: { conditions: [{ type: 'Ready', status: ready }] },
});
const model = {
  metadata: { name: 'iris', namespace: 'models' },
  spec: {
    rollout: {
      strategy: 'Canary',
      canary: {
        steps: [
          { weight: 5, holdSeconds: 60 },
          { weight: 50, holdSeconds: 300 },
        ],
      },
    },
  },
  status: {
    currentRevision: 'iris-a',
    updateRevision: 'iris-b',
    conditions: [{ type: 'Ready', status: 'False', message: 'version 2 is given 50 % of the requests' }],
    rollout: {
      message: 'canary 50%',
      canary: {
        revision: 'iris-b',
        state: 'Holding',
        step: 2,
        weight: 50,
        time: '2026-01-01T00:08:30Z',
        measurements: [
          {
            gate: 'ErrorRate at most 1%',
            verdict: 'Passed',
            requests: 1200,
            value: '0.1%',
            lower: '0%',
            upper: '0.7%',
          },
          { gate: 'Agreement at least 98%', verdict: 'Inconclusive', requests: 0 },
        ],
      },
    },
    history: [
      { number: 2, revision: 'iris-b', modelVersion: '2' },
      { number: 1, revision: 'iris-a', modelVersion: '1', healthySince: '2026-01-01T00:00:00Z' },
    ],
  },
};
const ending = pod('stable', 'True');
const pods = {
  items: [
    pod('stable', 'True'),
    pod('stable', 'True'),
    pod('canary', 'False'),
    { ...ending, metadata: { ...ending.metadata, deletionTimestamp: '2026-01-01T00:09:00Z' } },
  ],
};
const events = {
  items: [
    { eventTime: '2026-01-01T00:09:30Z', reason: 'CanaryStep', note: 'step 2' },
    { eventTime: null, lastTimestamp: '2026-01-01T00:01:00Z', reason: 'RolloutStarted', message: 'version 2' },
  ],
};

describe('a rollout', () => {
  test('is drawn with its tracks, weights, step, gates and events', () => {
    expect(rolloutLines(readRollout(model, pods, events), now)).toEqual([
      'iris in models: canary 50%',
      '  stable  ##########..........  50 %  version 1  iris-a  2 of 2 pods ready',
      '  canary  ##########..........  50 %  version 2  iris-b  0 of 1 pods ready',
      '  step 2 of 2, Holding for 90s, 3m left',
      '  gate ErrorRate at most 1%: Passed (0.1% of 1200 requests, surely 0% to 0.7%)',
      '  gate Agreement at least 98%: Inconclusive (nothing counted yet)',
      '  version 2 is given 50 % of the requests',
      'events',
      '     9m  RolloutStarted: version 2',
      '    30s  CanaryStep: step 2',
    ]);
  });

  test('without a canary has one track, and everything', () => {
    const { canary: _, ...rollout } = model.status.rollout;
    const settled = { ...model, status: { ...model.status, rollout: { ...rollout, message: 'complete' } } };
    expect(rolloutLines(readRollout(settled, pods, {}), now)[1]).toContain('#################### 100 %');
  });

  test.each([
    undefined,
    null,
    1,
    'x',
    [],
    {},
    { status: 1 },
    { status: { conditions: 'x', rollout: { canary: [] }, history: {} } },
  ])('of which kubectl prints %j is told as far as it is known', (garbage) => {
    const rollout = readRollout(garbage, garbage, garbage);
    expect(rolloutLines(rollout, now)[0]).toContain('not seen yet');
    expect(historyLines(rollout.history, '', now)).toHaveLength(1);
  });
});

test('history tells which revision serves, and which never did', () => {
  const { history, serving } = readRollout(model, pods, events);
  expect(historyLines(history, serving.revision, now)).toEqual([
    'NUMBER  VERSION  REVISION  HEALTHY SINCE',
    '2       2        iris-b    never',
    '1       1        iris-a    10m ago        serves',
  ]);
});
