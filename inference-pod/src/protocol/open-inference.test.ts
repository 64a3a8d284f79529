import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Signature, Tensor } from './datatypes.ts';
import { floatTexts } from './float-texts.ts';
import { decodeInferenceRequest, type InferenceRequest } from './open-inference-request.ts';
import { encodeInferenceResponse } from './open-inference-response.ts';
import { RequestError } from './request-error.ts';

const signature: Signature = {
  inputs: [
    { name: 'number', datatype: 'FP32', shape: [-1, 2] },
    { name: 'text', datatype: 'BYTES', shape: [-1] },
    { name: 'id', datatype: 'INT64', shape: [] },
  ],
  outputs: [{ name: 'y', datatype: 'FP64', shape: [-1] }],
};
const limits = { mostTensorBytes: 2 ** 20 };
const valid = JSON.stringify({
  id: 'a',
  parameters: { binary_data_output: false },
  inputs: [
    { name: 'number', datatype: 'FP32', shape: [2, 2], data: [1, 2.5, -3e-7, 4] },
    { name: 'text', datatype: 'BYTES', shape: [2], data: ['grüß', 'b'] },
    { name: 'id', datatype: 'INT64', shape: [1], data: [900719925474099] },
  ],
  outputs: [{ name: 'y', parameters: { classification: 3 } }],
});

function decode(body: Buffer, headerLength?: number): InferenceRequest | RequestError {
  try {
    return decodeInferenceRequest(body, headerLength, signature, limits);
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
}

describe('a request', () => {
  test('of any bytes is decoded or refused, never anything else', () => {
    const refused = (found: InferenceRequest | RequestError) => {
      if (!(found instanceof RequestError)) return;
      expect(found.message.length).toBeLessThan(400);
      expect([400, 413]).toContain(found.status);
    };
    const bytes = Buffer.from(valid);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length), fc.nat(2), fc.uint8Array({ maxLength: 4 })), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.option(fc.nat(bytes.length + 5), { nil: undefined }),
        (changes, headerLength) => {
          let body = bytes;
          for (const [at, removed, added] of changes) {
            body = Buffer.concat([body.subarray(0, at), added, body.subarray(at + removed)]);
          }
          refused(decode(body, headerLength));
        },
      ),
      { numRuns: 5000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (body) => refused(decode(Buffer.from(body)))),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.json(), (body) => refused(decode(Buffer.from(body)))),
      { numRuns: 2000 },
    );
  });

  test('takes no more memory than its tensors may', () => {
    const many = (data: string, datatype: string, name: string, shape: number[]) =>
      decode(
        Buffer.from(
          `{"inputs":[{"name":"${name}","datatype":"${datatype}","shape":${JSON.stringify(shape)},"data":[${data}]}]}`,
        ),
      );
    expect(many(new Array(300_000).fill('""').join(','), 'BYTES', 'text', [300_000])).toMatchObject({ status: 413 });
    expect(many(new Array(300_000).fill('0').join(','), 'FP32', 'number', [150_000, 2])).toMatchObject({ status: 413 });
    expect(many('', 'FP32', 'number', [2 ** 30, 2])).toMatchObject({
      status: 400,
      message: expect.stringContaining('but data has 0'),
    });
  });
});

describe('an answer', () => {
  const request: InferenceRequest = {
    id: undefined,
    inputs: new Map(),
    outputs: [{ name: 'y', isBinary: false, classes: undefined }],
    nonFinite: 'bare',
  };
  const textOf = (tensor: Tensor, mostBytes = 2 ** 30) => {
    const { body } = encodeInferenceResponse({ name: 'm', version: '1' }, request, new Map([['y', tensor]]), mostBytes);
    return typeof body === 'string' ? body : Buffer.concat(body).toString();
  };
  const dataOf = (tensor: Tensor) => /"data":\[(.*)\]\}\]\}$/s.exec(textOf(tensor))?.[1];

  test('has numbers of 64 bits as String writes them, but for -0', () => {
    const expected = (values: ArrayLike<number>) =>
      Array.from(values, (value) => (Object.is(value, -0) ? '-0.0' : String(value))).join(',');
    fc.assert(
      fc.property(fc.float64Array({ maxLength: 50 }), (data) => {
        expect(dataOf({ datatype: 'FP64', shape: [data.length], data })).toBe(expected(data));
      }),
    );
    const large = Float64Array.from({ length: 50_001 }, (_, index) => (index === 40_000 ? -0 : index / 7));
    expect(dataOf({ datatype: 'FP64', shape: [large.length], data: large })).toBe(expected(large));
  });

  test('has numbers of 32 bits as floatTexts writes them, and those between them that JSON does not have', () => {
    const expected = (values: Float32Array) =>
      Array.from(values, (value) => (Number.isFinite(value) ? floatTexts(Float32Array.of(value)) : `${value}`)).join(
        ',',
      );
    fc.assert(
      fc.property(fc.float32Array({ maxLength: 50 }), (data) => {
        expect(dataOf({ datatype: 'FP32', shape: [data.length], data })).toBe(expected(data));
      }),
    );
    const large = Float32Array.from({ length: 50_001 }, (_, index) => (index % 9999 === 0 ? Number.NaN : index / 7));
    expect(dataOf({ datatype: 'FP32', shape: [large.length], data: large })).toBe(expected(large));
  });

  test('that is larger than allowed is refused', () => {
    const tensor: Tensor = { datatype: 'FP32', shape: [100_000], data: new Float32Array(100_000) };
    expect(() => textOf(tensor, 100_000)).toThrow('the answer is larger than the 100000 bytes that this server sends');
    expect(textOf(tensor, 300_000).length).toBeGreaterThan(200_000);
  });
});
