import { expect, test } from '@jest/globals';
import { ApiError } from '../kube/errors.ts';
import { failureOf, StaleView } from './failure.ts';

const leads = new AbortController().signal;

test.each([
  ['a view that is old', new StaleView('old'), 'stale'],
  ['a conflict', new ApiError(409, 'Conflict', 'changed'), 'stale'],
  ['an invalid object', new ApiError(422, 'Invalid', 'no'), 'refused'],
  ['a quota, or a missing right', new ApiError(403, 'Forbidden', 'no'), 'refused'],
  ['a webhook that denies', new ApiError(400, 'BadRequest', 'no'), 'refused'],
  ['an object that is too large', new ApiError(413, 'RequestEntityTooLarge', 'no'), 'refused'],
  ['an API server that fails', new ApiError(500, 'InternalError', 'oh'), 'failed'],
  ['an API server that is busy', new ApiError(429, 'TooManyRequests', 'oh'), 'failed'],
  ['a network that breaks', new Error('socket hang up'), 'failed'],
])('%s', (_, error, kind) => {
  expect(failureOf(error, leads).kind).toBe(kind);
});

test('whatever it is, a process that leads no more does nothing about it', () => {
  expect(failureOf(new ApiError(422, 'Invalid', 'no'), AbortSignal.abort())).toEqual({ kind: 'deposed' });
});
