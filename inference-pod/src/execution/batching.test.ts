import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ModelSession } from '../model/session.ts';
import { badRequest } from '../protocol/request-error.ts';
import type { InferenceCall } from '../protocol/wires.ts';
import { inferTogether, isBatchable } from './batching.ts';
import { type InferenceAnswer, infer } from './inference.ts';

const model = { name: 'm', version: '1' };
const limits = { mostTensorBytes: 2 ** 24, mostAnswerBytes: 2 ** 24 };

/**
 * A model that adds up each row, refuses rows with a number above 90, and counts its runs. (onnxruntime does not know the
 * typed arrays of a test's own realm; test/serving.test.ts has the same with real models.)
 */
function sums(): ModelSession & { runs: number } {
  const session = {
    runs: 0,
    signature: {
      inputs: [{ name: 'X', datatype: 'FP32' as const, shape: [-1, 4] }],
      outputs: [
        { name: 'sum', datatype: 'FP32' as const, shape: [-1] },
        { name: 'twice', datatype: 'BYTES' as const, shape: [-1, 2] },
      ],
    },
    omittedOutputs: [],
    run: async (inputs: Parameters<ModelSession['run']>[0]) => {
      session.runs++;
      const { shape, data } = inputs.get('X') ?? { shape: [], data: [] };
      const values = Array.from<string | number | bigint, number>(data, Number);
      if (values.some((value) => value > 90)) throw badRequest('above 90');
      const rows = Array.from({ length: shape[0] ?? 0 }, (_, row) =>
        values.slice(4 * row, 4 * row + 4).reduce((sum, value) => sum + value, 0),
      );
      return new Map([
        ['sum', { datatype: 'FP32' as const, shape: [rows.length], data: Float32Array.from(rows) }],
        [
          'twice',
          { datatype: 'BYTES' as const, shape: [rows.length, 2], data: rows.flatMap((sum) => [String(sum), 'x']) },
        ],
      ]);
    },
  };
  return session;
}

function call(...inputs: readonly object[]): InferenceCall {
  return { wire: 'open-inference', body: Buffer.from(JSON.stringify({ inputs })), headerLength: undefined };
}

async function together(
  ...args: [readonly InferenceCall[], ModelSession, number]
): Promise<readonly InferenceAnswer[]> {
  const [calls, session, mostRows] = args;
  const answers: InferenceAnswer[] = [];
  await inferTogether(calls, session, model, limits, mostRows, (place, answer) => {
    answers[place] = answer;
  });
  return answers;
}

function textOf(answer: InferenceAnswer): string {
  if (answer.kind === 'refused') return `${answer.status} ${answer.message}`;
  return typeof answer.body === 'string' ? answer.body : Buffer.concat(answer.body).toString();
}

describe('requests that are run together', () => {
  test('are answered as one by one, whatever comes together', async () => {
    const value = fc.float({ noNaN: true, min: -10, max: 10 });
    const row = fc.array(value, { minLength: 4, maxLength: 4 });
    const request = fc.oneof(
      {
        weight: 8,
        arbitrary: fc
          .array(row, { minLength: 1, maxLength: 5 })
          .map((rows) => call({ name: 'X', datatype: 'FP32', shape: [rows.length, 4], data: rows })),
      },
      fc.constantFrom(call(), call({ name: 'X', datatype: 'FP32', shape: [0, 4], data: [] }), call({ name: 'Y' })),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { maxLength: 12 }),
        fc.integer({ min: 1, max: 20 }),
        async (calls, mostRows) => {
          const answers = await together(calls, sums(), mostRows);
          const alone = await Promise.all(calls.map((each) => infer(each, sums(), model, limits)));
          expect(answers.map(textOf)).toEqual(alone.map(textOf));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('take one run for as many rows as fit', async () => {
    const session = sums();
    const calls = Array.from({ length: 10 }, () =>
      call({ name: 'X', datatype: 'FP32', shape: [3, 4], data: new Array(12).fill(1) }),
    );
    await together(calls, session, 12);
    expect(session.runs).toBe(3);
  });

  test('do not suffer from one that the model refuses', async () => {
    const session = sums();
    const calls = [1, 2, 99, 3].map((value) =>
      call({ name: 'X', datatype: 'FP32', shape: [1, 4], data: new Array(4).fill(value) }),
    );
    const answers = await together(calls, session, 100);
    expect(answers.map((answer) => /"data":\[([^\]]*)\]/.exec(textOf(answer))?.[1] ?? textOf(answer))).toEqual([
      '4',
      '8',
      '400 above 90',
      '12',
    ]);
    expect(session.runs).toBe(5);
  });
});

test('a model whose rows are not free is not given several requests', () => {
  const tensor = (...shape: number[]) => ({ name: 'x', datatype: 'FP32' as const, shape });
  expect(isBatchable({ inputs: [tensor(-1, 4)], outputs: [tensor(-1)] })).toBe(true);
  expect(isBatchable({ inputs: [tensor(1, 4)], outputs: [tensor(-1)] })).toBe(false);
  expect(isBatchable({ inputs: [tensor(-1, 4)], outputs: [tensor()] })).toBe(false);
  expect(isBatchable({ inputs: [], outputs: [tensor(-1)] })).toBe(false);
});
