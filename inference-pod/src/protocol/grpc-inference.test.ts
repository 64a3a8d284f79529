import { join } from 'node:path';
import { loadSync } from '@grpc/proto-loader';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import type { Datatype, Signature, Tensor, TensorData } from './datatypes.ts';
import { addresseeOf, decodeGrpcInference, encodeGrpcInference } from './grpc-inference.ts';
import type { InferenceRequest } from './open-inference-request.ts';
import { RequestError } from './request-error.ts';

/** The protocol's own definition, by another implementation. */
const definition = loadSync(join(import.meta.dirname, '../../protos/open_inference_grpc.proto'), {
  keepCase: true,
  longs: String,
});
// biome-ignore lint/suspicious/noExplicitAny: messages of a definition that is read at run time
const { ModelInfer } = definition['inference.GRPCInferenceService'] as any;
const limits = { mostTensorBytes: 2 ** 20 };

const fields: Readonly<Record<string, string>> = {
  BOOL: 'bool_contents',
  INT8: 'int_contents',
  INT16: 'int_contents',
  INT32: 'int_contents',
  INT64: 'int64_contents',
  UINT8: 'uint_contents',
  UINT16: 'uint_contents',
  UINT32: 'uint_contents',
  UINT64: 'uint64_contents',
  FP32: 'fp32_contents',
  FP64: 'fp64_contents',
  BYTES: 'bytes_contents',
};

/** Data of any type that has contents, in the form in which onnxruntime has it. */
const tensors: fc.Arbitrary<Tensor> = fc
  .oneof(
    fc.array(fc.boolean()).map((data): [Datatype, TensorData] => ['BOOL', Uint8Array.from(data, Number)]),
    fc.int8Array().map((data): [Datatype, TensorData] => ['INT8', data]),
    fc.int16Array().map((data): [Datatype, TensorData] => ['INT16', data]),
    fc.int32Array().map((data): [Datatype, TensorData] => ['INT32', data]),
    fc.bigInt64Array().map((data): [Datatype, TensorData] => ['INT64', data]),
    fc.uint8Array().map((data): [Datatype, TensorData] => ['UINT8', data]),
    fc.uint16Array().map((data): [Datatype, TensorData] => ['UINT16', data]),
    fc.uint32Array().map((data): [Datatype, TensorData] => ['UINT32', data]),
    fc.bigUint64Array().map((data): [Datatype, TensorData] => ['UINT64', data]),
    fc.float32Array({ noNaN: true }).map((data): [Datatype, TensorData] => ['FP32', data]),
    fc.float64Array({ noNaN: true }).map((data): [Datatype, TensorData] => ['FP64', data]),
    fc.array(fc.string().filter((text) => !text.includes('\0'))).map((data): [Datatype, TensorData] => ['BYTES', data]),
  )
  .map(([datatype, data]) => ({ datatype, shape: [data.length], data }));

const signatureOf = (datatype: Datatype): Signature => ({
  inputs: [{ name: 'x', datatype, shape: [-1] }],
  outputs: [{ name: 'y', datatype, shape: [-1] }],
});

/** The data as the other implementation takes and gives it. */
function contentsOf({ datatype, data }: Tensor) {
  const values = Array.from<string | number | bigint, unknown>(data, (value) => {
    if (datatype === 'BOOL') return value === 1;
    if (datatype === 'BYTES') return Buffer.from(String(value));
    return typeof value === 'bigint' ? String(value) : value;
  });
  return { [fields[datatype] ?? '']: values };
}

test('a model without inputs answers in raw form, the only one in which every client reads numbers', () => {
  const data = Float32Array.of(0.5);
  const tensor: Tensor = { datatype: 'FP32', shape: [1], data };
  const message: Buffer = ModelInfer.requestSerialize({ model_name: 'm' });
  const request = decodeGrpcInference(message, { ...signatureOf('FP32'), inputs: [] }, limits);
  const encoded = encodeGrpcInference({ name: 'm', version: '1' }, request, new Map([['y', tensor]]), 2 ** 20);
  const answer = ModelInfer.responseDeserialize(Buffer.concat(encoded));
  expect(answer.raw_output_contents).toEqual([Buffer.from(data.buffer)]);
});

