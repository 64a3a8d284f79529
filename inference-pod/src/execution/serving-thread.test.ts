import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { testModel } from '../../test/models.ts';
import { ServingThread } from './serving-thread.ts';

let workDirectory: string;
beforeEach(async () => {
  workDirectory = await mkdtemp(join(tmpdir(), 'slipway-test-'));
});
afterEach(() => rm(workDirectory, { recursive: true }));

test('a long text is not read twice for ever, when the model is not to be run here', async () => {
  const limits = { mostTensorBytes: 1e7, mostAnswerBytes: 1e7 };
  const model = { name: 'average', version: '1' };
  const settings = { path: testModel('average'), threads: 1, model, limits, mostRows: 1 };
  const thread = await ServingThread.open({ settings, workDirectory, log: pino({ level: 'silent' }) });
  const image = (side: number) => {
    const data = new Array(3 * side * side).fill(0.5);
    const inputs = [{ name: 'image', datatype: 'FP32', shape: [1, 3, side, side], data }];
    return Buffer.from(JSON.stringify({ inputs }));
  };
  const long = { wire: 'open-inference', body: image(224), headerLength: undefined } as const;
  const taken = () => thread?.take(long)?.kind;
  for (let request = 0; request < 40; request++) expect(taken()).toBe('measure');
  for (let request = 0; request < 2000; request++) expect(taken()).toBeUndefined();
  // Once in a while, for what was slow may not be so any more.
  for (let request = 0; request < 40; request++) expect(taken()).toBe('measure');
  expect(taken()).toBeUndefined();
});

test('a text with keys without end is read by an executor', async () => {
  const limits = { mostTensorBytes: 1e7, mostAnswerBytes: 1e7 };
  const model = { name: 'average', version: '1' };
  const settings = { path: testModel('average'), threads: 1, model, limits, mostRows: 1 };
  const thread = await ServingThread.open({ settings, workDirectory, log: pino({ level: 'silent' }) });
  const body = Buffer.from(`{"parameters":{${new Array(100_000).fill('"binary_data":true').join()}},"inputs":[]}`);
  expect(thread?.take({ wire: 'open-inference', body, headerLength: undefined })).toBeUndefined();
});
