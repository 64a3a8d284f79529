import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { testModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'slipway-test-'));
});
afterEach(() => rm(work, { recursive: true }));

const columns = 20_000;

/** Asks for a tensor of one value, in binary, and says whether every output is of that value. */
async function isEchoed({ url }: RunningPod, model: string, rows: number, value: number): Promise<boolean> {
  const tensor = new Float32Array(rows * columns).fill(value);
  const parameters = { binary_data_size: tensor.byteLength };
  const inputs = [{ name: 'x', datatype: 'FP32', shape: [rows, columns], parameters }];
  const head = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } }));
  const response = await fetch(`${url}/v2/models/${model}/infer`, {
    method: 'POST',
    body: Buffer.concat([head, Buffer.from(tensor.buffer)]),
    headers: { 'inference-header-content-length': String(head.length) },
  });
  if (response.status !== 200) throw new Error(await response.text());
  const headerLength = Number(response.headers.get('inference-header-content-length'));
  const answer = await response.arrayBuffer();
  const outputs = new Float32Array(answer.slice(headerLength));
  for (const found of outputs) if (Math.abs(found) !== value) return false;
  return outputs.length === 2 * tensor.length;
}

/** What a request was put into is used for the next: no answer may show another request's tensor. */
describe('memory that is used again', () => {
  test.each([
    ['echo', '1'],
    ['echo', '2'],
    ['through', '1'],
  ])(
    'shows nobody the tensor of another: %s, with %s executors',
    async (model, instances) => {
      const options = ['--model', testModel(model), '--work-directory', work, '--instances', instances];
      const pod = await startPod(...options, ...(instances === '2' ? ['--batch-max-size', '4'] : []));
      let wrong = 0;
      const client = async (number: number) => {
        for (let request = 0; request < 40; request++) {
          const rows = 1 + ((number + request) % 3);
          if (!(await isEchoed(pod, model, rows, number * 1000 + request))) wrong++;
        }
      };
      try {
        await Promise.all([1, 2, 3, 4, 5, 6].map(client));
      } finally {
        await pod.stop();
      }
      expect(wrong).toBe(0);
    },
    60_000,
  );
});
