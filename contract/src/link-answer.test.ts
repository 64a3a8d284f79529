import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { emptyHistogram } from './histogram.ts';
import { parseLinkAnswer, parseModelSignature } from './link-answer.ts';

const greeting = { version: 1, pod: 'u', nonce: 'n', clock: 12.5 };
const signature = { inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, 4] }], outputs: [] };
const model = {
  name: 'iris',
  version: '1',
  digest: `sha256:${'a'.repeat(64)}`,
  signature,
  resolvedUri: 'oci://registry.example/iris@sha256:1',
  movedTo: 'oci://registry.example/iris@sha256:2',
  goldenSet: 'Passed',
};
const counters = { requests: 1, refused: 0, failed: 0, abandoned: 0 };
const figures = {
  ...greeting,
  kind: 'figures',
  revision: 'iris-r',
  model,
  measures: { counters, latency: { buckets: [0, 1], sum: 0.1 } },
  table: { sequence: 3, table: { traffic: { canary: 5 } } },
};

test('what a pod of ours tells is read, and nothing else of it', () => {
  expect(parseLinkAnswer({ ...figures, more: 'x', model: { ...model, more: 'x' } })).toEqual(figures);
  expect(parseLinkAnswer({ ...greeting, kind: 'greeting' })).toEqual({ ...greeting, kind: 'greeting' });
  expect(parseLinkAnswer({ ...greeting, kind: 'refused', refusal: 'Late' })).toMatchObject({ refusal: 'Late' });
  const unchecked = { ...model, goldenSet: undefined, resolvedUri: undefined, movedTo: undefined };
  expect(parseLinkAnswer({ ...figures, model: unchecked })).toEqual({ ...figures, model: unchecked });
  const later = { ...model, goldenSet: 'AsAnImageToCome', resolvedUri: null, movedTo: 1 };
  expect(parseLinkAnswer({ ...figures, model: later })).toEqual({ ...figures, model: unchecked });
  const endless = { ...model, goldenSet: 'Other', resolvedUri: 'x'.repeat(2049), movedTo: 'x'.repeat(2049) };
  expect(parseLinkAnswer({ ...figures, model: endless })).toEqual({ ...figures, model: unchecked });
  expect(parseLinkAnswer({ ...figures, model: null, table: null })).toMatchObject({
    model: undefined,
    table: undefined,
  });
});

describe('what a hostile pod tells is refused:', () => {
  const measuring = (part: object) => ({ ...figures, measures: { counters, latency: emptyHistogram, ...part } });
  test.each<[string, unknown]>([
    ['nothing', null],
    ['a text', 'figures'],
    ['another kind', { ...greeting, kind: 'other' }],
    ['another refusal', { ...greeting, kind: 'refused', refusal: '__proto__' }],
    ['no measures', { ...figures, measures: undefined }],
    ['buckets that only seem to be many', measuring({ latency: { buckets: { length: 4e9 }, sum: 0 } })],
    ['too many buckets', measuring({ latency: { buckets: new Array(10_000).fill(0), sum: 0 } })],
    ['a bucket that is no number', measuring({ latency: { buckets: ['1'], sum: 0 } })],
    ['a sum that is none', measuring({ latency: { buckets: [], sum: Number.NaN } })],
    ['a text for a count', measuring({ counters: { ...counters, requests: 'x'.repeat(60_000) } })],
    ['a negative count', measuring({ counters: { ...counters, failed: -1 } })],
    ['a fraction of a request', measuring({ counters: { ...counters, failed: 0.5 } })],
    ['a digest that is none', { ...figures, model: { ...model, digest: 'x'.repeat(100) } }],
    ['a digest that is an object', { ...figures, model: { ...model, digest: {} } }],
    ['half a character', { ...figures, model: { ...model, name: '\ud800' } }],
    ['a long name', { ...figures, model: { ...model, name: 'x'.repeat(300) } }],
    ['no signature', { ...figures, model: { ...model, signature: undefined } }],
    ['a tensor that is nothing', { ...figures, model: { ...model, signature: { inputs: [null], outputs: [] } } }],
    [
      'a shape that is none',
      {
        ...figures,
        model: { ...model, signature: { inputs: [{ name: 'X', datatype: 'FP32', shape: [-2] }], outputs: [] } },
      },
    ],
    ['a clock that is none', { ...figures, clock: Number.POSITIVE_INFINITY }],
  ])('%s', (_, answer) => {
    expect(() => parseLinkAnswer(answer)).toThrow('does not speak the link');
  });

  test('whatever it is, it is read or refused, and never anything else', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (value, part) => {
        for (const odd of [value, { ...figures, model: value, measures: part }, { ...figures, table: value }]) {
          try {
            parseLinkAnswer(odd);
          } catch (error) {
            expect(String(error)).toContain('does not speak the link');
          }
        }
      }),
    );
  });
});

test('a signature that somebody has changed in a record is refused', () => {
  expect(parseModelSignature(signature)).toEqual(signature);
  for (const odd of [null, {}, { inputs: [], outputs: 'x' }, { inputs: [{}], outputs: [] }])
    expect(() => parseModelSignature(odd)).toThrow();
});
