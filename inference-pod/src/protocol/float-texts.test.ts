import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { floatTexts } from './float-texts.ts';

const infinity = 0x7f800000;

function floatOf(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0] ?? 0;
}

function textOf(value: number): string {
  return floatTexts(Float32Array.of(value));
}

function digitsIn(text: string): number {
  return text
    .replace(/e.*/, '')
    .replace(/[-.]/g, '')
    .replace(/^0+|0+$/g, '').length;
}

/** Another way to the shortest text: tries one digit after the other. */
function fewestDigits(value: number): number {
  for (let digits = 1; ; digits++) if (Math.fround(Number(value.toPrecision(digits))) === value) return digits;
}

function expectShortest(value: number): void {
  const text = textOf(value);
  expect(text).toBe(Object.is(value, -0) ? '-0.0' : String(Number(text)));
  expect(Math.fround(Number(text))).toBe(value);
  if (value !== 0) expect(digitsIn(text)).toBeLessThanOrEqual(fewestDigits(value));
}

describe('the text of a float32', () => {
  test('is the one that a person would write', () => {
    const texts = ['0.1', '-2.5', '0', '-0.0', '1', '16777216', '3.1415927', '1e-45', '3.4028235e+38', '0.000001'];
    expect(floatTexts(Float32Array.from(texts, Number)).split(',')).toEqual(texts);
    expect(floatTexts(Float32Array.of(1e20, 1e21, 1e-7))).toBe('100000000000000000000,1e+21,1e-7');
    expect(floatTexts(new Float32Array())).toBe('');
  });

  test('means it also to those who make a double of it first', () => {
    const odd = floatOf(0x15ae43fd);
    expect(textOf(odd)).toBe('7.0385307e-26');
    expect(textOf(-odd)).toBe('-7.0385307e-26');
    for (const text of [textOf(odd), textOf(-odd)]) expect(Math.abs(Math.fround(Number(text)))).toBe(odd);
  });

  test('is the shortest that means it, at the edges of every power of two', () => {
    for (let exponent = 0; exponent < 255; exponent++) {
      for (const fraction of [0, 1, 2, 0x3fffff, 0x400000, 0x7ffffe, 0x7fffff]) {
        expectShortest(floatOf((exponent << 23) | fraction));
      }
    }
  });

  test('is the shortest that means it, for any', () => {
    const finite = fc.integer({ min: 0, max: 0xffff_ffff }).filter((bits) => (bits & infinity) !== infinity);
    fc.assert(
      fc.property(finite, (bits) => expectShortest(floatOf(bits))),
      { numRuns: 20_000 },
    );
  });

  test('is the nearest of the shortest', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: infinity - 1 }), (bits) => {
        const value = floatOf(bits);
        const text = textOf(value);
        const rounded = Number(value.toPrecision(digitsIn(text)));
        if (Math.fround(rounded) === value) {
          expect(Math.abs(Number(text) - value)).toBeLessThanOrEqual(Math.abs(rounded - value) * (1 + 1e-6));
        }
      }),
      { numRuns: 20_000 },
    );
  });

  test('does not depend on how many there are', () => {
    const values = Float32Array.from({ length: 10_000 }, (_, index) => Math.sin(index) * 10 ** ((index % 60) - 30));
    expect(floatTexts(values)).toBe(Array.from(values, textOf).join(','));
  });
});
