import { describe, expect, test } from '@jest/globals';
import type { ModelSession } from '../model/session.ts';
import { RequestError } from '../protocol/request-error.ts';
import { Progress } from './answering.ts';
import { TextModel, type TokenRow } from './text-model.ts';

const poison = 13;

/** A model whose vector of a text is its first token, which refuses the token 13, and the shapes that it was given. */
function numbering() {
  const shapes: (readonly number[])[] = [];
  const matrix = (name: string) => ({ name, datatype: 'INT32' as const, shape: [-1, -1] });
  const session: ModelSession = {
    signature: { inputs: [matrix('input_ids'), matrix('attention_mask')], outputs: [] },
    omittedOutputs: [],
    run: async (tensors) => {
      const { shape = [], data = [] } = tensors.get('input_ids') ?? {};
      const [height = 0, width = 0] = shape;
      shapes.push(shape);
      const ids = Array.from({ length: height }, (_, row) => Number(data[row * width]));
      if (ids.includes(poison)) throw new RequestError(400, 'it is refused');
      return new Map([['y', { datatype: 'FP32', shape: [height, 1], data: Float32Array.from(ids) }]]);
    },
  };
  const model = new TextModel(session, 'TextEmbedding', 0, 'y', ({ values }) =>
    Array.from(values, (value) => Float32Array.of(value === 99 ? Number.NaN : value)),
  );
  return { shapes, model };
}

const text = (first: number, length = 4): TokenRow => ({
  length,
  tokens: () => ({ ids: Array.from({ length }, (_, at) => (at === 0 ? first : 1)), types: undefined }),
});
const patient = () => new Progress(Number.POSITIVE_INFINITY);
const firsts = (vectors: readonly Float32Array[]) => vectors.map(([first]) => first);

describe('texts of several requests', () => {
  test('are run together, and given to whom they are of', async () => {
    const { shapes, model } = numbering();
    const progress = [patient(), patient()];
    const [one, other] = await Promise.all([
      model.run([text(1), text(2, 5)], progress[0] ?? patient()),
      model.run([text(3, 5), text(4)], progress[1] ?? patient()),
    ]);
    expect([firsts(one), firsts(other)]).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(shapes).toEqual([[4, 5]]);
    // Each is told its own part of the time.
    expect(progress[0]?.seconds).toBeGreaterThan(0);
    expect(progress[1]?.seconds).toBeCloseTo(progress[0]?.seconds ?? 0, 12);
  });

  test('suffer nothing from one that the model refuses, or has no numbers for, or that nobody waits for', async () => {
    const { model } = numbering();
    const late = new Progress(-1);
    const answers = await Promise.allSettled([
      model.run([text(1), text(2)], patient()),
      model.run([text(3), text(poison)], patient()),
      model.run([text(99)], patient()),
      model.run([text(4)], late),
      model.run([text(5, 6)], patient()),
    ]);
    expect(answers.map((each) => (each.status === 'fulfilled' ? firsts(each.value) : each.reason.message))).toEqual([
      [1, 2],
      'it is refused',
      'the model gave y that is no number, or without end',
      expect.stringContaining('not done in the time'),
      [5],
    ]);
  });

  test('wait for no request of many', async () => {
    const { shapes, model } = numbering();
    await Promise.all([
      model.run(
        Array.from({ length: 100 }, () => text(1, 2)),
        patient(),
      ),
      model.run([text(2, 50)], patient()),
      model.run([text(3, 50)], patient()),
    ]);
    expect(shapes[0]).toEqual([2, 50]);
    expect(shapes.slice(1).every(([, width]) => width === 2)).toBe(true);
  });

  test('are answered each time anew', async () => {
    const { shapes, model } = numbering();
    expect(firsts(await model.run([text(1)], patient()))).toEqual([1]);
    await expect(model.run([text(poison)], patient())).rejects.toThrow('it is refused');
    expect(firsts(await model.run([text(2)], patient()))).toEqual([2]);
    expect(await model.run([], patient())).toEqual([]);
    expect(shapes).toHaveLength(3);
  });
});
