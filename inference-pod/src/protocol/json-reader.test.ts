import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Datatype } from './datatypes.ts';
import { JsonReader } from './json-reader.ts';
import { readJsonTensor } from './json-tensors.ts';

const plenty = 2 ** 40;

function tensor(text: string, datatype: Datatype, shape: readonly number[]) {
  const reader = new JsonReader(Buffer.from(text));
  const { data } = readJsonTensor(reader, 'x', datatype, shape, plenty);
  reader.end();
  return data;
}

/** Numbers as they are written, of every class: short, long, with exponents, at the edges, of every bit pattern. */
const bits64 = fc
  .bigInt({ min: 0n, max: 2n ** 64n - 1n })
  .map((bits) => new Float64Array(BigUint64Array.of(bits).buffer)[0] ?? 0);
const bits32 = fc.nat(0xffff_ffff).map((bits) => new Float32Array(Uint32Array.of(bits).buffer)[0] ?? 0);
const digits = fc
  .array(fc.nat(9), { minLength: 1, maxLength: 30 })
  .map((each) => each.join('').replace(/^0+(?=\d)/, ''));
const written = fc.oneof(
  fc
    .oneof(bits64, bits32, fc.double(), fc.integer())
    .filter(Number.isFinite)
    .map((value) => (Object.is(value, -0) ? '-0' : String(value))),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.option(digits),
      fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-'), fc.nat(330))),
    )
    .map(
      ([sign, whole, fraction, power]) =>
        `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${power === null ? '' : power.join('')}`,
    ),
);
const finite = written.filter((text) => Number.isFinite(Number(text)));
const spaced = fc.tuple(finite, fc.constantFrom('', '', '', ' ', '\n\t')).map(([text, space]) => text + space);

