import { readFileSync } from 'node:fs';
import { connect as connectHttp2, constants, type OutgoingHttpHeaders } from 'node:http2';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type ServiceError, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Caller, call, clientOf, type Message } from './grpc-client.ts';
import { get, outputData, post, singles } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { type RunningPod, startPod, startPodIn } from './running-pod.ts';

const iris = exampleModel('iris', '1');
const row = { name: 'X', datatype: 'FP32', shape: [1, 4], contents: { fp32_contents: [5.1, 3.5, 1.4, 0.2] } };
const raw = Buffer.from(Float32Array.of(5.1, 3.5, 1.4, 0.2).buffer);

const openInference = (address: string) =>
  clientOf(address, 'open_inference_grpc.proto', 'inference.GRPCInferenceService');

/** A message behind its prefix. */
function framed(message: Buffer, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

let pod: RunningPod;
let client: Caller;
const inferIris = (request: object, options?: object) =>
  call(client, 'ModelInfer', { model_name: 'iris', inputs: [row], ...request }, options);

describe('the Open Inference Protocol over gRPC', () => {
  beforeAll(async () => {
    pod = await startPod(
      '--model',
      iris.path,
      '--model-name',
      'iris',
      '--model-version',
      '3',
      '--max-body-bytes',
      '100000',
    );
    client = openInference(pod.grpcAddress);
  });
  afterAll(async () => {
    client.close();
    await pod.stop();
  });

  test('health, metadata, configuration, statistics and the repository', async () => {
    expect(await call(client, 'ServerLive', {})).toEqual({ live: true });
    expect(await call(client, 'ServerReady', {})).toEqual({ ready: true });
    expect(await call(client, 'ModelReady', { name: 'iris', version: '3' })).toEqual({ ready: true });
    expect(await call(client, 'ServerMetadata', {})).toMatchObject({ name: 'slipway' });
    expect(await call(client, 'ModelMetadata', { name: 'iris' })).toEqual({
      name: 'iris',
      versions: ['3'],
      platform: 'onnx_onnxv1',
      inputs: [{ name: 'X', datatype: 'FP32', shape: ['-1', '4'] }],
      outputs: [
        { name: 'label', datatype: 'INT64', shape: ['-1'] },
        { name: 'probabilities', datatype: 'FP32', shape: ['-1', '3'] },
      ],
    });
    expect((await call(client, 'ModelConfig', { name: 'iris' })).config).toMatchObject({
      backend: 'onnxruntime',
      input: [{ name: 'X', data_type: 'TYPE_FP32', dims: ['-1', '4'] }],
      output: [{ name: 'label', data_type: 'TYPE_INT64', dims: ['-1'] }, { name: 'probabilities' }],
    });
    expect(await call(client, 'RepositoryIndex', {})).toMatchObject({ models: [{ name: 'iris', state: 'READY' }] });
    await inferIris({});
    const { model_stats } = await call(client, 'ModelStatistics', { name: 'iris' });
    expect(Number(model_stats[0].inference_stats.success.count)).toBeGreaterThan(0);
    expect(Number(model_stats[0].inference_stats.compute_infer.ns)).toBeGreaterThan(0);
  });

  test('answers as REST does, in the form that was asked in', async () => {
    const rest = outputData(await post(`${pod.url}/v2/models/iris/infer`, { inputs: iris.inputs }));
    const [input] = iris.inputs;
    const data = [input?.data].flat(3).map(Number);
    const typed = await inferIris({
      id: 'a',
      inputs: [{ ...row, shape: input?.shape, contents: { fp32_contents: data } }],
    });
    expect(typed).toMatchObject({ model_name: 'iris', model_version: '3', id: 'a', raw_output_contents: [] });
    expect(typed.outputs[0].contents.int64_contents.map(Number)).toEqual(rest['label']);
    expect(typed.outputs[1].contents.fp32_contents).toEqual(singles(rest['probabilities']));
    const { contents: _, ...bare } = row;
    const binary = await inferIris({ inputs: [bare], raw_input_contents: [raw] });
    expect(binary.outputs.map(({ name, shape }: Message) => [name, shape])).toEqual([
      ['label', ['1']],
      ['probabilities', ['1', '3']],
    ]);
    expect(binary.raw_output_contents[0].readBigInt64LE()).toBe(0n);
    expect(binary.raw_output_contents[1]).toHaveLength(12);
  });

  test('classification, and the asked outputs alone', async () => {
    const outputs = [{ name: 'probabilities', parameters: { classification: { int64_param: 1 } } }];
    const answer = await inferIris({ outputs });
    expect(answer.outputs).toHaveLength(1);
    expect(String(answer.outputs[0].contents.bytes_contents[0])).toMatch(/^0\.\d{6}:0$/);
  });

  test.each<[string, object, number, string]>([
    ['another model', { model_name: 'other' }, status.NOT_FOUND, "there is no model 'other' here"],
    ['another version', { model_version: '4' }, status.NOT_FOUND, "there is no version '4'"],
    [
      'a wrong input',
      { inputs: [{ ...row, name: 'Y' }] },
      status.INVALID_ARGUMENT,
      "input 'Y': the model has no such input",
    ],
    ['no inputs', { inputs: [] }, status.INVALID_ARGUMENT, "input 'X': missing"],
    ['too many inputs', { inputs: [row, row] }, status.INVALID_ARGUMENT, 'more inputs are given than the model has'],
    [
      'a wrong type',
      { inputs: [{ ...row, datatype: 'FP64' }] },
      status.INVALID_ARGUMENT,
      'datatype is "FP64", expected "FP32"',
    ],
    ['a wrong rank', { inputs: [{ ...row, shape: [4] }] }, status.INVALID_ARGUMENT, 'has rank 1, expected rank 2'],
    ['a negative shape', { inputs: [{ ...row, shape: [-1, 4] }] }, status.INVALID_ARGUMENT, 'not negative'],
    [
      'too few elements',
      { inputs: [{ ...row, shape: [2, 4] }] },
      status.INVALID_ARGUMENT,
      'shape [2, 4] has 8 elements, but contents has 4',
    ],
    ['too many elements', { inputs: [{ ...row, shape: [0, 4] }] }, status.INVALID_ARGUMENT, 'but contents has more'],
    [
      'contents of another type',
      { inputs: [{ ...row, contents: { int_contents: [1, 2, 3, 4] } }] },
      status.INVALID_ARGUMENT,
      'the contents of FP32 are in field 6',
    ],
    ['both forms', { raw_input_contents: [raw] }, status.INVALID_ARGUMENT, 'has both contents and raw_input_contents'],
    [
      'a wrong number of bytes',
      { inputs: [{ ...row, contents: undefined }], raw_input_contents: [raw.subarray(4)] },
      status.INVALID_ARGUMENT,
      'has 16 bytes, but its binary data has 12',
    ],
    [
      'a wrong output',
      { outputs: [{ name: 'x' }] },
      status.INVALID_ARGUMENT,
      "output 'x': the model has no such output",
    ],
    [
      'shared memory',
      { inputs: [{ ...row, parameters: { shared_memory_region: { string_param: 'a' } } }] },
      status.INVALID_ARGUMENT,
      'memory is not shared',
    ],
    ['too large a message', { id: 'x'.repeat(200_000) }, status.RESOURCE_EXHAUSTED, '100000 bytes'],
  ])('%s is refused with a status and a message', async (_name, request, code, message) => {
    await expect(inferIris(request)).rejects.toMatchObject({ code, details: expect.stringContaining(message) });
    expect((await inferIris({})).outputs).toHaveLength(2);
  });

  test('what is asked beside inferences is no longer than a name', async () => {
    const name = 'x'.repeat(70_000);
    for (const method of ['ModelReady', 'ModelMetadata', 'ModelConfig', 'ModelStatistics', 'RepositoryIndex']) {
      const field = method === 'RepositoryIndex' ? 'repository_name' : 'name';
      await expect(call(client, method, { [field]: name })).rejects.toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        details: 'the message is larger than the 65536 bytes that this server accepts',
      });
    }
    await expect(call(client, 'ModelReady', { name: 'x'.repeat(60_000) })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    expect((await inferIris({ id: name })).id).toBe(name);
  });

  test('a stream answers each message in turn, and a refusal does not end it', async () => {
    const stream = client['ModelStreamInfer']?.();
    const answers: Message[] = [];
    const ended = new Promise((resolve, reject) => {
      stream.on('data', (answer: Message) => answers.push(answer));
      stream.on('end', resolve);
      stream.on('error', reject);
    });
    stream.write({ model_name: 'iris', id: '1', inputs: [row] });
    stream.write({ model_name: 'iris', id: '2', inputs: [] });
    stream.write({ model_name: 'iris', id: '3', inputs: [row] });
    stream.end();
    await ended;
    expect(answers.map(({ infer_response, error_message }) => infer_response?.id ?? error_message)).toEqual([
      '1',
      expect.stringContaining("input 'X': missing"),
      '3',
    ]);
  });

  test('what is no gRPC is refused, and hurts nobody', async () => {
    const session = connectHttp2(`http://${pod.grpcAddress}`);
    const ask = (headers: object, body: Buffer) =>
      new Promise<Message>((resolve) => {
        const stream = session.request({
          ':method': 'POST',
          ':path': '/inference.GRPCInferenceService/ModelInfer',
          'content-type': 'application/grpc',
          ...headers,
        });
        let found: Message;
        stream.on('response', (response) => {
          found = response;
        });
        stream.on('trailers', (trailers) => {
          found = trailers;
        });
        stream.on('close', () => resolve(found));
        stream.on('error', () => undefined);
        stream.resume();
        stream.end(body);
      });
    expect(await ask({ 'content-type': 'text/plain' }, Buffer.alloc(0))).toMatchObject({ 'grpc-status': '12' });
    expect(await ask({ ':path': '/a.B/C' }, framed(Buffer.alloc(0)))).toMatchObject({ 'grpc-status': '12' });
    expect(await ask({}, Buffer.from([0, 0, 0]))).toMatchObject({
      'grpc-status': '3',
      'grpc-message': 'the message ended early',
    });
    expect(await ask({}, framed(Buffer.from([0xff, 0xff])))).toMatchObject({ 'grpc-status': '3' });
    expect(await ask({ 'grpc-encoding': 'gzip' }, framed(Buffer.from('no gzip'), 1))).toMatchObject({
      'grpc-status': '3',
    });
    expect(await ask({ 'grpc-encoding': 'snappy' }, framed(Buffer.from('x'), 1))).toMatchObject({
      'grpc-status': '12',
    });
    expect(await ask({ 'grpc-timeout': 'soon' }, framed(Buffer.alloc(0)))).toMatchObject({ 'grpc-status': '3' });
    // Resets by the thousand, and streams that are never ended.
    for (let index = 0; index < 2000 && !session.destroyed; index++) {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/inference.GRPCInferenceService/ModelInfer',
        'content-type': 'application/grpc',
      });
      stream.on('error', () => undefined);
      if (index % 2 === 0) stream.close(constants.NGHTTP2_CANCEL);
    }
    session.on('error', () => undefined);
    await inferIris({});
    session.destroy();
    const { text } = await get(`${pod.controlUrl}/metrics`);
    expect(text).toMatch(
      /slipway_http_requests_total\{route="\/inference.GRPCInferenceService\/ModelInfer",code="200"\} \d+/,
    );
  });
});

