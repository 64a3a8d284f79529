import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Signature } from './datatypes.ts';
import { ProtobufWriter } from './protobuf.ts';
import { RequestError } from './request-error.ts';
import { modelSpecMessage } from './tensorflow-metadata.ts';
import { tensorProto } from './tensorflow-tensors.ts';
import { decode, type Wire } from './wires.ts';

const signature: Signature = {
  inputs: [
    { name: 'x', datatype: 'FP32', shape: [-1, 2] },
    { name: 'ids', datatype: 'INT64', shape: [-1] },
    { name: 'text', datatype: 'BYTES', shape: [-1, 1] },
  ],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 3] }],
};
const regression: Signature = { ...signature, outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }] };
const columns: Signature = {
  ...signature,
  inputs: signature.inputs.map((input) => ({ ...input, shape: input.shape.length === 2 ? [-1, 1] : [-1] })),
};
const mostTensorBytes = 100_000;

const x = { datatype: 'FP32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } as const;
const ids = { datatype: 'INT64', shape: [2], data: BigInt64Array.of(-1n, 7n) } as const;
const text = { datatype: 'BYTES', shape: [2, 1], data: ['a', 'b'] };
const json = (body: unknown) => Buffer.from(JSON.stringify(body));
const whole = (writer: ProtobufWriter) => Buffer.concat(writer.finish());
const entry = (key: string, value: ProtobufWriter) => new ProtobufWriter().text(1, key).message(2, value);

function predictMessage(): Buffer {
  const writer = new ProtobufWriter().message(1, modelSpecMessage({ name: 'm', version: '1' }));
  for (const [name, tensor] of Object.entries({ x, ids, text: { ...text, datatype: 'BYTES' } as const })) {
    writer.message(2, entry(name, tensorProto(tensor, 1000)));
  }
  return whole(writer.text(3, 'y'));
}

function exampleMessage(): Buffer {
  const floats = new ProtobufWriter().float(1, 1).float(1, 2);
  const features = new ProtobufWriter()
    .message(1, entry('x', new ProtobufWriter().message(2, floats)))
    .message(1, entry('ids', new ProtobufWriter().message(3, new ProtobufWriter().numbers(1, [7]))))
    .message(1, entry('text', new ProtobufWriter().message(1, new ProtobufWriter().text(1, 'a'))));
  const example = new ProtobufWriter().message(1, features);
  const input = new ProtobufWriter().message(2, new ProtobufWriter().message(1, example).message(2, example));
  return whole(new ProtobufWriter().message(1, modelSpecMessage({ name: 'm', version: '1' })).message(2, input));
}

function inferMessage(): Buffer {
  const writer = new ProtobufWriter().text(1, 'm');
  const tensor = (name: string, datatype: string, shape: number[], contents: ProtobufWriter) =>
    new ProtobufWriter().text(1, name).text(2, datatype).numbers(3, shape).message(5, contents);
  writer.message(5, tensor('x', 'FP32', [1, 2], new ProtobufWriter().bytes(6, new Uint8Array(8))));
  writer.message(5, tensor('ids', 'INT64', [1], new ProtobufWriter().numbers(3, [7])));
  writer.message(5, tensor('text', 'BYTES', [1, 1], new ProtobufWriter().text(8, 'a')));
  return whole(writer);
}

const restBody = json({
  inputs: [
    { name: 'x', ...x, data: [...x.data] },
    { name: 'ids', ...ids, data: [-1, 7] },
    { name: 'text', ...text },
  ],
});
const examples = json({
  examples: [{ x: [1, 2], ids: 7, text: 'a' }, { x: [3, 4] }],
  context: { ids: [1], text: 'b' },
});

/** A request that each form takes. */
const requests: Readonly<Record<Wire, readonly [Buffer, Signature]>> = {
  'open-inference': [restBody, signature],
  'open-inference-grpc': [inferMessage(), signature],
  predict: [json({ instances: [{ x: [1, 2], ids: 7, text: ['a'] }] }), signature],
  'predict-grpc': [predictMessage(), signature],
  classify: [examples, signature],
  'classify-grpc': [exampleMessage(), signature],
  regress: [examples, regression],
  'regress-grpc': [exampleMessage(), regression],
  table: [json({ dataframe_split: { data: [[7, 'a', 1.5, 0]], columns: ['ids', 'text', 'x', 'other'] } }), columns],
  'table-csv': [Buffer.from('text,x,other,ids\r\n"a, b",1.5,z,7\n'), columns],
};

/** @returns what was decoded, or the refusal; anything else is thrown */
function attempt(wire: Wire, body: Buffer, taken: Signature) {
  try {
    return decode({ wire, body, headerLength: undefined }, taken, { mostTensorBytes });
  } catch (error) {
    if (error instanceof RequestError && error.status >= 400 && error.status < 500) return error;
    throw error;
  }
}

describe.each(Object.entries(requests) as [Wire, readonly [Buffer, Signature]][])('%s', (wire, [valid, taken]) => {
  test('takes its request', () => {
    const request = attempt(wire, valid, taken);
    if (request instanceof RequestError) throw request;
    expect([...request.inputs.keys()].sort()).toEqual(['ids', 'text', 'x']);
  });

  test('whatever bytes come, they are a request or a refusal, and no tensor is larger than allowed', () => {
    const change = fc.tuple(fc.nat(valid.length), fc.nat(4), fc.uint8Array({ maxLength: 6 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        let body: Buffer = Buffer.from(valid);
        for (const [place, removed, added] of changes) {
          body = Buffer.concat([body.subarray(0, place), added, body.subarray(place + removed)]);
        }
        const request = attempt(wire, body, taken);
        if (request instanceof RequestError) return;
        for (const { data } of request.inputs.values()) {
          if (!Array.isArray(data)) expect(data.byteLength).toBeLessThanOrEqual(mostTensorBytes);
        }
      }),
      { numRuns: 2000, seed: 8 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        attempt(wire, Buffer.from(bytes), taken);
      }),
      { numRuns: 1000, seed: 8 },
    );
  });
});
