import { once } from 'node:events';
import { connect } from 'node:net';
import { deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { get, outputData, post, read as readAnswer, singles } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

describe('models answer as the library that trained them', () => {
  test.each([
    ['iris', '1', 1e-5],
    ['iris', '2', 1e-5],
    ['diabetes', '1', 1e-3],
    ['diabetes', '2', 1e-3],
    ['digits', '1', 1e-5],
  ])('%s version %s', async (name, version, tolerance) => {
    const model = exampleModel(name, version);
    const pod = await startPod('--model', model.path, '--model-name', name, '--model-version', version);
    try {
      const answer = await post(`${pod.url}/v2/models/${name}/infer`, { inputs: model.inputs });
      expect(answer.status).toBe(200);
      const actual = outputData(answer);
      expect(Object.keys(actual).sort()).toEqual(Object.keys(model.outputs).sort());
      for (const [output, expected] of Object.entries(model.outputs)) {
        const wanted = [expected].flat(3).map(Number);
        const got = [actual[output]].flat().map(Number);
        expect(got).toHaveLength(wanted.length);
        for (const [index, value] of got.entries()) {
          expect(Math.abs(value - (wanted[index] ?? Number.NaN))).toBeLessThanOrEqual(tolerance);
        }
      }
    } finally {
      await pod.stop();
    }
  });
});

describe('the Open Inference Protocol', () => {
  const iris = exampleModel('iris', '1');
  let pod: RunningPod;
  let model: string;
  beforeAll(async () => {
    const args = ['--model-name', 'iris', '--model-version', '3', '--max-body-bytes', '100000'];
    pod = await startPod('--model', iris.path, ...args);
    model = `${pod.url}/v2/models/iris`;
  });
  afterAll(() => pod.stop());

  test('health, server and model metadata', async () => {
    expect(await get(`${pod.url}/v2/health/live`)).toMatchObject({ status: 200, json: { live: true } });
    expect(await get(`${pod.url}/v2/health/ready`)).toMatchObject({ status: 200, json: { ready: true } });
    expect((await get(`${pod.url}/v2`)).json).toMatchObject({
      name: 'slipway',
      extensions: ['binary_tensor_data', 'classification', 'model_configuration', 'statistics'],
    });
    for (const path of [model, `${model}/versions/3`]) {
      expect((await get(path)).json).toEqual({
        name: 'iris',
        versions: ['3'],
        platform: 'onnx_onnxv1',
        inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, 4] }],
        outputs: [
          { name: 'label', datatype: 'INT64', shape: [-1] },
          { name: 'probabilities', datatype: 'FP32', shape: [-1, 3] },
        ],
      });
      expect(await get(`${path}/ready`)).toMatchObject({ status: 200, json: { name: 'iris', ready: true } });
    }
  });

  const row = { name: 'X', shape: [1, 4], datatype: 'FP32', data: [5.1, 3.5, 1.4, 0.2] };

  test('an answer has the model, its version, the id, and flat data with a shape', async () => {
    const answer = await post(`${model}/versions/3/infer`, { id: 'mine', inputs: [row], parameters: { any: 1 } });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ model_name: 'iris', model_version: '3', id: 'mine' });
    expect(answer.json.outputs[0]).toEqual({ name: 'label', datatype: 'INT64', shape: [1], data: [0] });
    expect(answer.json.outputs[1]).toMatchObject({ name: 'probabilities', datatype: 'FP32', shape: [1, 3] });
  });

  test('nested and flat data are the same', async () => {
    const nested = await post(`${model}/infer`, { inputs: [{ ...row, data: [row.data] }] });
    expect(nested.json).toEqual((await post(`${model}/infer`, { inputs: [row] })).json);
  });

  test('only the asked outputs come back, in the asked order', async () => {
    const names = async (outputs: unknown) =>
      (await post(`${model}/infer`, { inputs: [row], outputs })).json.outputs.map(
        (output: { name: string }) => output.name,
      );
    expect(await names([{ name: 'probabilities' }])).toEqual(['probabilities']);
    expect(await names([{ name: 'probabilities' }, { name: 'label' }])).toEqual(['probabilities', 'label']);
    expect(await names([])).toEqual(['label', 'probabilities']);
  });

  test('an empty batch is answered', async () => {
    const answer = await post(`${model}/infer`, { inputs: [{ ...row, shape: [0, 4], data: [] }] });
    expect(answer).toMatchObject({ status: 200 });
    expect(outputData(answer)).toEqual({ label: [], probabilities: [] });
  });

  test.each<[string, unknown, string]>([
    ['not JSON', 'no json', 'the body is not JSON'],
    ['an empty body', '', 'the body is not JSON'],
    ['not an object', [], 'the body must be a JSON object, not a list of 0'],
    ['null', 'null', 'the body must be a JSON object, not null'],
    ['no inputs', {}, 'inputs must be a list of tensors, not missing'],
    ['an input that is no object', { inputs: [7] }, 'inputs[0] must be a JSON object, not 7'],
    ['an input without a name', { inputs: [{ ...row, name: undefined }] }, 'inputs[0].name must be a string'],
    ['a wrong name', { inputs: [{ ...row, name: 'Y' }] }, "input 'Y': the model has no such input, it has 'X'"],
    ['an input twice', { inputs: [row, row] }, "input 'X': given twice"],
    ['a missing input', { inputs: [] }, "input 'X': missing; expected 'X' FP32 shape [-1, 4]"],
    ['a wrong type', { inputs: [{ ...row, datatype: 'FP64' }] }, `input 'X': datatype is "FP64", expected "FP32"`],
    ['no type', { inputs: [{ ...row, datatype: undefined }] }, `input 'X': datatype is missing, expected "FP32"`],
    ['no shape', { inputs: [{ ...row, shape: undefined }] }, "input 'X': shape must be a list of whole numbers"],
    ['a negative shape', { inputs: [{ ...row, shape: [-1, 4] }] }, "input 'X': shape must be a list of whole numbers"],
    ['a wrong rank', { inputs: [{ ...row, shape: [4] }] }, "input 'X': shape [4] has rank 1, expected rank 2"],
    ['a wrong dimension', { inputs: [{ ...row, shape: [1, 5] }] }, 'has 5 in dimension 1, expected 4'],
    [
      'too few elements',
      { inputs: [{ ...row, data: [1, 2, 3] }] },
      "input 'X': shape [1, 4] has 4 elements, but data has 3",
    ],
    ['too many elements', { inputs: [{ ...row, data: [1, 2, 3, 4, 5] }] }, 'but data has 5'],
    ['no data', { inputs: [{ ...row, data: undefined }] }, "input 'X': data must be an array, not missing"],
    [
      'ragged data',
      {
        inputs: [
          {
            ...row,
            shape: [2, 4],
            data: [
              [1, 2, 3, 4],
              [1, 2],
            ],
          },
        ],
      },
      'a list at depth 2 has 2 elements, not 4',
    ],
    [
      'half nested data',
      { inputs: [{ ...row, shape: [2, 4], data: [[1, 2, 3, 4], 5] }] },
      '5 stands where a list of 4 was expected',
    ],
    [
      'data nested too deep',
      { inputs: [{ ...row, data: [[[1], 2, 3, 4]] }] },
      "input 'X': element 0 is a list of 1, expected a number",
    ],
    [
      'text for a number',
      { inputs: [{ ...row, data: ['1', 2, 3, 4] }] },
      `input 'X': element 0 is "1", expected a number`,
    ],
    [
      'null for a number',
      { inputs: [{ ...row, data: [1, null, 3, 4] }] },
      "input 'X': element 1 is null, expected a number",
    ],
    [
      'a number out of range',
      { inputs: [{ ...row, data: [1, 2, 3, 1e39] }] },
      "input 'X': element 3 is 1e+39, expected a number from",
    ],
    ['an id that is no string', { id: 7, inputs: [row] }, 'id must be a string, not 7'],
    ['outputs that are no list', { inputs: [row], outputs: 'label' }, 'outputs must be a list'],
    [
      'a wrong output',
      { inputs: [row], outputs: [{ name: 'x' }] },
      "output 'x': the model has no such output, it has 'label', 'probabilities'",
    ],
    [
      'an output twice',
      { inputs: [row], outputs: [{ name: 'label' }, { name: 'label' }] },
      "output 'label': asked for twice",
    ],
    [
      'binary data that is not there',
      { inputs: [{ ...row, data: undefined, parameters: { binary_data_size: 16 } }] },
      "input 'X': binary_data_size is 16, but 0 bytes are left: the header inference-header-content-length says where",
    ],
    [
      'data twice',
      { inputs: [{ ...row, parameters: { binary_data_size: 16 } }] },
      "input 'X': has both data and binary_data_size",
    ],
    [
      'shared memory',
      { inputs: [{ ...row, parameters: { shared_memory_region: 'mine' } }] },
      'shared_memory_region: memory is not shared with clients',
    ],
    [
      'a shape without elements that is huge',
      { inputs: [{ ...row, shape: [0, 1e8], data: [] }] },
      "input 'X': shape [0, 100000000] has no elements, and more than 65536 along its other dimensions",
    ],
    ['a key twice', '{"inputs":[],"inputs":[]}', "input 'X': missing"],
    ['depth', `{"x":${'['.repeat(70)}${']'.repeat(70)}}`, 'nested deeper than 64 levels'],
    ['what follows the end', `${JSON.stringify({ inputs: [row] })}]`, 'unexpected "]" at byte'],
    ['a lone surrogate', '{"id":"\\ud800","inputs":[]}', 'the string at byte 6 of the body has a lone surrogate'],
    ['parameters that are no object', { inputs: [row], parameters: [] }, 'parameters must be a JSON object'],
  ])('%s gets a 400 that says what was expected', async (_name, body, message) => {
    const answer = await post(`${model}/infer`, body);
    expect(answer.json.error).toContain(message);
    expect(answer.status).toBe(400);
  });

  test('a body that is not UTF-8 gets a 400', async () => {
    const response = await fetch(`${model}/infer`, { method: 'POST', body: new Uint8Array([0x7b, 0xff, 0x7d]) });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: 'the body is not JSON: it is not UTF-8 text' });
  });

  test('a body over the limit gets a 413, with and without a content length', async () => {
    const large = JSON.stringify({ inputs: [{ ...row, data: new Array(60_000).fill(1) }] });
    expect(await post(`${model}/infer`, large)).toMatchObject({
      status: 413,
      json: { error: expect.stringContaining('100000 bytes') },
    });
    const stream = new Blob([large]).stream();
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', body: stream, duplex: 'half' };
    expect((await fetch(`${model}/infer`, init)).status).toBe(413);
    expect((await post(`${model}/infer`, { inputs: [row] })).status).toBe(200);
  });

  test('unknown models, versions and paths get a 404', async () => {
    for (const path of ['/v2/models/other', '/v2/models/iris/versions/4', '/v2/models/iris/versions/4/ready']) {
      expect(await get(pod.url + path)).toMatchObject({
        status: 404,
        json: { error: expect.stringContaining('iris') },
      });
    }
    expect(await post(`${pod.url}/v2/models/other/infer`, { inputs: [row] })).toMatchObject({ status: 404 });
    expect(await get(`${model}/other`)).toMatchObject({
      status: 404,
      json: { error: expect.stringContaining('/v2/models/iris') },
    });
    expect(await get(`${pod.url}/v2/models/%ff`)).toMatchObject({ status: 400 });
  });

  test('another method of a path gets a 405 that says which it takes', async () => {
    const refused = async (method: string, path: string) => {
      const { status, headers } = await fetch(pod.url + path, { method });
      return [status, headers.get('allow')];
    };
    expect(await refused('GET', '/v2/models/iris/infer')).toEqual([405, 'POST']);
    expect(await refused('DELETE', '/v2/models/iris')).toEqual([405, 'GET, HEAD']);
    expect(await refused('GET', '/v1/models/iris:predict')).toEqual([405, 'POST']);
    expect(await refused('PUT', '/v1/models/iris/labels/3:predict')).toEqual([405, 'POST']);
    expect(await refused('GET', '/v1/models/iris/versions/3:predict')).toEqual([405, 'POST']);
    expect(await refused('OPTIONS', '/openapi.json')).toEqual([405, 'GET, HEAD']);
    expect(await refused('POST', '/page.js')).toEqual([405, 'GET, HEAD']);
    // A method that no model has is no path at all.
    expect(await refused('GET', '/v1/models/iris:bogus')).toEqual([404, null]);
    expect(await refused('POST', '/v1/models/iris:bogus')).toEqual([404, null]);
  });

  test('a client that looks at the answer only after it has sent a body that is too large gets it', async () => {
    const { port } = new URL(pod.url);
    const socket = connect(Number(port), '127.0.0.1');
    const failed = once(socket, 'error').then(([error]) => Promise.reject(error));
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.write('POST /v2/models/iris/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n');
    const send = async () => {
      for (let sent = 0; sent < 50; sent++) {
        socket.write(Buffer.alloc(100_000, 0x20));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      expect(socket.writable).toBe(true);
      while (!answer.includes('413 Payload Too Large')) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    // A connection that is closed before the whole body is sent would lose the answer for such a client.
    await Promise.race([send(), failed]);
    socket.destroy();
  });

  test('a request without a body gets a 400, and one for nothing keeps its connection', async () => {
    expect(await post(`${model}/infer`, '')).toMatchObject({ status: 400 });
    expect((await get(`${pod.url}/nothing`)).headers.get('connection')).not.toBe('close');
  });

  test('content that cannot be read gets a 415', async () => {
    expect(await post(`${model}/infer`, '{}', { 'content-encoding': 'br' })).toMatchObject({
      status: 415,
      json: { error: 'the content encoding br is not supported: send gzip, deflate or none' },
    });
  });

  test('data may come before what it is, and NaN may be sent', async () => {
    const body =
      '{"outputs":[],"inputs":[{"data":[[NaN, 1, -Infinity, 2]],"shape":[1,4],"name":"X","datatype":"FP32"}]}';
    expect(await post(`${model}/infer`, body)).toMatchObject({ status: 200 });
  });

  test.each<[string, (data: string) => Buffer<ArrayBuffer>]>([
    ['gzip', (data) => gzipSync(data)],
    ['deflate', (data) => deflateSync(data)],
  ])('a body may come as %s, but not as something else, and not larger than allowed', async (encoding, pack) => {
    const send = (body: Buffer<ArrayBuffer> | string) =>
      fetch(`${model}/infer`, { method: 'POST', body, headers: { 'content-encoding': encoding } });
    expect((await send(pack(JSON.stringify({ inputs: [row] })))).status).toBe(200);
    const garbage = await send('{}');
    expect(garbage.status).toBe(400);
    expect(await garbage.json()).toEqual({ error: expect.stringContaining(`the body is not ${encoding}`) });
    // 50 MB in 50 kB.
    const bomb = await send(pack(' '.repeat(50_000_000)));
    expect(bomb.status).toBe(413);
    const cut = await send(pack(JSON.stringify({ inputs: [row] })).subarray(0, 20));
    expect(cut.status).toBe(400);
    expect((await post(`${model}/infer`, { inputs: [row] })).status).toBe(200);
  });

  test('a large answer comes compressed to those who take it', async () => {
    const rows = { ...row, shape: [1000, 4], data: new Array(4000).fill(1) };
    const encodingOf = async (accepted: string) => {
      const init = {
        method: 'POST',
        body: JSON.stringify({ inputs: [rows] }),
        headers: { 'accept-encoding': accepted },
      };
      const response = await fetch(`${model}/infer`, init);
      expect(outputData({ ...(await readAnswer(response)) })['label']).toHaveLength(1000);
      return response.headers.get('content-encoding');
    };
    expect(await encodingOf('gzip;q=1.0, deflate')).toBe('gzip');
    expect(await encodingOf('deflate, gzip;q=0')).toBe('deflate');
    expect(await encodingOf('identity')).toBe(null);
  });

  describe('binary tensor data', () => {
    const bytes = Buffer.from(Float32Array.from(row.data).buffer);
    const input = { name: 'X', shape: [1, 4], datatype: 'FP32', parameters: { binary_data_size: 16 } };
    const send = async (header: unknown, data: Buffer, headerLength?: unknown) => {
      const json = Buffer.from(JSON.stringify(header));
      const headers = { 'inference-header-content-length': String(headerLength ?? json.length) };
      return fetch(`${model}/infer`, { method: 'POST', body: Buffer.concat([json, data]), headers });
    };

    test('goes in, wherever it begins, and comes out, of all outputs or of one', async () => {
      const expected = (await post(`${model}/infer`, { inputs: [row] })).json.outputs;
      for (const id of ['', 'a', 'ab', 'abc']) {
        const answer = await send({ id, inputs: [input] }, bytes);
        expect(await answer.json()).toMatchObject({ id, outputs: expected });
      }
      const whole = await send({ inputs: [input], parameters: { binary_data_output: true } }, bytes);
      const body = Buffer.from(await whole.arrayBuffer());
      const headerLength = Number(whole.headers.get('inference-header-content-length'));
      expect(whole.headers.get('content-type')).toBe('application/octet-stream');
      expect(JSON.parse(body.toString('utf8', 0, headerLength)).outputs).toEqual([
        { name: 'label', datatype: 'INT64', shape: [1], parameters: { binary_data_size: 8 } },
        { name: 'probabilities', datatype: 'FP32', shape: [1, 3], parameters: { binary_data_size: 12 } },
      ]);
      expect(body.length).toBe(headerLength + 20);
      expect(body.readBigInt64LE(headerLength)).toBe(0n);
      expect(body.readFloatLE(headerLength + 8)).toBe(singles(expected[1].data[0]));
      const one = await send(
        { inputs: [input], outputs: [{ name: 'label', parameters: { binary_data: true } }] },
        bytes,
      );
      expect(one.headers.get('inference-header-content-length')).toMatch(/^\d+$/);
    });

    test.each<[string, unknown, Buffer, unknown, string]>([
      ['too few bytes', { inputs: [input] }, bytes.subarray(0, 12), undefined, 'but 12 bytes are left'],
      [
        'too many bytes',
        { inputs: [input] },
        Buffer.alloc(20),
        undefined,
        '4 bytes follow the binary data of the inputs',
      ],
      [
        'a wrong size',
        { inputs: [{ ...input, parameters: { binary_data_size: 12 } }] },
        bytes.subarray(0, 12),
        undefined,
        'shape [1, 4] of FP32 has 16 bytes, but its binary data has 12',
      ],
      ['a header longer than the body', { inputs: [input] }, bytes, 1000, 'is 1000, but the body has'],
      ['a header that is no number', { inputs: [input] }, bytes, '-1', 'must be a number of bytes, not "-1"'],
      [
        'a size that is no number',
        { inputs: [{ ...input, parameters: { binary_data_size: 'x' } }] },
        bytes,
        undefined,
        'must be a whole number, not "x"',
      ],
    ])('%s gets a 400 that says what was expected', async (_name, header, data, headerLength, message) => {
      const answer = await send(header, data, headerLength);
      expect(await answer.json()).toEqual({ error: expect.stringContaining(message) });
      expect(answer.status).toBe(400);
    });
  });

  test('classification tells the highest values and where they stand', async () => {
    const outputs = [{ name: 'probabilities', parameters: { classification: 2 } }];
    const answer = await post(`${model}/infer`, { inputs: [row], outputs });
    expect(answer.json.outputs).toEqual([
      {
        name: 'probabilities',
        datatype: 'BYTES',
        shape: [1, 2],
        data: [expect.stringMatching(/^0\.\d{6}:0$/), expect.stringMatching(/^0\.\d{6}:1$/)],
      },
    ]);
  });

  test('a deadline that is none gets a 400', async () => {
    expect(await post(`${model}/infer`, { inputs: [row] }, { 'x-request-timeout-ms': 'soon' })).toMatchObject({
      status: 400,
      json: { error: 'the header x-request-timeout-ms must be a whole number of milliseconds, not "soon"' },
    });
  });
});

