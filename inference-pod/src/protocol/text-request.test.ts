import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RequestError } from './request-error.ts';
import { decodeRerank, encodeRerank } from './rerank.ts';
import { decodeClassification } from './text-classification.ts';

const bytes = (body: unknown) => Buffer.from(JSON.stringify(body));

describe.each<readonly [string, (body: Buffer) => unknown, fc.Arbitrary<object>]>([
  [
    'classification',
    (body) => decodeClassification(body, 'm', false),
    fc.record({ input: fc.jsonValue(), top_n: fc.jsonValue() }, { requiredKeys: [] }),
  ],
  [
    'classification by labels',
    (body) => decodeClassification(body, 'm', true),
    fc.record({ input: fc.jsonValue(), labels: fc.jsonValue(), multi_label: fc.jsonValue() }, { requiredKeys: [] }),
  ],
  [
    'rerank',
    (body) => decodeRerank(body, 'm'),
    fc.record({ query: fc.jsonValue(), documents: fc.jsonValue(), top_n: fc.jsonValue() }, { requiredKeys: [] }),
  ],
])('%s', (_, decode, fields) => {
  test('is read or refused, whatever comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), fields, (text, some) => {
        for (const body of [Buffer.from(text), bytes({ model: 'm', ...some })]) {
          try {
            decode(body);
          } catch (error) {
            expect(error).toBeInstanceOf(RequestError);
          }
        }
      }),
    );
  });
});

test('fields may stand in any order, be null, or be of nobody', () => {
  const read = decodeClassification(bytes({ top_n: null, other: [{}], input: ['a', 'b'], model: 'm' }), 'm', false);
  expect(read).toEqual({ input: ['a', 'b'], labels: undefined, isMultiLabel: false, top: undefined });
});

test('of documents that fit as well, the first comes first', () => {
  const request = decodeRerank(bytes({ model: 'm', query: 'q', documents: ['a', { text: 'b' }, 'c'], top_n: 2 }), 'm');
  const { results } = JSON.parse(encodeRerank('m', { ...request, returnsDocuments: true }, [0.5, 0.25, 0.5], 3));
  expect(results).toEqual([
    { index: 0, relevance_score: 0.5, document: { text: 'a' } },
    { index: 2, relevance_score: 0.5, document: { text: 'c' } },
  ]);
});
