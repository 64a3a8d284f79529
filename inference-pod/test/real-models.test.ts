import { expect, test } from '@jest/globals';
import { type Interviewer, realModels } from './clients/real-models/collection.ts';
import { startPod } from './running-pod.ts';

const all = process.env['SLIPWAY_MODELS'] === 'all';

/** As different from one another as they can be; SLIPWAY_MODELS=all asks all the others too (npm run test:long). */
const chosen = [
  'orientation',
  'voice',
  'sentence-embedding',
  'name-decoder',
  'molecule',
  'text-topic',
  'wine-table',
  'iris-maps',
  'cancer-with-holes',
  'diabetes-process',
  'attention-4d-gqa-with-past-and-present-fp16',
  'string-split-empty-tensor',
  'unique-sorted-with-axis-3d',
];

test('real models of all kinds answer in every protocol as in Python', async () => {
  const collection = await realModels();
  const names = all ? collection.names : chosen;
  const found: Record<string, unknown> = {};
  const left = [...names];
  const differences = async (name: string, interviewer: Interviewer) => {
    const pod = await startPod(
      ...['--model', collection.path(name), '--model-name', name, '--operator-domains', 'com.microsoft'],
    );
    try {
      return await interviewer.ask(name, new URL(pod.url).host, pod.grpcAddress);
    } finally {
      await pod.stop();
    }
  };
  const askInTurn = async () => {
    const interviewer = collection.interviewer();
    try {
      for (let name = left.shift(); name !== undefined; name = left.shift()) {
        found[name] = await differences(name, interviewer).catch(String);
      }
    } finally {
      await interviewer.end();
    }
  };
  await Promise.all([askInTurn(), askInTurn()]);
  expect(found).toEqual(Object.fromEntries(names.map((name) => [name, {}])));
}, 600_000);
