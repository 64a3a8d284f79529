import { expect, test } from '@jest/globals';
import { WorkQueue } from './queue.ts';
import { runWorkers } from './runner.ts';

test('workers share the keys, never work on one twice at once, and go on after an error', async () => {
  const queue = new WorkQueue();
  const active = new Set<string>();
  const passes = new Map<string, number>();
  const errors: string[] = [];
  let most = 0;
  const running = runWorkers({
    queue,
    workers: 3,
    work: async (key) => {
      expect(active.has(key)).toBe(false);
      active.add(key);
      most = Math.max(most, active.size);
      queue.add(key === 'busy' && (passes.get(key) ?? 0) < 5 ? 'busy' : 'other');
      await new Promise((resolve) => setTimeout(resolve, 5));
      active.delete(key);
      const count = (passes.get(key) ?? 0) + 1;
      passes.set(key, count);
      if (key === 'broken' && count < 3) throw new Error('broken');
      if (passes.get('broken') === 3 && passes.get('later') === 2) queue.close();
      return key === 'later' && count === 1 ? { requeueAfterMilliseconds: 300 } : {};
    },
    onError: (key, error) => errors.push(`${key} ${String(error)}`),
  });
  for (const key of ['busy', 'broken', 'later']) queue.add(key);
  await running;
  expect(errors).toEqual(['broken Error: broken', 'broken Error: broken']);
  expect(passes.get('busy')).toBeGreaterThanOrEqual(5);
  expect(most).toBeLessThanOrEqual(3);
});