describe('data types', () => {
  let pod: RunningPod;
  beforeAll(async () => {
    pod = await startPod('--model', testModel('types'));
  });
  afterAll(() => pod.stop());

  /** Sends the text of the data for one type (and zeros for the others) and returns the text that comes back. */
  async function roundTrip(datatype: string, text: string) {
    const zero = (type: string) => (type === 'BOOL' ? '[false,false]' : type === 'BYTES' ? '["",""]' : '[0,0]');
    const inputs = types.map(
      (type) => `{"name":"${type}","datatype":"${type}","shape":[1,2],"data":${type === datatype ? text : zero(type)}}`,
    );
    const body = `{"inputs":[${inputs.join(',')}],"outputs":[{"name":"${datatype}_out"}]}`;
    const answer = await post(`${pod.url}/v2/models/types/infer`, body);
    return answer.status === 200 ? /"data":(\[.*\])\}\]\}$/.exec(answer.text)?.[1] : answer.json.error;
  }
  const types = [
    'BOOL',
    'UINT8',
    'UINT16',
    'UINT32',
    'UINT64',
    'INT8',
    'INT16',
    'INT32',
    'INT64',
    'FP16',
    'FP32',
    'FP64',
    'BYTES',
  ];

  test.each([
    ['BOOL', '[true,false]'],
    ['UINT8', '[0,255]'],
    ['UINT16', '[0,65535]'],
    ['UINT32', '[0,4294967295]'],
    ['UINT64', '[9007199254740993,18446744073709551615]'],
    ['INT8', '[-128,127]'],
    ['INT16', '[-32768,32767]'],
    ['INT32', '[-2147483648,2147483647]'],
    ['INT64', '[-9223372036854775808,9223372036854775807]'],
    ['INT64', '[9007199254740993,-9007199254740993]'],
    ['FP16', '[0.5,-65504]'],
    ['FP32', '[0.1,-3.4028235e+38]'],
    ['FP64', '[0.1,-1.7976931348623157e+308]'],
    ['FP64', '[-0.0,5e-324]'],
    ['FP32', '[-0.0,NaN]'],
    ['FP16', '[Infinity,-Infinity]'],
    ['BYTES', '["grüß dich €","\\"quoted\\""]'],
  ])('%s %s survives the round trip exactly', async (datatype, text) => {
    expect(await roundTrip(datatype, text)).toBe(text);
  });

  test.each([
    ['BOOL', '[2,false]', 'element 0 is 2, expected true or false'],
    ['UINT8', '[0,256]', 'element 1 is 256, expected an integer from 0 to 255'],
    ['UINT8', '[-1,0]', 'element 0 is -1, expected an integer from 0 to 255'],
    ['INT32', '[0.5,0]', 'element 0 is 0.5, expected an integer from'],
    [
      'UINT64',
      '[18446744073709551616,0]',
      'element 0 is 18446744073709551616, expected an integer from 0 to 18446744073709551615',
    ],
    ['INT64', '[9223372036854775808,0]', 'element 0 is 9223372036854775808, expected an integer from'],
    ['FP16', '[65520,0]', 'element 0 is 65520, expected a number from -65504 to 65504'],
    ['FP64', '[1e309,0]', 'element 0 is 1e309, expected a number'],
    ['BYTES', '[1,""]', 'element 0 is 1, expected a string'],
    ['BYTES', '["\\ud800",""]', 'has a lone surrogate'],
    ['INT32', '[NaN,0]', 'element 0 is NaN, expected an integer'],
    ['UINT64', '[-1,0]', 'element 0 is -1, expected an integer from 0'],
    ['BYTES', '["a\\u0000b",""]', 'element 0 holds a NUL character'],
  ])('%s %s is refused', async (datatype, text, message) => {
    expect(await roundTrip(datatype, text)).toContain(message);
  });
});