test('a tensor is decoded as another implementation encodes it, and encoded as that decodes it', () => {
  fc.assert(
    fc.property(tensors, fc.string({ minLength: 1 }), (tensor, id) => {
      const signature = signatureOf(tensor.datatype);
      const message: Buffer = ModelInfer.requestSerialize({
        model_name: 'm',
        model_version: '1',
        id,
        inputs: [{ name: 'x', datatype: tensor.datatype, shape: tensor.shape, contents: contentsOf(tensor) }],
      });
      expect(addresseeOf(message)).toEqual({ name: 'm', version: '1' });
      const request = decodeGrpcInference(message, signature, limits);
      expect(request.inputs.get('x')).toEqual(tensor);
      const encoded = encodeGrpcInference({ name: 'm', version: '1' }, request, new Map([['y', tensor]]), 2 ** 20);
      const response = ModelInfer.responseDeserialize(Buffer.concat(encoded));
      expect(response).toMatchObject({ model_name: 'm', model_version: '1', id });
      expect(response.outputs[0]).toMatchObject({
        name: 'y',
        datatype: tensor.datatype,
        shape: [String(tensor.data.length)],
      });
      if (tensor.data.length > 0) expect(response.outputs[0].contents).toMatchObject(contentsOf(tensor));
    }),
    { numRuns: 1000 },
  );
});

test('a message of any bytes is decoded or refused, never anything else', () => {
  const valid: Buffer = ModelInfer.requestSerialize({
    model_name: 'm',
    inputs: [
      {
        name: 'x',
        datatype: 'INT64',
        shape: [3],
        contents: { int64_contents: ['1', '-1', '5'] },
        parameters: { a: { int64_param: 1 } },
      },
    ],
    outputs: [{ name: 'y', parameters: { classification: { int64_param: 1 } } }],
    raw_input_contents: [],
  });
  const decoded = (message: Buffer): InferenceRequest | undefined => {
    try {
      return decodeGrpcInference(message, signatureOf('INT64'), limits);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      expect(error.message.length).toBeLessThan(400);
      return undefined;
    }
  };
  expect(decoded(valid)).toBeDefined();
  const change = fc.tuple(fc.nat(valid.length), fc.nat(2), fc.uint8Array({ maxLength: 3 }));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      let message = valid;
      for (const [at, removed, added] of changes) {
        message = Buffer.concat([message.subarray(0, at), added, message.subarray(at + removed)]);
      }
      decoded(message);
    }),
    { numRuns: 5000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (message) => void decoded(Buffer.from(message))),
    { numRuns: 3000 },
  );
});

