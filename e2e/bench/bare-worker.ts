/** The thread of the bare server in which the model runs. */
import { parentPort, workerData } from 'node:worker_threads';
import { openBareModel } from './bare-model.ts';

const model = await openBareModel(workerData);
/** One after the other, because answers have no other order than that of their questions. */
let last = Promise.resolve();
parentPort?.on('message', ({ body, headerLength }: { body: Uint8Array; headerLength: number | undefined }) => {
  last = last.then(async () => parentPort?.postMessage(await model(body, headerLength)));
});
parentPort?.postMessage('open');
