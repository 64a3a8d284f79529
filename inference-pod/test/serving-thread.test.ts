import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { ServingThread } from '../src/execution/serving-thread.ts';
import { get, post } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

const iris = exampleModel('iris', '1');
let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'slipway-test-'));
});
afterEach(() => rm(work, { recursive: true }));

const startIris = () => startPod('--model', iris.path, '--model-name', 'iris', '--work-directory', work);

async function runsHere({ controlUrl }: RunningPod): Promise<number> {
  return Number(/slipway_serving_thread_inferences_total (\d+)/.exec((await get(`${controlUrl}/metrics`)).text)?.[1]);
}

async function answers({ url }: RunningPod, times: number): Promise<string[]> {
  const texts: string[] = [];
  for (let time = 0; time < times; time++) {
    const { status, text } = await post(`${url}/v2/models/iris/infer`, { id: 'a', inputs: iris.inputs });
    expect(status).toBe(200);
    texts.push(text);
  }
  return texts;
}

describe('the serving thread', () => {
  test('runs a cheap model once it is proven, with the same answers, and refuses the same', async () => {
    const pod = await startIris();
    try {
      // On a busy machine it takes more than twenty.
      const texts: string[] = [];
      while ((await runsHere(pod)) === 0 && texts.length < 2000) texts.push(...(await answers(pod, 40)));
      expect(await runsHere(pod)).toBeGreaterThan(0);
      expect(new Set(texts).size).toBe(1);
      const refused = await post(`${pod.url}/v2/models/iris/infer`, { inputs: [{ ...iris.inputs[0], name: 'Y' }] });
      expect(refused).toMatchObject({ status: 400, json: { error: expect.stringContaining("input 'Y'") } });
    } finally {
      await pod.stop();
    }
    expect(existsSync(join(work, 'run-on-the-serving-thread'))).toBe(false);
  });

  test('is not kept busy by a body that has no quick way', async () => {
    const pod = await startPod('--model', testModel('average'), '--work-directory', work);
    try {
      const url = `${pod.url}/v2/models/average/infer`;
      const ask = (element: string) => {
        const data = new Array(3 * 224 * 224).fill(element).join(',');
        return post(url, `{"inputs":[{"name":"image","datatype":"FP32","shape":[1,3,224,224],"data":[${data}]}]}`);
      };
      while ((await runsHere(pod)) === 0) expect((await ask('1.5')).status).toBe(200);
      const before = await runsHere(pod);
      // The same shape, and the same values: what differs is how long they take to read.
      for (let time = 0; time < 5; time++) expect((await ask('1e0')).json.outputs[0].data).toEqual([1, 1, 1]);
      expect(await runsHere(pod)).toBe(before);
    } finally {
      await pod.stop();
    }
  }, 300_000);

  test.each([
    ['BYTES', Buffer.alloc(4 * 500_000)],
    ['BOOL', Buffer.alloc(2_000_000)],
  ])('leaves tensors of %s in binary form to an executor when they are long', async (datatype, data) => {
    const model = { name: 'types', version: '1' };
    const limits = { mostTensorBytes: 1e8, mostAnswerBytes: 1e8 };
    const settings = { path: testModel('types'), threads: 1, model, limits, mostRows: 1 };
    const thread = await ServingThread.open({ settings, workDirectory: work, log: pino({ level: 'silent' }) });
    const rows = (bytes: number) => [datatype === 'BYTES' ? bytes / 8 : bytes / 2, 2];
    const taken = (bytes: Buffer) => {
      const input = {
        name: datatype,
        datatype,
        shape: rows(bytes.length),
        parameters: { binary_data_size: bytes.length },
      };
      const head = Buffer.from(JSON.stringify({ inputs: [input] }));
      return thread?.take({ wire: 'open-inference', body: Buffer.concat([head, bytes]), headerLength: head.length });
    };
    // It misses the other inputs, which is found once this one has been read.
    expect(taken(data.subarray(0, 800))).toMatchObject({ kind: 'answered' });
    expect(taken(data)).toBeUndefined();
  });

  test('runs no model whose work goes by its values', async () => {
    const pod = await startPod('--model', testModel('slow'), '--work-directory', work);
    try {
      const inputs = [{ name: 'times', datatype: 'INT64', shape: [], data: [1] }];
      for (let time = 0; time < 60; time++) await post(`${pod.url}/v2/models/slow/infer`, { inputs });
      expect(await runsHere(pod)).toBe(0);
    } finally {
      await pod.stop();
    }
  });

  test('runs nothing any more in a pod whose processes have ended badly three times', async () => {
    for (let times = 0; times < 3; times++) {
      const crashed = await startIris();
      crashed.process.kill('SIGKILL');
      await crashed.exit;
    }
    const pod = await startIris();
    try {
      expect(pod.logs).toContainEqual(
        expect.objectContaining({
          msg: expect.stringContaining('ended badly while they ran the model themselves'),
        }),
      );
      await answers(pod, 60);
      expect(await runsHere(pod)).toBe(0);
    } finally {
      await pod.stop();
    }
  });
});