describe('the numbers of a tensor', () => {
  test('are what JSON.parse gives, all of them', () => {
    fc.assert(
      fc.property(fc.array(spaced, { maxLength: 60 }), fc.constantFrom(',', ', '), (texts, separator) => {
        const text = `[${texts.join(separator)}]`;
        const expected: number[] = JSON.parse(text);
        expect(tensor(text, 'FP64', [texts.length])).toEqual(Float64Array.from(expected));
      }),
      { numRuns: 3000 },
    );
  });

  test('are what JSON.parse gives in long lists, and odd ones among them', () => {
    const odd = fc.tuple(fc.nat(8999), finite);
    fc.assert(
      fc.property(
        fc.array(finite, { minLength: 300, maxLength: 300 }),
        fc.array(odd, { maxLength: 9 }),
        (some, odds) => {
          const texts = Array.from({ length: 9000 }, (_, index) => some[index % some.length] ?? '0');
          for (const [at, text] of odds) texts[at] = ` ${text} `;
          const text = `[${texts.join(',')}]`;
          expect(tensor(text, 'FP64', [texts.length])).toEqual(Float64Array.from(JSON.parse(text)));
        },
      ),
      { numRuns: 30 },
    );
  });

  test('are what JSON.parse gives around eight digits on each side of the point, wherever they stand', () => {
    const some = fc.integer({ min: 1, max: 17 }).chain((length) => fc.stringMatching(new RegExp(`^\\d{${length}}$`)));
    const whole = fc.oneof(fc.constant('0'), some).map((each) => each.replace(/^0+(?=\d)/, ''));
    const number = fc
      .tuple(fc.constantFrom('', '-'), whole, fc.option(some))
      .map(([sign, left, right]) => `${sign}${left}${right === null ? '' : `.${right}`}`);
    fc.assert(
      fc.property(
        fc.array(number, { minLength: 40, maxLength: 200 }),
        fc.constantFrom(',', ', '),
        fc.constantFrom(1, 60),
        (few, separator, times) => {
          const texts = Array.from({ length: times }, () => few).flat();
          const text = `[${texts.join(separator)}]`;
          expect(tensor(text, 'FP64', [texts.length])).toEqual(Float64Array.from(JSON.parse(text)));
          const wrong = `[${texts.with(20, '00').join(separator)}]`;
          expect(() => tensor(wrong, 'FP64', [texts.length])).toThrow();
        },
      ),
      { numRuns: 300 },
    );
  });

  test('of 64 bits keep all their digits', () => {
    const integer = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.bigInt({ min: -(2n ** 54n), max: 2n ** 54n }),
      fc.integer().map(BigInt),
    );
    fc.assert(
      fc.property(fc.array(integer, { maxLength: 300 }), (values) => {
        expect(tensor(`[${values.join(',')}]`, 'INT64', [values.length])).toEqual(BigInt64Array.from(values));
      }),
    );
  });

  test.each([
    '[1,]',
    '[,1]',
    '[1 2]',
    '[01]',
    '[1.]',
    '[.5]',
    '[+1]',
    '[1e]',
    '[--1]',
    '[0x10]',
    '[1',
    '[',
    '[1,2,3,',
    '[1}',
    '[1.5.2]',
    '[-]',
    '[1e+]',
    '[ 00 ]',
    '[Infinit]',
    '[-NaN]',
    '[nan]',
  ])('%s are refused', (text) => {
    expect(() => tensor(text, 'FP64', [1])).toThrow(/not JSON|elements|expected/);
  });

  test('no mixture of what is read in pieces and what is not makes a body slow', () => {
    // Each of these would take hours if a piece were read again for every number of it.
    const count = 400_000;
    const mixtures = [
      Array.from({ length: count }, (_, index) => (index % 1000 === 999 ? '9007199254740993' : '1')),
      Array.from({ length: count }, () => '9007199254740993'),
      Array.from({ length: count }, (_, index) => (index % 500 === 499 ? '1e0 ' : '1234567890123456789')),
      Array.from({ length: count }, (_, index) => (index % 2 === 0 ? '1' : '1 ')),
    ];
    for (const mixture of mixtures) expect(tensor(`[${mixture.join(',')}]`, 'INT64', [count])).toHaveLength(count);
    const floats = Array.from({ length: count }, (_, index) => (index % 700 === 699 ? 'NaN' : '0.12345678901234567'));
    expect(tensor(`[${floats.join(',')}]`, 'FP32', [count])).toHaveLength(count);
  });
});

describe('JSON', () => {
  test('is passed over where JSON.parse would take it, and refused where it would not', () => {
    const accepts = (text: string) => {
      try {
        JSON.parse(text);
        return true;
      } catch {
        return false;
      }
    };
    const reads = (text: string) => {
      try {
        const reader = new JsonReader(Buffer.from(text));
        reader.skip();
        reader.end();
        return true;
      } catch {
        return false;
      }
    };
    fc.assert(
      fc.property(
        fc.json({ maxDepth: 5 }),
        fc.nat(),
        fc.constantFrom('', ',', '"', '\\', '[', '}', '0', '-', '.', 'e', ' ', ':', 'true', '\u0001'),
        (text, at, sign) => {
          const place = at % (text.length + 1);
          for (const changed of [
            text,
            text.slice(0, place) + sign + text.slice(place),
            text.slice(0, place) + sign + text.slice(place + 1),
          ]) {
            expect([changed, reads(changed)]).toEqual([changed, accepts(changed)]);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('strings are what JSON.parse gives', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const json = JSON.stringify(text);
        expect(new JsonReader(Buffer.from(json)).string()).toBe(text);
        const escaped = `"${Array.from({ length: text.length }, (_, index) => `\\u${text.charCodeAt(index).toString(16).padStart(4, '0')}`).join('')}"`;
        expect(new JsonReader(Buffer.from(escaped)).string()).toBe(text);
      }),
    );
  });

  test('a string full of quotes is read in one pass', () => {
    const text = JSON.stringify('"'.repeat(5_000_000));
    expect(new JsonReader(Buffer.from(text)).string()).toHaveLength(5_000_000);
  });
});
