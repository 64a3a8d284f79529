import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeEmbeddings, encodeEmbeddings } from './embeddings.ts';
import { RequestError } from './request-error.ts';

const decode = (body: unknown) => decodeEmbeddings(Buffer.from(JSON.stringify(body)), 'm');

test('all forms of the input are read', () => {
  for (const [input, texts] of [
    ['a', ['a']],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [[1, 2], [[1, 2]]],
    [
      [[1], [2, 3]],
      [[1], [2, 3]],
    ],
    [
      ['a', [1]],
      ['a', [1]],
    ],
  ] as const)
    expect(decode({ model: 'm', input })).toEqual({ input: texts, encoding: 'float', dimensions: undefined });
  expect(decode({ model: 'm', input: 'a', encoding_format: null, dimensions: null })).toMatchObject({
    encoding: 'float',
  });
  expect(decode({ model: 'm', input: 'a', encoding_format: 'base64', dimensions: 3, user: 'x' })).toMatchObject({
    encoding: 'base64',
    dimensions: 3,
  });
});

test('whatever comes is read or refused', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), fc.jsonValue(), (text, input) => {
      for (const body of [text, JSON.stringify({ model: 'm', input })]) {
        try {
          const read = decodeEmbeddings(Buffer.from(body), 'm');
          expect(read.input.every((one) => one.length > 0)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError);
        }
      }
    }),
  );
});

test('numbers are the same again, in both encodings', () => {
  fc.assert(
    fc.property(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }), (values) => {
      const vector = Float32Array.from(values);
      const { data } = JSON.parse(encodeEmbeddings('m', [vector], 'float', 1));
      // JSON has no negative zero.
      expect(Float32Array.from(data[0].embedding).map((value) => value + 0)).toEqual(vector.map((value) => value + 0));
      const [inBase64] = JSON.parse(encodeEmbeddings('m', [vector], 'base64', 1)).data;
      const bytes = Buffer.from(inBase64.embedding, 'base64');
      expect(Array.from(values, (_, index) => bytes.readFloatLE(4 * index))).toEqual(Array.from(vector));
    }),
  );
});