describe('what a message cannot make the pod hold', () => {
  const refusal = (message: Buffer, datatype: Datatype) => {
    try {
      return decodeGrpcInference(message, signatureOf(datatype), limits);
    } catch (error) {
      return error;
    }
  };
  const message = (shape: number[], contents: object, datatype: string): Buffer =>
    ModelInfer.requestSerialize({ inputs: [{ name: 'x', datatype, shape, contents }] });

  test('a tensor of a shape that its contents do not have', () => {
    expect(refusal(message([2 ** 35], { int64_contents: ['1'] }, 'INT64'), 'INT64')).toMatchObject({ status: 400 });
  });

  test('numbers that take eight times their bytes, and strings', () => {
    const many = new Array(200_000).fill('1');
    expect(refusal(message([200_000], { int64_contents: many }, 'INT64'), 'INT64')).toMatchObject({ status: 413 });
    const texts = new Array(50_000).fill(Buffer.alloc(0));
    expect(refusal(message([50_000], { bytes_contents: texts }, 'BYTES'), 'BYTES')).toMatchObject({ status: 413 });
  });

  test('fields without end, to find out which model is meant', () => {
    const name: Buffer = ModelInfer.requestSerialize({ model_name: 'm' });
    const unknown = Buffer.from([15 * 8 + 2, 0]);
    const withFields = (count: number) => Buffer.concat([...new Array(count - 1).fill(unknown), name]);
    expect(addresseeOf(withFields(10_000))).toEqual({ name: 'm', version: '' });
    const tooMany = expect.objectContaining({ status: 400, message: 'a message has more than 10000 fields' });
    expect(() => addresseeOf(withFields(10_001))).toThrow(tooMany);
  });

  test('fields without end of an input, of its contents, and of an output', () => {
    const within = (field: number, bytes: Buffer) => {
      const length = Buffer.from([
        (bytes.length & 0x7f) | 0x80,
        ((bytes.length >> 7) & 0x7f) | 0x80,
        bytes.length >> 14,
      ]);
      return Buffer.concat([Buffer.from([field * 8 + 2]), length, bytes]);
    };
    const many = (field: number) => Buffer.alloc(2 * 20_000, Buffer.from([field * 8 + 2, 0]));
    const tooMany = expect.objectContaining({ status: 400, message: 'a message has more than 10000 fields' });
    const limits = { mostTensorBytes: 1e6 };
    const decoding = (bytes: Buffer) => () => decodeGrpcInference(bytes, signatureOf('FP32'), limits);
    expect(decoding(within(5, many(1)))).toThrow(tooMany);
    expect(decoding(within(6, many(1)))).toThrow(tooMany);
    const head: Buffer = ModelInfer.requestSerialize({ inputs: [{ name: 'x', datatype: 'FP32', shape: [0] }] });
    const input = head.subarray(2);
    expect(decoding(within(5, Buffer.concat([input, within(5, many(6))])))).toThrow(tooMany);
  });

  test('names without end, of which the last is meant: the others are not even read', () => {
    const texts = jest.spyOn(Buffer.prototype, 'toString');
    const name: Buffer = ModelInfer.requestSerialize({ model_name: 'x'.repeat(1000) });
    const last: Buffer = ModelInfer.requestSerialize({ model_name: 'm' });
    const names = Buffer.concat([...new Array(9_000).fill(name), last]);
    texts.mockClear();
    expect(addresseeOf(names)).toEqual({ name: 'm', version: '' });
    expect(texts).toHaveBeenCalledTimes(1);
    texts.mockRestore();
  });

  test('inputs without end', () => {
    const inputs = Buffer.concat(new Array(100_000).fill(Buffer.from([5 * 8 + 2, 0])));
    expect(refusal(inputs, 'INT64')).toMatchObject({ status: 400, message: expect.stringContaining('more inputs') });
  });
});

describe('whole numbers', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });
  const encoded = (datatype: Datatype, data: TensorData, mostBytes: number): Buffer => {
    const tensor = { datatype, shape: [data.length], data };
    const asked = { id: undefined, inputs: new Map(), outputs: [{ name: 'y', isBinary: false, classes: undefined }] };
    const request: InferenceRequest = { ...asked, nonFinite: 'bare' };
    return Buffer.concat(
      encodeGrpcInference({ name: 'm', version: '1' }, request, new Map([['y', tensor]]), mostBytes),
    );
  };

  test.each<[Datatype, TensorData]>([
    [
      'UINT64',
      BigUint64Array.of(0n, 127n, 128n, 16_383n, 16_384n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
    ],
    ['INT64', BigInt64Array.of(-1n, -128n, 2n ** 56n - 1n, 2n ** 56n, 2n ** 63n - 1n, -(2n ** 63n), -(2n ** 53n))],
    ['UINT32', Uint32Array.of(127, 128, 2 ** 21 - 1, 2 ** 21, 2 ** 28, 2 ** 31, 2 ** 32 - 1)],
    ['INT32', Int32Array.of(-1, 0, -(2 ** 31), 2 ** 31 - 1)],
    ['INT8', Int8Array.of(-128, -1, 127)],
  ])('of %s are written in as many bytes as they need', (datatype, data) => {
    const { outputs } = ModelInfer.responseDeserialize(encoded(datatype, data, 2 ** 20));
    const name = fields[datatype] ?? '';
    expect(outputs[0].contents[name].map(String)).toEqual(Array.from<string | number | bigint, string>(data, String));
  });

  test('that take more bytes than an answer may have are refused before there is room made for them', () => {
    const negative = new BigInt64Array(10_000).fill(-1n);
    expect(encoded('INT64', negative, 101_000).length).toBeGreaterThan(100_000);
    const allocate = jest.spyOn(Buffer, 'allocUnsafeSlow');
    expect(() => encoded('INT64', negative, 99_999)).toThrow(expect.objectContaining({ status: 400 }));
    expect(allocate).not.toHaveBeenCalled();
  });
});