describe('models that need care', () => {
  test('NaN, the infinities and -0 are answered bare, as text or as null, whatever the request asks for', async () => {
    const pod = await startPod('--model', testModel('nan'));
    try {
      const input = { name: 'x', datatype: 'FP32', shape: [4], data: [1, 0, -1, 1] };
      const dataOf = async (parameters: unknown) => {
        const answer = await post(`${pod.url}/v2/models/nan/infer`, { inputs: [input], parameters });
        return /"data":(.*)\}\]\}$/.exec(answer.text)?.[1] ?? answer.json.error;
      };
      expect(await dataOf({})).toBe('[0,-Infinity,NaN,0]');
      expect(await dataOf({ non_finite: 'bare' })).toBe('[0,-Infinity,NaN,0]');
      expect(await dataOf({ non_finite: 'string' })).toBe('[0,"-Infinity","NaN",0]');
      expect(await dataOf({ non_finite: 'null' })).toBe('[0,null,null,0]');
      expect(await dataOf({ non_finite: 'none' })).toBe(
        'parameters: non_finite must be one of "bare", "string", "null", not "none"',
      );
    } finally {
      await pod.stop();
    }
  });

  test('outputs that are no tensors are left out, and said to be', async () => {
    const pod = await startPod('--model', testModel('zipmap'));
    try {
      const input = { name: 'X', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] };
      const answer = await post(`${pod.url}/v2/models/zipmap/infer`, { inputs: [input] });
      expect(outputData(answer)).toEqual({ output_label: [0] });
      expect(pod.logs).toContainEqual(expect.objectContaining({ outputs: ['output_probability'] }));
    } finally {
      await pod.stop();
    }
  });
});

