import { expect, test } from '@jest/globals';
import { jobAfter, openedJob, readHead, writeHead } from './frames.ts';

test('jobs have numbers that a frame can carry, one after another, and none is that of the first message', () => {
  const asCarried = (job: number) =>
    readHead(
      writeHead({
        job,
        code: 0,
        following: 0,
        headerLength: undefined,
        seconds: undefined,
        leftMilliseconds: 0,
        busySeconds: 0,
        bodyLength: 0,
      }),
      0,
    ).job;
  for (const begin of [openedJob, 2 ** 31 - 5, 2 ** 32 - 10]) {
    const numbers: number[] = [];
    for (let job = jobAfter(begin); numbers.length < 20; job = jobAfter(job)) numbers.push(job);
    expect(numbers.map(asCarried)).toEqual(numbers);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers).not.toContain(openedJob);
  }
});
