import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { InvalidTokenizer, TextTokenizer } from './text-tokenizer.ts';

const definition = readFileSync(join(import.meta.dirname, '../../test/models/texts/wordpiece/tokenizer.json'), 'utf8');

test.each(['Left', 'Right'])('ids are cut on the %s as the text is that they are of', (direction) => {
  const changed = JSON.parse(definition);
  changed.truncation = { ...changed.truncation, direction };
  const text = 'the quick brown fox jumps over the lazy dog';
  const whole = new TextTokenizer(JSON.stringify(changed), 100).encode(text);
  const short = new TextTokenizer(JSON.stringify(changed), 8);
  expect(whole.length).toBeGreaterThan(8);
  expect(short.fit(whole)).toEqual(short.encode(text));
  expect(short.fit(whole)).toHaveLength(8);
  const bare = whole.slice(1, -1);
  expect(short.fit(bare)).toEqual(direction === 'Left' ? bare.slice(-8) : bare.slice(0, 8));
});

test('one that makes nothing of a word is refused', () => {
  const changed = JSON.parse(definition);
  changed.normalizer = { type: 'Replace', pattern: { Regex: '.' }, content: '' };
  expect(() => new TextTokenizer(JSON.stringify(changed), 100)).toThrow("it knows no token for 'a'");
});

test('what leaves no room for a text is refused', () => {
  expect(() => new TextTokenizer(definition, 2)).toThrow(InvalidTokenizer);
});
