import { InferenceSession, Tensor } from 'onnxruntime-node';

/** Answers the body of a request, whose JSON ends at `headerLength` when tensors in binary follow it. */
export type BareModel = (body: Uint8Array, headerLength: number | undefined) => Promise<string>;

/** A model behind the least code that can read a request and write an answer: nothing is checked. */
export async function openBareModel(path: string): Promise<BareModel> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  return async (body, headerLength) => {
    const results = await session.run(feedsOf(body, headerLength));
    const outputs = Object.entries(results).map(([name, { type, dims, data }]) => ({
      name,
      datatype: type === 'int64' ? 'INT64' : 'FP32',
      shape: dims,
      data: Array.from(data as ArrayLike<unknown>, Number),
    }));
    return JSON.stringify({ model_name: 'model', model_version: '1', outputs });
  };
}

function feedsOf(body: Uint8Array, headerLength: number | undefined): Record<string, Tensor> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const { inputs } = JSON.parse(bytes.toString('utf8', 0, headerLength));
  const feeds: Record<string, Tensor> = {};
  for (const { name, shape, datatype, data } of inputs) {
    if (datatype === 'INT64') feeds[name] = new Tensor('int64', BigInt64Array.from(data, BigInt), shape);
    else {
      const values = headerLength === undefined ? Float32Array.from(data) : floatsOf(bytes.subarray(headerLength));
      feeds[name] = new Tensor('float32', values, shape);
    }
  }
  return feeds;
}

function floatsOf(bytes: Buffer): Float32Array {
  const { buffer, byteOffset, length } = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(bytes);
  return new Float32Array(buffer, byteOffset, length / 4);
}
