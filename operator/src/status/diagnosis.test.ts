import { describe, expect, test } from '@jest/globals';
import type { IContainerStatus } from 'kubernetes-models/v1';
import { observed, pod } from '../testing/test-objects.ts';
import { diagnose } from './diagnosis.ts';

const ended = (fields: object): Partial<IContainerStatus> => ({
  lastState: { terminated: { exitCode: 1, ...fields } },
  restartCount: 2,
});

describe('what is wrong with a pod', () => {
  test.each<[string, Partial<IContainerStatus>, string | undefined, string]>([
    ['nothing while it starts', { state: { waiting: { reason: 'ContainerCreating' } } }, undefined, ''],
    ['nothing while it loads', { state: { running: {} } }, undefined, ''],
    [
      'an image that is not there',
      { state: { waiting: { reason: 'ImagePullBackOff', message: 'not found' } } },
      'ImageCannotBePulled',
      'cannot pull the image i:1: not found',
    ],
    [
      'a container of the handler that cannot start',
      { name: 'handler', state: { waiting: { reason: 'RunContainerError', message: 'no such file' } } },
      'ContainerCannotStart',
      'no such file',
    ],
    [
      'an image that has no name',
      { state: { waiting: { reason: 'InvalidImageName' } } },
      'ImageCannotBePulled',
      'check spec.runtime.image',
    ],
    [
      'a Secret that is not there',
      { state: { waiting: { reason: 'CreateContainerConfigError', message: 'secret "s" not found' } } },
      'ContainerCannotStart',
      'secret "s" not found',
    ],
    [
      'a model that is not what it should be',
      ended({ message: '{"reason":"ModelDigestMismatch","message":"another digest"}' }),
      'ModelDigestMismatch',
      'pod p: another digest',
    ],
    ['memory', ended({ reason: 'OOMKilled', exitCode: 137 }), 'OutOfMemory', 'raise spec.resources.limits.memory'],
    [
      'a crash, with its last words',
      ended({ exitCode: 3, message: 'one\ntwo' }),
      'CrashLoop',
      'ended with code 3 (2 restarts): two',
    ],
    [
      'a message that only looks like ours',
      ended({ message: '{"reason":"Other","message":"x"}' }),
      'CrashLoop',
      'ended with code 1',
    ],
    ['nothing any more once it is ready', { ...ended({}), ready: true }, undefined, ''],
  ])('%s', (_name, container, reason, message) => {
    const problem = diagnose(observed({ pods: [pod('p', 'r', container)] }), 'r');
    expect(problem?.reason).toBe(reason);
    expect(problem?.message ?? '').toContain(message);
  });

  test('that fits on no node', () => {
    const conditions = [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes' }];
    const problem = diagnose(observed({ pods: [pod('p', 'r', {}, { conditions })] }), 'r');
    expect(problem).toMatchObject({ reason: 'Unschedulable', message: expect.stringContaining('0/1 nodes') });
  });

  test('whose model is in an image that cannot be pulled', () => {
    const volumeImage = `registry.example/iris@sha256:${'a'.repeat(64)}`;
    const problemWith = (message: string) => {
      const container = { state: { waiting: { reason: 'ImagePullBackOff', message } } };
      return diagnose(observed({ pods: [pod('p', 'r', container, { volumeImage })] }), 'r')?.message;
    };
    expect(problemWith(`Back-off pulling image "${volumeImage}"`)).toBe(
      `pod p cannot pull the image of its model, ${volumeImage}: Back-off pulling image "${volumeImage}": check spec.model.uri and spec.pod.imagePullSecrets`,
    );
    expect(problemWith('Back-off pulling image "i:1"')).toBe(
      'pod p cannot pull the image i:1: Back-off pulling image "i:1": check spec.runtime.image and spec.pod.imagePullSecrets',
    );
  });

  test('whose volume cannot be mounted', () => {
    const mountFailures = new Map([['p', 'configmap "c" not found']]);
    const problem = diagnose(observed({ pods: [pod('p', 'r')], mountFailures }), 'r');
    expect(problem).toMatchObject({
      reason: 'VolumeCannotBeMounted',
      message: expect.stringContaining('configmap "c" not found'),
    });
  });

  test('of another revision, or that is going, does not count', () => {
    const broken = ended({ exitCode: 1 });
    const going = pod('q', 'r', broken);
    const pods = [pod('p', 'other', broken), { ...going, metadata: { ...going.metadata, deletionTimestamp: 'now' } }];
    expect(diagnose(observed({ pods }), 'r')).toBeUndefined();
  });
});
