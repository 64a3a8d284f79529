import { describe, expect, test } from '@jest/globals';
import type { ModelSession } from '../model/session.ts';
import type { Tensor } from '../protocol/datatypes.ts';
import { Progress } from './answering.ts';
import { TextEmbedder } from './text-embedder.ts';

const task = { kind: 'TextEmbedding', pooling: 'Mean', isNormalized: false, maxTokens: undefined } as const;
const input = (name: string, datatype: 'INT64' | 'INT32') => ({ name, datatype, shape: [-1, -1] });

/** A model whose vector of a token is its id, and what it was given. */
function modelOf(inputs: ModelSession['signature']['inputs'], value = (id: number) => id) {
  const given: ReadonlyMap<string, Tensor>[] = [];
  const output = { name: 'hidden', datatype: 'FP32', shape: [-1, -1, 1] } as const;
  const other = { name: 'logits', datatype: 'FP32', shape: [-1, 2] } as const;
  const session: ModelSession = {
    signature: { inputs, outputs: [other, output] },
    omittedOutputs: [],
    run: async (tensors) => {
      given.push(tensors);
      const { shape = [], data = [] } = tensors.get('input_ids') ?? {};
      const values = Float32Array.from({ length: data.length }, (_, index) => value(Number(data[index])));
      return new Map([['hidden', { datatype: 'FP32', shape: [...shape, 1], data: values }]]);
    },
  };
  return { given, embedder: new TextEmbedder(session, task, 9) };
}

/** Of a request that waits for as long as it takes, and how long it is told that it took. */
const patient = () => new Progress(Number.POSITIVE_INFINITY);
const embed = (embedder: TextEmbedder, ...texts: number[][]) => embedder.embed(texts, patient());

describe('texts of different lengths', () => {
  test('are run together where padding can be told, each input in its own type', async () => {
    const { given, embedder } = modelOf([input('input_ids', 'INT64'), input('attention_mask', 'INT32')]);
    expect((await embed(embedder, [1, 2, 3], [5])).map(([mean]) => mean)).toEqual([2, 5]);
    expect(given).toHaveLength(1);
    expect(given[0]?.get('input_ids')).toEqual({
      datatype: 'INT64',
      shape: [2, 3],
      data: BigInt64Array.of(5n, 9n, 9n, 1n, 2n, 3n),
    });
    expect(given[0]?.get('attention_mask')?.data).toEqual(Int32Array.of(1, 0, 0, 1, 1, 1));
  });

  test('are not where it cannot', async () => {
    const { given, embedder } = modelOf([input('input_ids', 'INT64')]);
    await embed(embedder, [1, 2, 3], [5], [4, 4, 4]);
    expect(given.map((tensors) => tensors.get('input_ids')?.shape)).toEqual([
      [1, 1],
      [2, 3],
    ]);
  });
});

test('sentence vectors by their usual name are taken before those of tokens', async () => {
  const outputs: ModelSession['signature']['outputs'] = [
    { name: 'hidden', datatype: 'FP32', shape: [-1, -1, 1] },
    { name: 'sentence_embedding', datatype: 'FP32', shape: [-1, 1] },
  ];
  const session: ModelSession = {
    signature: { inputs: [input('input_ids', 'INT64')], outputs },
    omittedOutputs: [],
    run: async () =>
      new Map([
        ['hidden', { datatype: 'FP32', shape: [1, 2, 1], data: Float32Array.of(1, 1) }],
        ['sentence_embedding', { datatype: 'FP32', shape: [1, 1], data: Float32Array.of(7) }],
      ]),
  };
  expect(await embed(new TextEmbedder(session, task, 9), [1, 2])).toEqual([Float32Array.of(7)]);
});

test('vectors that are no numbers are an error of the model', async () => {
  const { embedder } = modelOf([input('input_ids', 'INT64')], () => Number.NaN);
  await expect(embed(embedder, [1])).rejects.toThrow('hidden that is no number');
});
