/**
 * The limits that the pod is measured against: a bare `node:http` listener with onnxruntime-node, which checks nothing and
 * counts nothing. The model runs in the same thread, which is blocked meanwhile, or in a worker thread.
 */
import { createServer } from 'node:http';
import { Worker } from 'node:worker_threads';
import { type BareModel, openBareModel } from './bare-model.ts';

const [, , path = '', port = '', where = 'same'] = process.argv;

/** The model in a thread of its own, which answers in the order of the questions. */
async function openInWorker(): Promise<BareModel> {
  const worker = new Worker(new URL('./bare-worker.ts', import.meta.url), { workerData: path });
  const waiting: ((text: string) => void)[] = [];
  await new Promise((resolve) => worker.once('message', resolve));
  worker.on('message', (text: string) => waiting.shift()?.(text));
  return (body, headerLength) =>
    new Promise((resolve) => {
      waiting.push(resolve);
      // Small bodies are views of memory that other requests share.
      const isAlone = body.buffer.byteLength === body.byteLength && body.buffer instanceof ArrayBuffer;
      worker.postMessage({ body, headerLength }, isAlone ? [body.buffer] : []);
    });
}

const answer = where === 'worker' ? await openInWorker() : await openBareModel(path);

createServer((request, response) => {
  if (request.method === 'GET') {
    response.end();
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', async () => {
    const [first] = chunks;
    const body = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks);
    const header = request.headers['inference-header-content-length'];
    const text = await answer(body, header === undefined ? undefined : Number(header));
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
      .end(text);
  });
}).listen(Number(port), '127.0.0.1');
