import { expect, test } from '@jest/globals';
import { withinCharacters } from './text.ts';

test('a text is cut by whole characters, and is what the API server stores', () => {
  expect(withinCharacters('abc', 3)).toBe('abc');
  expect(withinCharacters('ab\u{1f6a2}d', 3)).toBe('ab\u{1f6a2}');
  expect(withinCharacters('ab\ud800', 3)).toBe('ab\ufffd');
  const cut = withinCharacters(`${'x'.repeat(511)}\u{1f6a2}\u{1f6a2}`, 512);
  expect([Array.from(cut).length, cut.isWellFormed(), withinCharacters(cut, 512)]).toEqual([512, true, cut]);
});
