/**
 * The limit that the pod is measured against: a bare `node:http` listener with onnxruntime-node in the same thread, which
 * checks nothing, counts nothing, and is blocked while the model runs.
 */
import { createServer } from 'node:http';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [, , path = '', port = ''] = process.argv;
const session = await InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1 });

function feedsOf(body: Buffer, headerLength: number | undefined): Record<string, Tensor> {
  const { inputs } = JSON.parse(body.toString('utf8', 0, headerLength));
  const feeds: Record<string, Tensor> = {};
  for (const { name, shape, data } of inputs) {
    const values = headerLength === undefined ? Float32Array.from(data) : floatsOf(body.subarray(headerLength));
    feeds[name] = new Tensor('float32', values, shape);
  }
  return feeds;
}

function floatsOf(bytes: Buffer): Float32Array {
  const { buffer, byteOffset, length } = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(bytes);
  return new Float32Array(buffer, byteOffset, length / 4);
}

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
    const results = await session.run(feedsOf(body, header === undefined ? undefined : Number(header)));
    const outputs = Object.entries(results).map(([name, { type, dims, data }]) => ({
      name,
      datatype: type === 'int64' ? 'INT64' : 'FP32',
      shape: dims,
      data: Array.from(data as ArrayLike<unknown>, Number),
    }));
    const text = JSON.stringify({ model_name: 'model', model_version: '1', outputs });
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
      .end(text);
  });
}).listen(Number(port), '127.0.0.1');
