import { describe, expect, test } from '@jest/globals';
import type { ModelDeploymentStatus } from '../api/model-deployment.ts';
import type { LiveDeployment } from '../observed.ts';
import { hasMissedDeadline, millisecondsToDeadline, progressOf, wasComplete } from './progress.ts';
import type { Revision } from './revision.ts';

const now = new Date('2026-01-01T00:10:00Z');
const at = (minute: number) => `2026-01-01T00:${String(minute).padStart(2, '0')}:00Z`;
const revision = (healthy = false) =>
  ({
    metadata: { name: 'r', annotations: healthy ? { 'serving.slipway.dev/healthy-since': at(1) } : {} },
  }) as unknown as Revision;

function deployment(replicas: number, ready: number, rest: object = {}): LiveDeployment {
  const counts = { replicas: ready, readyReplicas: ready, updatedReplicas: ready, availableReplicas: ready };
  return {
    metadata: { name: 'iris', uid: 'u', resourceVersion: '1', generation: 1 },
    spec: {
      replicas,
      progressDeadlineSeconds: 300,
      selector: {},
      template: { metadata: { annotations: { 'serving.slipway.dev/revision': 'r' } } },
      ...rest,
    },
    status: { observedGeneration: 1, ...counts },
    applied: undefined,
    intruders: [],
  };
}

const behind = (): LiveDeployment => {
  const live = deployment(2, 0);
  return { ...live, metadata: { ...live.metadata, generation: 2 } };
};

const progress = (live: LiveDeployment | undefined, before: ModelDeploymentStatus, rest: object = {}) =>
  progressOf({
    deployment: live,
    before,
    revision: revision(),
    isNew: false,
    now,
    ...rest,
  });

describe('the progress', () => {
  const rolling = (ready: number, time = 8) => ({
    replicas: ready,
    readyReplicas: ready,
    rollout: { startTime: at(1), progressTime: at(time) },
  });

  test.each<[string, ReturnType<typeof progress>, object]>([
    ['of a revision that is wanted anew has not begun', progress(deployment(2, 0), rolling(0), { isNew: true }), {}],
    ['is kept while nothing moves', progress(deployment(2, 0), rolling(0)), { progressTime: at(8) }],
    ['is made by a pod', progress(deployment(2, 1), rolling(0)), { progressTime: at(10) }],
    ['ends when every pod serves', progress(deployment(2, 2), rolling(1)), { completeTime: at(10) }],
    [
      'stays ended when one fails',
      progress(deployment(2, 1), { ...rolling(2), rollout: { completeTime: at(9) } }),
      { completeTime: at(9) },
    ],
    ['has no time while no pod is asked for', progress(deployment(0, 0), rolling(0)), {}],
    [
      'begins when the first is',
      progress(deployment(1, 0), { replicas: 0, readyReplicas: 0, rollout: { startTime: at(1) } }),
      { progressTime: at(10) },
    ],
    ['has no time while somebody has paused it', progress(deployment(2, 0, { paused: true }), rolling(0)), {}],
    ['has not begun before the template is there', progress(undefined, rolling(0)), {}],
    [
      'of what was complete is not lost with the Deployment',
      progress(undefined, { ...rolling(2), rollout: { startTime: at(1), completeTime: at(9) } }),
      { completeTime: at(9) },
    ],
    ['is not late while the controller is behind', progress(behind(), rolling(0, 7)), { progressTime: at(10) }],
    ['nor is it written anew each time', progress(behind(), rolling(0, 8)), { progressTime: at(8) }],
  ])('%s', (_, found, expected) => {
    expect(found).toEqual(expected);
  });

  test('of an older operator, which kept none, is complete if its revision was healthy and serves', () => {
    // Healthy since the minute 1, in this rollout or an earlier one; no node is there now.
    const before = { currentRevision: 'r', readyReplicas: 0, rollout: { startTime: at(0) } };
    expect(wasComplete(before, revision(true))).toBe(true);
    expect(progress(deployment(2, 0), before, { revision: revision(true) })).toEqual({ completeTime: at(0) });
    const later = { ...before, rollout: { startTime: at(2) } };
    expect(wasComplete(later, revision(true))).toBe(false);
    expect(wasComplete({ ...later, rollout: { startTime: at(2), message: 'scaling 0/2' } }, revision(true))).toBe(true);
    expect(wasComplete(before, revision(false))).toBe(false);
  });
});

describe('the deadline', () => {
  const controller = (lastUpdateTime: string): LiveDeployment => {
    const live = deployment(2, 0);
    const condition = { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', lastUpdateTime };
    return { ...live, status: { ...live.status, conditions: [condition] } };
  };

  test.each<[string, LiveDeployment, object, boolean]>([
    ['is missed when nothing has moved for so long', deployment(2, 0), { startTime: at(1), progressTime: at(5) }, true],
    ['is not before', deployment(2, 0), { startTime: at(1), progressTime: at(6) }, false],
    ['is missed when the controller says so of this rollout', controller(at(9)), { startTime: at(8) }, true],
    ['is not for what it said of an earlier one', controller(at(7)), { startTime: at(8) }, false],
  ])('%s', (_, live, before, missed) => {
    expect(hasMissedDeadline(live, before, now)).toBe(missed);
  });

  test('is told ahead', () => {
    expect(millisecondsToDeadline(deployment(2, 0), { progressTime: at(6) }, now)).toBe(60_000);
    expect(millisecondsToDeadline(deployment(2, 0), { progressTime: at(5) }, now)).toBeUndefined();
    expect(millisecondsToDeadline(deployment(2, 0), {}, now)).toBeUndefined();
  });
});
