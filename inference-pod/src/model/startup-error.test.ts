import { expect, test } from '@jest/globals';
import { StartupError } from './startup-error.ts';

test('what a store has sent is made readable, and kept short', () => {
  const { message } = new StartupError('ModelNotFound', `it has \u0000\n${'x'.repeat(10_000)}`);
  expect(message.length).toBeLessThanOrEqual(4000);
  expect(message.startsWith('it has \ufffd\ufffdx')).toBe(true);
});
