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
  return origins?.map(({ start, end }, unit) => [normalized[unit], original.slice(start, end)]);
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

  test('is told, or said to be unknown, of any text', () => {
    const texts = fc.string({ unit: 'binary', maxLength: 30 });
    fc.assert(
      fc.property(texts, fc.constantFrom(lower, bare, compatible, spaced), (text, normalize) => {
        const normalized = normalize(text);
        const origins = originsOf(text, normalized, normalize);
        expect(origins?.length ?? normalized.length).toBe(normalized.length);
        const starts = origins?.map(({ start }) => start) ?? [];
        expect(starts).toEqual(starts.toSorted((a, b) => a - b));
      }),
      { numRuns: 2000 },
    );
  });

  test('is unknown where it depends on all of it', () => {
    expect(originsOf('ab cd', 'dc ba', (text) => Array.from(text).reverse().join(''))).toBeUndefined();
  });
});