describe('gRPC', () => {
  let served: RunningPod | undefined;
  let caller: Caller | undefined;
  afterEach(async () => {
    caller?.close();
    await served?.stop();
  });

  test('all data types survive the round trip', async () => {
    served = await startPod('--model', testModel('types'));
    caller = openInference(served.grpcAddress);
    const bytes: Record<string, Buffer> = { BOOL: Buffer.from([1, 0]) };
    for (const type of ['UINT8', 'INT8']) bytes[type] = Buffer.from([0x80, 0xff]);
    for (const type of ['UINT16', 'INT16', 'FP16']) bytes[type] = Buffer.from([1, 0x80, 0, 0x3c]);
    for (const type of ['UINT32', 'INT32', 'FP32']) bytes[type] = Buffer.from([1, 2, 3, 0x80, 0, 0, 0x80, 0x3f]);
    for (const type of ['UINT64', 'INT64', 'FP64'])
      bytes[type] = Buffer.from([1, 2, 3, 4, 5, 6, 7, 0x80, 1, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    bytes['BYTES'] = Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from('grüß'), Buffer.alloc(4)]);
    const names = Object.keys(bytes);
    const answer = await call(caller, 'ModelInfer', {
      model_name: 'types',
      inputs: names.map((name) => ({ name, datatype: name, shape: [1, 2] })),
      raw_input_contents: Object.values(bytes),
      outputs: names.map((name) => ({ name: `${name}_out` })),
    });
    const got = Object.fromEntries(names.map((name, index) => [name, answer.raw_output_contents[index]]));
    expect(got).toEqual(bytes);
  });

  test('a deadline is kept', async () => {
    served = await startPod('--model', testModel('slow'));
    caller = openInference(served.grpcAddress);
    const request = {
      model_name: 'slow',
      inputs: [{ name: 'times', datatype: 'INT64', shape: [], contents: { int64_contents: [100_000_000] } }],
    };
    await expect(call(caller, 'ModelInfer', request, { deadline: Date.now() + 500 })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
  });

  /** A call in the hands of a client that does what no library does. */
  function rawCall(address: string, settings: object = {}, headers: OutgoingHttpHeaders = {}) {
    const session = connectHttp2(`http://${address}`, { settings });
    session.on('error', () => undefined);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/inference.GRPCInferenceService/ModelInfer',
      'content-type': 'application/grpc',
      ...headers,
    });
    stream.on('error', () => undefined);
    const ended = new Promise<Message>((resolve) => {
      stream.on('response', (response) => response['grpc-status'] !== undefined && resolve(response));
      stream.on('trailers', resolve);
    });
    return { session, stream, ended };
  }
  const slowRequest = (times: number, id = ''): Buffer => {
    const definition = loadSync(join(import.meta.dirname, '../protos/open_inference_grpc.proto'), { keepCase: true });
    const { ModelInfer } = definition['inference.GRPCInferenceService'] as Message;
    return ModelInfer.requestSerialize({
      model_name: 'slow',
      id,
      inputs: [{ name: 'times', datatype: 'INT64', shape: [], contents: { int64_contents: [String(times)] } }],
    });
  };
  const slowMessage = (times: number) => framed(slowRequest(times));
  const heldBytes = async (address: string) =>
    Number(/slipway_transfer_bytes (\d+)/.exec((await get(`${address}/metrics`)).text)?.[1]);
  const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  test('messages that are too large leave nothing behind', async () => {
    served = await startPod(
      '--model',
      testModel('slow'),
      '--max-body-bytes',
      '1000000',
      '--max-answer-bytes',
      '1000000',
    );
    caller = openInference(served.grpcAddress);
    for (let time = 0; time < 5; time++) {
      const { session, stream } = rawCall(served.grpcAddress);
      stream.write(Buffer.from([0, 255, 255, 255, 255]));
      stream.write(Buffer.alloc(1_100_000));
      await pause(200);
      session.destroy();
    }
    await pause(200);
    expect(await heldBytes(served.controlUrl)).toBe(0);
    const request = {
      model_name: 'slow',
      inputs: [{ name: 'times', datatype: 'INT64', shape: [], contents: { int64_contents: [1] } }],
    };
    expect((await call(caller, 'ModelInfer', request)).outputs).toHaveLength(1);
  });

  test('messages are counted with what they are when they are inflated', async () => {
    const limits = ['--max-body-bytes', '--max-answer-bytes'].flatMap((option) => [option, '1000000']);
    served = await startPod('--model', testModel('slow'), ...limits);
    const { grpcAddress } = served;
    const zipped = framed(gzipSync(slowRequest(1_000_000_000, 'x'.repeat(900_000))), 1);
    const calls = Array.from({ length: 4 }, () => rawCall(grpcAddress, {}, { 'grpc-encoding': 'gzip' }));
    for (const { stream } of calls) stream.end(zipped);
    while ((await heldBytes(served.controlUrl)) < 3_600_000) await pause(50);
    const last = rawCall(grpcAddress, {}, { 'grpc-encoding': 'gzip' });
    last.stream.end(zipped);
    expect(await last.ended).toMatchObject({
      'grpc-status': String(status.UNAVAILABLE),
      'grpc-message': 'the server is full: too many bytes are in flight, try again',
    });
    // Runs without end would hold up the end of the pod.
    const { pid } = served.process;
    const executors = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
    for (const executor of executors) process.kill(executor, 'SIGKILL');
    for (const { session } of [...calls, last]) session.destroy();
    while ((await heldBytes(served.controlUrl)) > 0) await pause(50);
  });

  test('a message that is still coming when the time is up ends its call', async () => {
    served = await startPod('--model', testModel('slow'));
    const { session, stream, ended } = rawCall(served.grpcAddress, {}, { 'grpc-timeout': '500m' });
    stream.write(slowMessage(1).subarray(0, 20));
    expect(await ended).toMatchObject({
      'grpc-status': String(status.DEADLINE_EXCEEDED),
      'grpc-message': 'the answer took longer than the 500 ms that it may take',
    });
    session.destroy();
    while ((await heldBytes(served.controlUrl)) > 0) await pause(50);
  });

  test('what is said of an error is no longer than clients take, wherever it is cut', async () => {
    // A character of two halves stands where it is cut.
    const environment = { SLIPWAY_MODEL_NAME: `a${'😀'.repeat(2500)}` };
    served = await startPodIn({ environment }, '--model', testModel('slow'));
    caller = openInference(served.grpcAddress);
    const refused: ServiceError = await call(caller, 'ModelReady', { name: 'other' }).catch((error) => error);
    expect(refused.code).toBe(status.NOT_FOUND);
    expect(refused.details).toMatch(/^there is no model 'other' here, only 'a(😀)+\ufffd$/u);
    expect(refused.details).toHaveLength(1000);
  });

  test('a stream that is reset while it is paused, and its call computed, hurts nobody', async () => {
    served = await startPod('--model', testModel('slow'), '--max-body-bytes', '100000');
    caller = openInference(served.grpcAddress);
    const { session, stream } = rawCall(served.grpcAddress);
    stream.write(slowMessage(3000));
    stream.write(Buffer.alloc(300_000));
    await pause(100);
    stream.close(constants.NGHTTP2_NO_ERROR);
    await pause(1500);
    session.destroy();
    expect(await call(caller, 'ServerLive', {})).toEqual({ live: true });
  });

  test('a client that leaves a stream of many small messages keeps nobody waiting', async () => {
    served = await startPod('--model', testModel('slow'));
    const path = '/inference.GRPCInferenceService/ModelStreamInfer';
    const { session, stream } = rawCall(served.grpcAddress, {}, { ':path': path });
    stream.resume();
    // Each is empty, behind its prefix of five bytes.
    stream.write(Buffer.alloc(1_048_575));
    await pause(3000);
    session.destroy();
    await pause(100);
    const health = await fetch(`${served.controlUrl}/v2/health/live`, { signal: AbortSignal.timeout(5000) });
    expect(health.status).toBe(200);
  }, 30_000);

  test('answers that nobody takes are counted, and ended', async () => {
    served = await startPod('--model', testModel('slow'));
    const { session, stream } = rawCall(served.grpcAddress, { initialWindowSize: 0 });
    const closed = new Promise((resolve) => stream.on('close', resolve));
    stream.end(slowMessage(1));
    await pause(1000);
    expect(await heldBytes(served.controlUrl)).toBeGreaterThan(0);
    await closed;
    expect(await heldBytes(served.controlUrl)).toBe(0);
    session.destroy();
  }, 60_000);

  test('on SIGTERM a stream ends after the message in hand', async () => {
    served = await startPod('--model', testModel('slow'));
    caller = openInference(served.grpcAddress);
    const stream = caller['ModelStreamInfer']?.();
    const request = {
      model_name: 'slow',
      inputs: [{ name: 'times', datatype: 'INT64', shape: [], contents: { int64_contents: [300] } }],
    };
    const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve));
    stream.on('data', () => stream.write(request));
    stream.write(request);
    stream.write(request);
    await pause(300);
    served.process.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: status.UNAVAILABLE, details: 'the server ends: go on elsewhere' });
    expect(await served.exit).toBe(0);
  });

  test('on SIGTERM calls in flight are answered, and the connection is left', async () => {
    served = await startPod('--model', testModel('slow'));
    caller = openInference(served.grpcAddress);
    const request = {
      model_name: 'slow',
      inputs: [{ name: 'times', datatype: 'INT64', shape: [], contents: { int64_contents: [3000] } }],
    };
    const first = call(caller, 'ModelInfer', request);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const second = call(caller, 'ModelInfer', request);
    await new Promise((resolve) => setTimeout(resolve, 50));
    served.process.kill('SIGTERM');
    expect((await first).outputs[0].name).toBe('sum');
    expect((await second).outputs[0].name).toBe('sum');
    expect(await served.exit).toBe(0);
  });
});
