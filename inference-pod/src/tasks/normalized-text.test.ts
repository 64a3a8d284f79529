import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { originsOf } from './normalized-text.ts';

const lower = (text: string) => text.toLowerCase();
const bare = (text: string) =>
  text
    .toLowerCase()
    .normalize('NFD')
    .replace(/\p{Mn}/gu, '');
const compatible = (text: string) => text.normalize('NFKC');
const spaced = (text: string) => text.replace(/\p{Script=Han}/gu, ' $& ');

/** What each unit of the normalized text was made of. */
function madeOf(original: string, normalize: (text: string) => string) {
  const normalized = normalize(original);
  const origins = originsOf(original, normalized, normalize);
  if (origins === undefined) return undefined;
  return Array.from({ length: normalized.length }, (_, unit) => [
    normalized[unit],
    original.slice(origins.starts[unit], origins.ends[unit]),
  ]);
}

describe('what a normalized text was made of', () => {
  test.each<[string, (text: string) => string, readonly (readonly [string, string])[]]>([
    [
      'Ab',
      lower,
      [
        ['a', 'A'],
        ['b', 'b'],
      ],
    ],
    [
      'Éé',
      bare,
      [
        ['e', 'É'],
        ['e', 'é'],
      ],
    ],
    [
      'e\u0301x',
      bare,
      [
        ['e', 'e'],
        ['x', 'x'],
      ],
    ],
    [
      'e\u0301x',
      compatible,
      [
        ['é', 'e\u0301'],
        ['x', 'x'],
      ],
    ],
    [
      'ﬁ½',
      compatible,
      [
        ['f', 'ﬁ'],
        ['i', 'ﬁ'],
        ['1', '½'],
        ['\u2044', '½'],
        ['2', '½'],
      ],
    ],
    [
      'ΟΣ ΣΟ',
      lower,
      [
        ['ο', 'Ο'],
        ['ς', 'Σ'],
        [' ', ' '],
        ['σ', 'Σ'],
        ['ο', 'Ο'],
      ],
    ],
    [
      'a模',
      spaced,
      [
        ['a', 'a'],
        [' ', '模'],
        ['模', '模'],
        [' ', '模'],
      ],
    ],
  ])('of %s', (original, normalize, expected) => {
    expect(madeOf(original, normalize)).toEqual(expected);
  });

  const stripped = (text: string) => text.trim().replaceAll('``', '"').replaceAll(/ {2,}/g, ' ');
  test.each<[string, (text: string) => string, string]>([
    ['  Ada  Lovelace   was born ', stripped, 'Lovelace'],
    [`Ada${' '.repeat(5000)}Lovelace was born`, stripped, 'Lovelace'],
    ['``Ada Lovelace', stripped, 'Lovelace'],
    ['Ada Lovelace', (text) => `\u2581${text.replaceAll(' ', '\u2581')}`, 'Lovelace'],
    ['ΑΣ ΟΣ ΑΘΗΝΑΣ\u00ad ΑΘΗΝΑΣ模 Ada', (text) => lower(text).replaceAll('\u00ad', ''), 'Ada'],
    ['Ο\u0301ΔΟΣ Ada', bare, 'Ada'],
  ])('of %j is found behind what is left out, put in or written otherwise', (original, normalize, name) => {
    const normalized = normalize(original);
    const at = normalized.search(new RegExp(name, 'i'));
    expect(madeOf(original, normalize)?.slice(at, at + name.length)).toEqual(
      Array.from(name, (letter, index) => [normalized[at + index], letter]),
    );
  });

  test('of what takes the place of something else is that', () => {
    expect(madeOf('a ``b c d e', stripped)?.[2]).toEqual(['"', '``']);
  });

  test('is told, or said to be unknown, of any text', () => {
    const texts = fc.string({ unit: 'binary', maxLength: 30 });
    fc.assert(
      fc.property(texts, fc.constantFrom(lower, bare, compatible, spaced, stripped), (text, normalize) => {
        const normalized = normalize(text);
        const origins = originsOf(text, normalized, normalize);
        expect(origins?.starts.length ?? normalized.length).toBe(normalized.length);
        const starts = Array.from(origins?.starts ?? []);
        expect(starts).toEqual(starts.toSorted((a, b) => a - b));
      }),
      { numRuns: 2000 },
    );
  });

  test('is unknown where it depends on all of it', () => {
    const reversed = (text: string) => Array.from(text).reverse().join('');
    const text = 'the quick brown fox jumps over it';
    expect(originsOf(text, reversed(text), reversed)).toBeUndefined();
  });
});