test('an input of unknown rank is told as one, and takes any shape; a scalar is told as a scalar', async () => {
  const pod = await startPod('--model', testModel('anyrank'));
  try {
    const { inputs, outputs } = (await get(`${pod.url}/v2/models/anyrank`)).json;
    expect(inputs).toEqual([
      { name: 'x', datatype: 'FP32', shape: [], rank: 'unknown' },
      { name: 'offset', datatype: 'FP32', shape: [] },
    ]);
    expect(outputs).toEqual([{ name: 'y', datatype: 'FP32', shape: [], rank: 'unknown' }]);
    const offset = { name: 'offset', datatype: 'FP32', shape: [], data: [1] };
    for (const shape of [[], [2], [1, 2, 1]]) {
      const data = shape.length === 0 ? [1] : [1, 2];
      const answer = await post(`${pod.url}/v2/models/anyrank/infer`, {
        inputs: [{ name: 'x', datatype: 'FP32', shape, data }, offset],
      });
      expect(answer.json.outputs).toEqual([{ name: 'y', datatype: 'FP32', shape, data: data.map((each) => each + 1) }]);
    }
    const { metadata } = (await get(`${pod.url}/v1/models/anyrank/metadata`)).json;
    const { x, offset: scalar } = metadata.signature_def.signature_def.serving_default.inputs;
    expect([x.tensor_shape.unknown_rank, scalar.tensor_shape.unknown_rank]).toEqual([true, false]);
  } finally {
    await pod.stop();
  }
});
